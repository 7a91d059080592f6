//! One client's connection: what it holds, and how it is cut.
//!
//! The way of a received byte: the socket gives it and it is *unread* ([`Socket`]); a request's
//! body takes it over ([`Charge`]); a message that goes into the log takes it from there
//! ([`Hold`](crate::memory::Hold)); when that is stored it is released.

mod acceptor;
mod charge;
mod frames;
mod messages;
mod registry;
mod socket;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use futures::task::AtomicWaker;
use sdk_tls::Peer;

pub(crate) use acceptor::accept;
pub(crate) use charge::Charge;
pub(crate) use registry::Registry;

use crate::memory::Memory;

/// What is known about an open connection. Shared by its socket and its requests.
#[derive(Debug)]
pub(crate) struct Connection {
    id: u64,
    peer: SocketAddr,
    /// Who showed a certificate, if somebody did.
    certificate: OnceLock<Arc<Peer>>,
    memory: Arc<Memory>,
    /// Charged bytes of DATA frames that no body has taken over.
    unread: AtomicUsize,
    /// Charged bytes of messages that are not complete, or not looked at: `unread` and more.
    unfinished: AtomicUsize,
    /// Requests whose body is not finished with.
    bodies: AtomicUsize,
    /// In the memory's list of those that wait.
    waits: AtomicBool,
    waker: AtomicWaker,
    cut: AtomicBool,
}

impl Connection {
    pub(crate) fn new(id: u64, peer: SocketAddr, memory: Arc<Memory>) -> Arc<Connection> {
        Arc::new(Connection {
            id,
            peer,
            certificate: OnceLock::new(),
            memory,
            unread: AtomicUsize::new(0),
            unfinished: AtomicUsize::new(0),
            bodies: AtomicUsize::new(0),
            waits: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            cut: AtomicBool::new(false),
        })
    }

    /// Who is at the other end.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whose certificate was shown.
    pub(crate) fn certificate(&self) -> Option<&Peer> {
        self.certificate.get().map(Arc::as_ref)
    }

    fn shown(&self, certificate: Option<&Arc<Peer>>) {
        if let Some(certificate) = certificate {
            // There is one handshake.
            let _ = self.certificate.set(Arc::clone(certificate));
        }
    }

    /// Ends the connection the next time its socket is looked at, which is now.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        self.waker.wake();
    }

    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Bytes of messages that are not complete.
    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished.load(Ordering::Relaxed)
    }

    /// Called by [`Memory`] when there is room.
    pub(crate) fn wake(&self) {
        self.waits.store(false, Ordering::Release);
        self.waker.wake();
    }

    /// Has the socket's task woken when there is memory.
    fn wait_for_memory(self: &Arc<Connection>) {
        if !self.waits.swap(true, Ordering::AcqRel) {
            self.memory.wait(self);
        }
    }

    fn received(&self, bytes: usize) {
        if bytes > 0 {
            self.unread.fetch_add(bytes, Ordering::Relaxed);
            self.unfinished.fetch_add(bytes, Ordering::Relaxed);
            self.memory.charge(bytes);
        }
    }

    /// A body takes over up to `bytes`; returns how many are charged.
    fn take_unread(&self, bytes: usize) -> usize {
        subtract(&self.unread, bytes)
    }

    /// Gives back what no body will ever take: HTTP/2 throws away the frames of a request that
    /// ended early without telling.
    fn release_unread(&self) {
        let unread = self.unread.swap(0, Ordering::Relaxed);
        subtract(&self.unfinished, unread);
        self.memory.release(unread);
    }
}

/// Subtracts at most what is there; returns how much that was.
fn subtract(counter: &AtomicUsize, amount: usize) -> usize {
    let before = counter
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |there| {
            Some(there.saturating_sub(amount))
        })
        .expect("the closure always returns a value");
    before.min(amount)
}
