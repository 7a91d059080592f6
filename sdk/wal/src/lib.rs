//! The segment log: what is acknowledged is in here.
//!
//! One log per disk holds the records of many *lineages*, interleaved, in *segments* that are used again and again.
//! One writer takes everything that waits, writes it as one *flush*, syncs once, and answers all together. Nothing is
//! promised before, and nothing else is: indexes, caches and views are found again from the segments at every start.
//! The bytes are in `FORMAT.md` beside this crate.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use sdk_event::Lineage;
//! use sdk_wal::{Entry, Log, LogOptions, Purpose};
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//!
//! let lineage = Lineage { flow: 1, shard: 0, epoch: 1 };
//! let options = LogOptions { quota_bytes: Some(4 << 20), segment_bytes: 1 << 20, ..LogOptions::new(dir) };
//! let (log, _recovery) = Log::open(options)?;
//! let appended = log.append(Entry {
//!     lineage,
//!     kind: 1,
//!     purpose: Purpose::Ingest,
//!     first_offset: log.end(lineage),
//!     count: 1,
//!     put_time_ms: 0,
//!     identity: None,
//!     body: b"hello".to_vec().into(),
//! })?;
//! // In async code: `appended.await?`.
//! appended.wait()?;
//! // It is durable now, and readers see it.
//! let record = log.reader(lineage, 0).next()?.expect("appended above");
//! assert_eq!(record.body.to_bytes(), "hello");
//! log.stop();
//! # Ok(())
//! # }
//! ```

mod body;
mod entry;
mod error;
mod usage;

mod contents;
mod crc;
mod flush;
mod footer;
mod format;
mod patient;
mod record;
mod segment;
mod walk;

mod core;
mod log;
mod meta;
mod options;
mod pool;
mod queue;
mod quota;
mod reserve;
mod writer;

mod copy_forward;
mod floors;
mod index;
mod keeper;
mod quarantine;
mod recovery;

pub mod inspect;

mod cache;
mod reader;
mod view;
mod view_rows;

mod metrics;
mod shim;
mod storage;

pub use body::Body;
pub use entry::{Appended, Entry, LISTED_KIND_MIN, LogRecord, Position, Purpose};
pub use error::{AppendError, FullReason, LogReadError, OpenError};
pub use log::Log;
pub use options::{
    BODY_BYTES_MAX, CACHE_BYTES, FREE_BYTES_FLOOR, IN_FLIGHT_BYTES_MAX, LogOptions, Marks,
    Monotonic, QUOTA_BYTES, QUOTA_SEGMENTS_MIN, RESERVE_BYTES, Random, SEGMENT_BYTES,
    SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
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
