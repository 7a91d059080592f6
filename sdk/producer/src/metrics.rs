//! What a producer has done so far.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::breaker::BreakerState;

/// A producer's counts at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProducerMetrics {
    /// Events that were acknowledged.
    pub acked_events: u64,
    /// Blocks that were acknowledged.
    pub acked_blocks: u64,
    /// Bytes of those blocks.
    pub acked_bytes: u64,
    /// Of the acknowledged blocks, those that an earlier attempt had stored.
    pub duplicate_blocks: u64,
    /// Blocks that were sent more than once, each time counted.
    pub retried_blocks: u64,
    /// Events that were rejected.
    pub rejected_events: u64,
    /// Events whose deadline passed, certainly not stored.
    pub expired_events: u64,
    /// Events of which it is not known whether they are stored.
    pub unknown_events: u64,
    /// Events that may be stored and were sent again in a new generation: they may be there twice.
    pub doubtful_resent_events: u64,
    /// Events that were dropped because there was no room.
    pub dropped_events: u64,
    /// Connections that came about.
    pub connections: u64,
    /// Events that wait for an answer, in bytes.
    pub in_flight_bytes: u64,
    /// The endpoint that is connected, if one is.
    pub connected_to: Option<String>,
    /// Each endpoint with the state of its circuit breaker.
    pub breakers: Vec<(String, BreakerState)>,
}

/// The counts while they run.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) acked_events: AtomicU64,
    pub(crate) acked_blocks: AtomicU64,
    pub(crate) acked_bytes: AtomicU64,
    pub(crate) duplicate_blocks: AtomicU64,
    pub(crate) retried_blocks: AtomicU64,
    pub(crate) rejected_events: AtomicU64,
    pub(crate) expired_events: AtomicU64,
    pub(crate) unknown_events: AtomicU64,
    pub(crate) doubtful_resent_events: AtomicU64,
    pub(crate) dropped_events: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) in_flight_bytes: AtomicU64,
    pub(crate) links: Mutex<Links>,
}

/// Where the connection stands.
#[derive(Debug, Default, Clone)]
pub(crate) struct Links {
    pub(crate) connected_to: Option<String>,
    pub(crate) breakers: Vec<(String, BreakerState)>,
}

pub(crate) fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn snapshot(&self) -> ProducerMetrics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ProducerMetrics {
            acked_events: read(&self.acked_events),
            acked_blocks: read(&self.acked_blocks),
            acked_bytes: read(&self.acked_bytes),
            duplicate_blocks: read(&self.duplicate_blocks),
            retried_blocks: read(&self.retried_blocks),
            rejected_events: read(&self.rejected_events),
            expired_events: read(&self.expired_events),
            unknown_events: read(&self.unknown_events),
            doubtful_resent_events: read(&self.doubtful_resent_events),
            dropped_events: read(&self.dropped_events),
            connections: read(&self.connections),
            in_flight_bytes: read(&self.in_flight_bytes),
            connected_to: links.connected_to,
            breakers: links.breakers,
        }
    }

    pub(crate) fn set_links(&self, links: Links) {
        *self.links.lock().unwrap_or_else(PoisonError::into_inner) = links;
    }
}
