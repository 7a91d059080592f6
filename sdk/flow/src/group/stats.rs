//! What a runner has done, in numbers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Counters of one runner, since it began.
#[derive(Debug, Default)]
pub struct GroupStats {
    delivered_events: AtomicU64,
    delivered_batches: AtomicU64,
    failed_deliveries: AtomicU64,
    dead_lettered_events: AtomicU64,
    lost_offsets: AtomicU64,
    sinks: Mutex<BTreeMap<Arc<str>, SinkCounts>>,
    failure: Mutex<Option<SinkFailure>>,
    delivered_before_ms: Mutex<Option<i64>>,
}

/// Why what a group has in hand is not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkFailure {
    /// The sink that would not take it last.
    pub sink: Arc<str>,
    /// What it said.
    pub reason: String,
}

/// What one sink of a group has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SinkCounts {
    /// Events that it has taken.
    pub delivered_events: u64,
    /// Events that went to the dead letters because it refused them.
    pub dead_lettered_events: u64,
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

    /// The part of one sink.
    pub fn sink(&self, name: &str) -> SinkCounts {
        self.sinks().get(name).copied().unwrap_or_default()
    }

    fn sinks(&self) -> std::sync::MutexGuard<'_, BTreeMap<Arc<str>, SinkCounts>> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing gets on; `None` since the last delivery.
    pub fn failure(&self) -> Option<SinkFailure> {
        self.failing().clone()
    }

    /// Everything put before this is delivered, and the cursor behind it. `None` until something was
    /// read.
    pub fn delivered_before_ms(&self) -> Option<i64> {
        *self.delivered_before_ms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A batch is in hand, or delivered and committed.
    pub(super) fn stands_at(&self, put_time_ms: Option<i64>) {
        if put_time_ms.is_some() {
            let mut before =
                self.delivered_before_ms.lock().unwrap_or_else(PoisonError::into_inner);
            *before = put_time_ms;
        }
    }

    fn failing(&self) -> std::sync::MutexGuard<'_, Option<SinkFailure>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn delivered(&self, sink: &Arc<str>, events: u64) {
        *self.failing() = None;
        self.sinks().entry(Arc::clone(sink)).or_default().delivered_events += events;
        self.delivered_events.fetch_add(events, Ordering::Relaxed);
        self.delivered_batches.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, sink: &Arc<str>, reason: String) {
        *self.failing() = Some(SinkFailure { sink: Arc::clone(sink), reason });
        self.failed_deliveries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn dead_lettered(&self, sink: &Arc<str>, events: u64) {
        *self.failing() = None;
        self.sinks().entry(Arc::clone(sink)).or_default().dead_lettered_events += events;
        self.dead_lettered_events.fetch_add(events, Ordering::Relaxed);
    }

    pub(super) fn lost(&self, offsets: u64) {
        self.lost_offsets.fetch_add(offsets, Ordering::Relaxed);
    }
}
