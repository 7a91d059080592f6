//! What a log is opened with.

use crate::storage::{RealStorage, Storage};
use crate::view::{MemoryView, View};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The default length of a segment.
pub const SEGMENT_BYTES: u32 = 64 << 20;

/// The shortest segment: only tests want one.
pub const SEGMENT_BYTES_MIN: u32 = 32 << 10;

/// The longest segment.
pub const SEGMENT_BYTES_MAX: u32 = 1 << 30;

/// The quota is at most this unless told otherwise.
pub const QUOTA_BYTES: u64 = 50 << 30;

/// The quota holds at least this many segments.
pub const QUOTA_SEGMENTS_MIN: u64 = 4;

/// Free bytes below which the disk counts as full for new events.
pub const FREE_BYTES_FLOOR: u64 = 1 << 30;

/// Bytes set aside so that a full disk can recover.
pub const RESERVE_BYTES: u64 = 64 << 20;

/// Bytes of recent records kept in memory.
pub const CACHE_BYTES: usize = 64 << 20;

/// Bytes that may wait to be written.
pub const IN_FLIGHT_BYTES_MAX: u64 = 64 << 20;

/// The longest body of a record, where segments are long enough (a body is at most half a segment).
pub const BODY_BYTES_MAX: usize = 32 << 20;

/// A flush takes no more records once it has so many bytes.
pub(crate) const FLUSH_BYTES_MAX: u64 = 8 << 20;

/// A monotonic clock.
pub type Monotonic = Arc<dyn Fn() -> Duration + Send + Sync>;

/// A source of random numbers.
pub type Random = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What a log is opened with. `LogOptions::new(dir)` is a log on this machine's disk.
#[derive(Clone)]
pub struct LogOptions {
    /// Its directory, which is its alone.
    pub dir: PathBuf,
    /// The disk.
    pub storage: Arc<dyn Storage>,
    /// Where the log keeps what it can find again in its footers.
    pub view: Arc<dyn View>,
    /// Its tree in the view; the log empties it when it opens.
    pub view_tree: String,
    /// What the log may use. `None`: what the directory was made with, at first the smaller of
    /// [`QUOTA_BYTES`] and half of what is free.
    pub quota_bytes: Option<u64>,
    /// The length of a segment, or less if the quota would not hold eight; counts only when the directory
    /// is made.
    pub segment_bytes: u32,
    /// Free bytes of the disk below which new events are refused.
    pub free_bytes_floor: u64,
    /// From which shares of the quota on less is let in.
    pub marks: Marks,
    /// The length of the reserve file.
    pub reserve_bytes: u64,
    /// Bytes of recent records kept in memory.
    pub cache_bytes: usize,
    /// Bytes that may wait to be written.
    pub in_flight_bytes_max: u64,
    /// Whether the log has threads of its own. Without, nothing happens until [`crate::Log::drive`].
    pub threads: bool,
    /// Names of record kinds, for metrics.
    pub kind_name: fn(u8) -> &'static str,
    /// The clock that times are measured with.
    pub monotonic: Monotonic,
    /// Where ids of segments come from.
    pub random: Random,
}

/// Shares of a log's quota, in percent, rising.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// Somebody should look.
    pub warn_percent: u32,
    /// No new events.
    pub stop_ingest_percent: u32,
    /// Nothing but what lets sinks go on.
    pub sinks_only_percent: u32,
}

impl Default for Marks {
    fn default() -> Self {
        Self { warn_percent: 70, stop_ingest_percent: 85, sinks_only_percent: 95 }
    }
}

impl LogOptions {
    /// The defaults, on this machine's disk.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            storage: Arc::new(RealStorage),
            view: Arc::new(MemoryView::new()),
            view_tree: "log".to_owned(),
            quota_bytes: None,
            segment_bytes: SEGMENT_BYTES,
            free_bytes_floor: FREE_BYTES_FLOOR,
            marks: Marks::default(),
            reserve_bytes: RESERVE_BYTES,
            cache_bytes: CACHE_BYTES,
            in_flight_bytes_max: IN_FLIGHT_BYTES_MAX,
            threads: true,
            kind_name: |_| "record",
            monotonic: crate::shim::monotonic(),
            random: crate::shim::random(),
        }
    }
}
