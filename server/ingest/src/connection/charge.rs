//! What one request's body holds of the memory for received bytes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::messages::Messages;
use super::{Connection, subtract};
use crate::memory::Hold;

/// The bytes that a request's body has given out and that nobody has passed on.
///
/// Lives as long as anything of the request does; what is left then is released.
#[derive(Debug)]
pub(crate) struct Charge {
    connection: Arc<Connection>,
    held: AtomicUsize,
    messages: Mutex<Messages>,
}

impl Charge {
    pub(crate) fn new(connection: Arc<Connection>) -> Arc<Charge> {
        connection.bodies.fetch_add(1, Ordering::AcqRel);
        Arc::new(Charge { connection, held: AtomicUsize::new(0), messages: Mutex::default() })
    }

    /// The body is to give out some of `bytes` next; returns how many, at least one.
    pub(crate) fn take(&self, bytes: &[u8]) -> usize {
        let bytes = self.messages.lock().unwrap_or_else(PoisonError::into_inner).feed(bytes);
        self.held.fetch_add(self.connection.take_unread(bytes), Ordering::Relaxed);
        bytes
    }

    /// The first complete message of it that was not split off yet is now on its own.
    pub(crate) fn split(&self) -> Hold {
        let bytes = self.messages.lock().unwrap_or_else(PoisonError::into_inner).take();
        let bytes = subtract(&self.held, bytes);
        subtract(&self.connection.unfinished, bytes);
        Hold::adopt(Arc::clone(&self.connection.memory), bytes)
    }

    /// Memory that the request takes beside its bytes.
    pub(crate) fn beside(&self, bytes: usize) -> Hold {
        let mut hold = Hold::adopt(Arc::clone(&self.connection.memory), 0);
        hold.grow(bytes);
        hold
    }

    /// Whether a block may be decompressed now.
    pub(crate) fn may_unpack(&self) -> bool {
        self.connection.memory.may_unpack()
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let held = *self.held.get_mut();
        subtract(&self.connection.unfinished, held);
        self.connection.memory.release(held);
        if self.connection.bodies.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.connection.release_unread();
        }
    }
}
