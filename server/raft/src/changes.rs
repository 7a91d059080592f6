//! How far entries are applied, and who waits for more.

use crate::shared::Shared;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// The index of the last applied entry. Those who wait are woken in the order in which they began to
/// (`watch` draws one at random): with virtual time the same happens again.
pub(crate) struct Applied {
    index: AtomicU64,
    /// Counts what was told: a snapshot may tell an index again.
    told: AtomicU64,
    more: Notify,
}

impl Applied {
    pub(crate) fn new(index: u64) -> Applied {
        Applied { index: AtomicU64::new(index), told: AtomicU64::new(0), more: Notify::new() }
    }

    pub(crate) fn tell(&self, index: u64) {
        self.index.store(index, Ordering::Release);
        self.told.fetch_add(1, Ordering::Release);
        self.more.notify_waiters();
    }
}

/// Follows the applied state, see [`crate::RaftHandle::changes`].
pub struct Changes {
    shared: Arc<Shared>,
    seen: u64,
}

impl Changes {
    pub(crate) fn new(shared: Arc<Shared>) -> Changes {
        let mut changes = Changes { shared, seen: 0 };
        changes.mark_seen();
        changes
    }

    /// The index of the last applied entry. What is read of the state afterwards is at least as new.
    pub fn index(&self) -> u64 {
        self.shared.applied.index.load(Ordering::Acquire)
    }

    /// From here on only what is applied later counts as a change.
    pub fn mark_seen(&mut self) {
        self.seen = self.shared.applied.told.load(Ordering::Acquire);
    }

    /// Waits until something was applied since the last call, or since [`Changes::mark_seen`]. It waits
    /// for ever once the node has ended. Cancel-safe.
    pub async fn changed(&mut self) {
        let applied = &self.shared.applied;
        loop {
            let mut more = pin!(applied.more.notified());
            more.as_mut().enable();
            let told = applied.told.load(Ordering::Acquire);
            if told != self.seen {
                self.seen = told;
                return;
            }
            more.await;
        }
    }
}
