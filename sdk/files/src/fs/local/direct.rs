//! Writes past the page cache.

use std::cell::RefCell;
use std::fs::File;
use std::io::Write as _;

use crate::fs::BLOCK_BYTES as BLOCK;

/// What one write takes.
const PIECE_BYTES: usize = 1 << 20;

/// The part of a growing file that does not fill a block yet.
#[derive(Debug, Default)]
pub(super) struct Direct {
    waiting: Vec<u8>,
}

thread_local! {
    // The runtime ends its blocking threads, and these with them, when they have nothing to do.
    static PIECE: RefCell<Piece> = RefCell::new(Piece::new());
}

impl Direct {
    /// What is appended but not in the file, less than a block.
    pub(super) fn waiting(&self) -> &[u8] {
        &self.waiting
    }

    /// Lets `bytes` wait, too few to fill a block.
    pub(super) fn wait(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
    }

    /// Appends whole blocks to the file and lets the rest wait. `false`: the file system does not take
    /// direct writes after all, or cut one within a block; everything not yet in the file waits, and
    /// is to go through the page cache.
    pub(super) fn append(&mut self, file: &File, mut bytes: &[u8]) -> std::io::Result<bool> {
        if self.waiting.is_empty() && bytes.as_ptr().align_offset(BLOCK) == 0 {
            // Of whole blocks on a block: no copy.
            while bytes.len() >= BLOCK {
                let whole = bytes.len() / BLOCK * BLOCK;
                let written = write(file, &bytes[..whole])?;
                bytes = &bytes[written..];
                if written != whole {
                    self.waiting.extend_from_slice(bytes);
                    return Ok(false);
                }
            }
        }
        PIECE.with_borrow_mut(|piece| {
            while self.waiting.len() + bytes.len() >= BLOCK {
                let from_bytes = (PIECE_BYTES - self.waiting.len()).min(bytes.len());
                let whole = (self.waiting.len() + from_bytes) / BLOCK * BLOCK;
                let (head, rest) = bytes.split_at(whole - self.waiting.len());
                let full = piece.fill(&self.waiting, head);
                let written = write(file, full)?;
                if written == full.len() {
                    self.waiting.clear();
                    bytes = rest;
                    continue;
                }
                self.waiting = full[written..].to_vec();
                self.waiting.extend_from_slice(rest);
                return Ok(false);
            }
            self.waiting.extend_from_slice(bytes);
            Ok(true)
        })
    }
}

/// How much of `blocks` the file took: none where it takes no direct writes.
fn write(mut file: &File, blocks: &[u8]) -> std::io::Result<usize> {
    loop {
        match file.write(blocks) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => (),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => return Ok(0),
            result => return result,
        }
    }
}

/// Memory that begins on a block.
struct Piece {
    memory: Vec<u8>,
    start: usize,
}

impl Piece {
    fn new() -> Piece {
        let memory = vec![0; PIECE_BYTES + BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK);
        Piece { memory, start }
    }

    fn fill(&mut self, first: &[u8], second: &[u8]) -> &[u8] {
        let (end_first, end) = (first.len(), first.len() + second.len());
        let piece = &mut self.memory[self.start..self.start + end];
        piece[..end_first].copy_from_slice(first);
        piece[end_first..].copy_from_slice(second);
        piece
    }
}
