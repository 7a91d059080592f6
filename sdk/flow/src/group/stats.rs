//! What a runner has done, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one runner, since it began.
#[derive(Debug, Default)]
pub struct GroupStats {
    delivered_events: AtomicU64,
    delivered_batches: AtomicU64,
    failed_deliveries: AtomicU64,
    dead_lettered_events: AtomicU64,
    lost_offsets: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupCounts {
    /// Events that a sink has taken.
    pub delivered_events: u64,
    /// Batches that a sink has taken.
    pub delivered_batches: u64,
    /// Deliveries that a sink refused, of whatever kind.
    pub failed_deliveries: u64,
    /// Events that went to the dead letters.
    pub dead_lettered_events: u64,
    /// Offsets passed over because they are lost.
    pub lost_offsets: u64,
}

impl GroupStats {
    /// The counters now.
    pub fn counts(&self) -> GroupCounts {
        GroupCounts {
            delivered_events: self.delivered_events.load(Ordering::Relaxed),
            delivered_batches: self.delivered_batches.load(Ordering::Relaxed),
            failed_deliveries: self.failed_deliveries.load(Ordering::Relaxed),
            dead_lettered_events: self.dead_lettered_events.load(Ordering::Relaxed),
            lost_offsets: self.lost_offsets.load(Ordering::Relaxed),
        }
    }

    pub(super) fn delivered(&self, events: u64) {
        self.delivered_events.fetch_add(events, Ordering::Relaxed);
        self.delivered_batches.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failed_deliveries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn dead_lettered(&self, events: u64) {
        self.dead_lettered_events.fetch_add(events, Ordering::Relaxed);
    }

    pub(super) fn lost(&self, offsets: u64) {
        self.lost_offsets.fetch_add(offsets, Ordering::Relaxed);
    }
}
