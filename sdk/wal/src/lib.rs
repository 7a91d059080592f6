//! The segment log: what is acknowledged is in here.

mod body;
mod entry;
mod error;
mod log;
mod options;
mod quarantine;
mod reader;
mod recovery;
mod shim;
mod storage;
mod usage;
mod view;

pub use body::Body;
pub use entry::{Appended, Entry, LISTED_KIND_MIN, LogRecord, Position, Purpose};
pub use error::{AppendError, FullReason, LogReadError, OpenError};
pub use log::Log;
pub use options::{
    CACHE_BYTES, FREE_BYTES_FLOOR, IN_FLIGHT_BYTES_MAX, LogOptions, Monotonic, QUOTA_BYTES,
    QUOTA_SEGMENTS_MIN, RESERVE_BYTES, Random, SEGMENT_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
};
pub use quarantine::Quarantined;
pub use reader::LogReader;
pub use recovery::Recovery;
pub use storage::{
    DirEntry, DirLock, Fault, Faults, FaultyStorage, LockOutcome, RealStorage, Storage,
    StorageFile, is_full, read_exact_at, write_all_at,
};
pub use usage::{LineageExtent, Listed, Mark, Usage};
pub use view::{KeyValue, MemoryView, View, ViewError};
