//! The memory that the drains of one process share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Buf as _, BytesMut};

use crate::fs::BLOCK_BYTES;

/// What all drains of a process hold in memory for files that are not written yet, and buffers to be
/// used again: fresh ones cost a page fault every 4 KiB.
#[derive(Debug)]
pub struct DrainMemory {
    bytes: usize,
    /// Drains that hold something.
    busy: AtomicUsize,
    /// Taken in the order in which they were given back: memory that a device has just read is slow to
    /// fill (`sdk-wal` measured it).
    free: Mutex<VecDeque<BytesMut>>,
}

/// Buffers kept have together no more than this.
const FREE_BYTES_MAX: usize = 8 << 20;

/// Smaller ones are not worth keeping, larger ones not worth their memory.
const KEPT_BYTES: std::ops::RangeInclusive<usize> = 128 << 10..=2 << 20;

/// A drain may hold so much however many there are, or it would get nothing done.
const SHARE_BYTES_MIN: usize = 1 << 20;

impl Default for DrainMemory {
    /// 64 MiB.
    fn default() -> DrainMemory {
        DrainMemory::new(64 << 20)
    }
}

impl DrainMemory {
    /// So many bytes for all.
    pub fn new(bytes: usize) -> DrainMemory {
        DrainMemory { bytes, busy: AtomicUsize::new(0), free: Mutex::default() }
    }

    /// An empty buffer with room for so many bytes. It begins on a block, so that a local file takes
    /// them from where they are.
    pub(crate) fn take(&self, bytes: usize) -> BytesMut {
        let to_block = |buffer: &BytesMut| buffer.as_ptr().align_offset(BLOCK_BYTES);
        let mut buffer = match self.free().pop_front() {
            // One that was handed out before begins on a block already.
            Some(buffer) if buffer.capacity() >= bytes + to_block(&buffer) => buffer,
            _ => BytesMut::with_capacity(bytes + BLOCK_BYTES),
        };
        let before = to_block(&buffer);
        if before < buffer.capacity() {
            buffer.resize(before, 0);
            buffer.advance(before);
        }
        buffer
    }

    pub(crate) fn give(&self, mut buffer: BytesMut) {
        buffer.clear();
        if !KEPT_BYTES.contains(&buffer.capacity()) {
            return;
        }
        let mut free = self.free();
        let kept: usize = free.iter().map(BytesMut::capacity).sum();
        if kept + buffer.capacity() <= FREE_BYTES_MAX {
            free.push_back(buffer);
        }
    }

    fn free(&self) -> MutexGuard<'_, VecDeque<BytesMut>> {
        self.free.lock().expect("no panic while the lock is held")
    }
}

/// One drain's part of it: drains that hold something have equal parts.
#[derive(Debug)]
pub(crate) struct Share {
    memory: Arc<DrainMemory>,
    busy: bool,
}

impl Share {
    pub(crate) fn new(memory: Arc<DrainMemory>) -> Share {
        Share { memory, busy: false }
    }

    pub(crate) fn memory(&self) -> &DrainMemory {
        &self.memory
    }

    /// How much the drain may hold.
    pub(crate) fn bytes(&self) -> usize {
        let busy = self.memory.busy.load(Ordering::Relaxed).max(1);
        (self.memory.bytes / busy).max(SHARE_BYTES_MIN)
    }

    /// Says whether the drain holds anything.
    pub(crate) fn set_busy(&mut self, busy: bool) {
        match (std::mem::replace(&mut self.busy, busy), busy) {
            (false, true) => self.memory.busy.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.memory.busy.fetch_sub(1, Ordering::Relaxed),
            _ => return,
        };
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set_busy(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_drains_have_equal_shares() {
        let memory = Arc::new(DrainMemory::new(8 << 20));
        let mut shares: Vec<Share> = (0..4).map(|_| Share::new(Arc::clone(&memory))).collect();
        assert_eq!(shares[0].bytes(), 8 << 20);
        shares.iter_mut().for_each(|share| share.set_busy(true));
        shares[0].set_busy(true);
        assert_eq!(shares[0].bytes(), 2 << 20);
        shares[1].set_busy(false);
        shares.truncate(2);
        assert_eq!(shares[0].bytes(), 8 << 20);
    }

    #[test]
    fn buffers_are_used_again_and_few_are_kept() {
        let memory = DrainMemory::default();
        let mut buffer = memory.take(256 << 10);
        buffer.extend_from_slice(b"x");
        let place = buffer.as_ptr();
        // As a chunk that was written comes back.
        let written = buffer.freeze().try_into_mut().expect("nobody else has it");
        memory.give(written);
        let again = memory.take(256 << 10);
        assert!(again.is_empty() && again.capacity() >= 256 << 10);
        assert_eq!(again.as_ptr(), place, "the same memory, on a block");
        assert_eq!(place.align_offset(BLOCK_BYTES), 0);
        for _ in 0..100 {
            memory.give(BytesMut::with_capacity(1 << 20));
            memory.give(BytesMut::with_capacity(1 << 10));
        }
        assert_eq!(memory.free().len(), FREE_BYTES_MAX >> 20);
    }
}
