//! How much of the disk the log has, and how it is doing.

use sdk_event::Lineage;
use std::fmt;

/// How full the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// Below every mark.
    #[default]
    Fine,
    /// Someone should look (70 %).
    Warn,
    /// No new events (85 %, or the disk has less free than its floor).
    StopIngest,
    /// Only what lets sinks go on (95 %).
    SinksOnly,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fine => "fine",
            Self::Warn => "warn",
            Self::StopIngest => "stop ingest",
            Self::SinksOnly => "sinks only",
        })
    }
}

/// What the log uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of segments that hold something not yet freed.
    pub used_bytes: u64,
    /// Bytes that the log may use.
    pub quota_bytes: u64,
    /// Bytes of segments kept to be used again; part of the quota, not of `used_bytes`.
    pub spare_bytes: u64,
    /// Bytes that the file system has free, if it said so.
    pub free_bytes: Option<u64>,
    /// The mark that holds.
    pub mark: Mark,
    /// Segments that hold something.
    pub segments: usize,
    /// Bytes that wait to be written.
    pub in_flight_bytes: u64,
}

/// What the log holds of a lineage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineageExtent {
    /// The lineage.
    pub lineage: Lineage,
    /// The lowest offset that is still in the log (not necessarily with all that follow).
    pub first: u64,
    /// The offset after the last one that is durable, or the cut.
    pub end: u64,
    /// Below it nothing is needed any more.
    pub floor: u64,
    /// Bytes of its records in the log, dead ones in living segments included.
    pub bytes: u64,
}

/// Where a record of a listed kind stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The offset of its first event.
    pub first_offset: u64,
    /// How many offsets it takes.
    pub count: u32,
    /// Its kind.
    pub kind: u8,
}
