//! What became of the blocks.

use crate::ledger::{Ledger, Outcome};
use anyhow::Result;
use hdrhistogram::Histogram;
use sdk_event::ProducerId;
use sdk_producer::{DeliveryError, Stored};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// The longest answer that is told apart: an hour, in microseconds.
const LONGEST_US: u64 = 3_600_000_000;

/// Counts of one producer, or of several added up.
pub(super) struct Tally {
    producer: ProducerId,
    begun: Instant,
    ledger: Option<Arc<Mutex<Ledger>>>,
    pub(super) acked: u64,
    pub(super) rejected: u64,
    pub(super) unknown: u64,
    /// From when a block was due until its answer, in microseconds.
    pub(super) times: Histogram<u64>,
    offered: u64,
    /// When the last block was due.
    offered_for: Duration,
    /// When the last acknowledgement came.
    acked_after: Duration,
    /// Why it ended before its time.
    pub(super) stopped: Option<String>,
}

impl Tally {
    pub(super) fn new(
        producer: ProducerId,
        begun: Instant,
        ledger: Option<Arc<Mutex<Ledger>>>,
    ) -> Result<Self> {
        Ok(Self {
            producer,
            begun,
            ledger,
            acked: 0,
            rejected: 0,
            unknown: 0,
            times: Histogram::new_with_bounds(1, LONGEST_US, 3)?,
            offered: 0,
            offered_for: Duration::ZERO,
            acked_after: Duration::ZERO,
            stopped: None,
        })
    }

    /// A block was answered now.
    pub(super) fn answered(
        &mut self,
        first: u64,
        events: u64,
        due: Instant,
        answer: &Result<Stored, DeliveryError>,
    ) -> Result<()> {
        let outcome = match answer {
            Ok(_) => {
                let now = Instant::now();
                self.times.saturating_record((now - due).as_micros() as u64);
                self.acked_after = now - self.begun;
                self.acked += events;
                Outcome::Acked
            }
            Err(error) if error.is_certain() => {
                self.rejected += events;
                Outcome::Rejected
            }
            Err(_) => {
                self.unknown += events;
                Outcome::Unknown
            }
        };
        if let Some(ledger) = &self.ledger {
            let mut ledger = ledger.lock().expect("no panic while the lock is held");
            ledger.record(outcome, self.producer, 1, first, events)?;
        }
        Ok(())
    }

    /// So many events were due for so long that they were never sent.
    pub(super) fn never_sent(&mut self, events: u64) {
        self.rejected += events;
    }

    /// All the events that were due, the last of them that long after the beginning.
    pub(super) fn offered(&mut self, events: u64, lasted: Duration) {
        self.offered = events;
        self.offered_for = lasted;
    }

    /// Adds another producer's counts.
    pub(super) fn add(&mut self, other: Tally) -> Result<()> {
        self.acked += other.acked;
        self.rejected += other.rejected;
        self.unknown += other.unknown;
        self.offered += other.offered;
        self.times.add(&other.times)?;
        self.offered_for = self.offered_for.max(other.offered_for);
        self.acked_after = self.acked_after.max(other.acked_after);
        self.stopped = self.stopped.take().or(other.stopped);
        Ok(())
    }

    pub(super) fn offered_per_second(&self) -> f64 {
        per_second(self.offered, self.offered_for)
    }

    pub(super) fn acked_per_second(&self) -> f64 {
        per_second(self.acked, self.acked_after.max(self.offered_for))
    }
}

fn per_second(events: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { events as f64 / time.as_secs_f64() }
}
