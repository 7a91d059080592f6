//! How a drain is doing, for people and metrics.

use std::sync::Arc;

use sdk_config::ledger::BucketKey;
use sdk_event::Lineage;

/// A drain at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainStatus {
    /// The sink group.
    pub group: Arc<str>,
    /// The lineage.
    pub lineage: Lineage,
    /// The token; 0 before the first.
    pub token: u64,
    /// Everything below is final, or waits in a quarantined bucket.
    pub floor: u64,
    /// The offset read next.
    pub cursor: u64,
    /// Whether everything there is was read.
    pub caught_up: bool,
    /// Whether all of a sealed lineage was read.
    pub ended: bool,
    /// The sink that events go to; `None` while none works.
    pub active: Option<Arc<str>>,
    /// The group's sinks that do not work, each with the reason in words.
    pub down: Vec<DownSink>,
    /// Buckets with something under way.
    pub buckets: usize,
    /// The group's sinks that can make nothing new in their roots.
    pub warned: Vec<WarnedSink>,
    /// Files open in staging.
    pub open_files: usize,
    /// Files that wait to be built from the log.
    pub cold_files: usize,
    /// Bytes of memory in buffers for files.
    pub buffer_bytes: usize,
    /// Buckets left alone for now.
    pub quarantined: Vec<QuarantinedBucket>,
    /// Why nothing gets on, in a sentence; `None` if it does.
    pub degraded: Option<String>,
    /// Whether it is known when everything was put that waits: what earlier tokens have left is looked
    /// up in the log first.
    pub put_times_known: bool,
    /// A time before which nothing was put that waits, that of the oldest event as soon as it is known.
    /// `None` if nothing is known to wait.
    pub oldest_pending_put_ms: Option<i64>,
    /// The put time of the newest event that was read.
    pub newest_read_put_ms: Option<i64>,
    /// Since this drain began.
    pub totals: DrainTotals,
}

/// What a drain has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DrainTotals {
    /// Files that are final, dead letters included.
    pub files: u64,
    /// Their bytes.
    pub file_bytes: u64,
    /// Events in files of events.
    pub events: u64,
    /// Events in files of dead letters.
    pub dead_letters: u64,
    /// Events that came after their directory's time had passed.
    pub late_events: u64,
    /// Events read again that were in a file already.
    pub skipped_events: u64,
    /// Files built from the log.
    pub rebuilt_files: u64,
    /// Fresh tokens taken.
    pub tokens: u64,
}

/// A sink that does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownSink {
    /// Its name.
    pub sink: Arc<str>,
    /// Why, in words.
    pub reason: String,
    /// In how many milliseconds it is tried again.
    pub retry_in_ms: u64,
}

/// A sink that works, but not for everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarnedSink {
    /// Its name.
    pub sink: Arc<str>,
    /// What is wrong, in a sentence.
    pub reason: String,
}

/// A bucket that is left alone for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedBucket {
    /// Which.
    pub bucket: BucketKey,
    /// Why, in words.
    pub reason: String,
    /// In how many milliseconds it is tried again.
    pub retry_in_ms: u64,
    /// Events that wait in it.
    pub events: u64,
}

impl DrainStatus {
    pub(crate) fn new(group: Arc<str>, lineage: Lineage) -> DrainStatus {
        DrainStatus {
            group,
            lineage,
            token: 0,
            floor: 0,
            cursor: 0,
            caught_up: false,
            ended: false,
            active: None,
            down: Vec::new(),
            warned: Vec::new(),
            buckets: 0,
            open_files: 0,
            cold_files: 0,
            buffer_bytes: 0,
            quarantined: Vec::new(),
            degraded: None,
            put_times_known: false,
            oldest_pending_put_ms: None,
            newest_read_put_ms: None,
            totals: DrainTotals::default(),
        }
    }

    /// Everything put before this is final. `now_ms` is the answer when nothing waits. `None`: not
    /// known, since nothing was read yet.
    pub fn final_before_ms(&self, now_ms: i64) -> Option<i64> {
        let idle = self.put_times_known && self.oldest_pending_put_ms.is_none();
        match idle && (self.caught_up || self.ended) {
            true => Some(now_ms),
            false => self.read_final_before_ms(),
        }
    }

    /// The same, for whoever knows that there is more than this drain has seen.
    pub fn read_final_before_ms(&self) -> Option<i64> {
        if !self.put_times_known {
            return None;
        }
        let oldest = self.oldest_pending_put_ms.unwrap_or(i64::MAX);
        let before = oldest.min(self.newest_read_put_ms.unwrap_or(oldest));
        (before < i64::MAX).then_some(before)
    }
}
