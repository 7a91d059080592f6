//! The memory that received bytes may take, of all connections together.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::metrics::gauge::Gauge;

use crate::connection::Connection;

/// Counts bytes from the moment a socket gives them until they are stored, and what they unpack to.
///
/// At the limit no socket is read, so the peers' own buffers fill and they wait. What was begun
/// goes on; each release lets the waiting connections read again.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: usize,
    held: AtomicUsize,
    /// What of it messages take beyond the bytes they came as.
    unpacked: AtomicUsize,
    /// `held`, for people.
    gauge: Gauge,
    /// Grows with every release, so that standing still can be seen.
    releases: AtomicU64,
    waiting: Mutex<Vec<Arc<Connection>>>,
}

impl Memory {
    /// A budget of `limit` bytes, none of them held.
    pub(crate) fn new(limit: usize, gauge: Gauge) -> Arc<Memory> {
        Arc::new(Memory {
            limit,
            held: AtomicUsize::new(0),
            unpacked: AtomicUsize::new(0),
            gauge,
            releases: AtomicU64::new(0),
            waiting: Mutex::new(Vec::new()),
        })
    }

    /// Bytes that are read and neither stored nor given up.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether sockets wait.
    pub(crate) fn is_full(&self) -> bool {
        self.held() >= self.limit
    }

    /// Whether a block may be decompressed now. At the limit one is at a time, so that what is read
    /// already gets stored.
    pub(crate) fn may_unpack(&self) -> bool {
        !self.is_full() || self.unpacked.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn releases(&self) -> u64 {
        self.releases.load(Ordering::Relaxed)
    }

    pub(crate) fn charge(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        self.gauge.inc_by(bytes.try_into().unwrap_or(i64::MAX));
    }

    pub(crate) fn release(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let before = self.held.fetch_sub(bytes, Ordering::SeqCst);
        self.gauge.dec_by(bytes.try_into().unwrap_or(i64::MAX));
        self.releases.fetch_add(1, Ordering::Relaxed);
        if before >= self.limit && before - bytes < self.limit {
            self.wake();
        }
    }

    /// Has `connection` woken when there is room again. Called after the caller saw the budget
    /// full; a release in between is not missed.
    pub(crate) fn wait(&self, connection: &Arc<Connection>) {
        self.lock().push(Arc::clone(connection));
        if self.held.load(Ordering::SeqCst) < self.limit {
            self.wake();
        }
    }

    fn wake(&self) {
        let waiting = std::mem::take(&mut *self.lock());
        waiting.iter().for_each(|connection| connection.wake());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Connection>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of one message that is on its way into the log. Dropping it gives them back.
#[derive(Debug)]
pub(crate) struct Hold {
    memory: Arc<Memory>,
    bytes: usize,
    /// Of these, what the message takes beyond the bytes it came as.
    unpacked: usize,
}

impl Hold {
    /// Takes over bytes that are charged already.
    pub(crate) fn adopt(memory: Arc<Memory>, bytes: usize) -> Hold {
        Hold { memory, bytes, unpacked: 0 }
    }

    /// The message takes so many bytes in all, now that it is looked at.
    pub(crate) fn grow(&mut self, bytes: usize) {
        let more = bytes.saturating_sub(self.bytes);
        self.memory.charge(more);
        self.memory.unpacked.fetch_add(more, Ordering::Relaxed);
        self.bytes += more;
        self.unpacked += more;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.memory.unpacked.fetch_sub(self.unpacked, Ordering::Relaxed);
        self.memory.release(self.bytes);
    }
}
