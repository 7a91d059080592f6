//! The file sink: events into finished files, exactly once.
//!
//! A [`Drain`] follows one lineage of a channel for one sink group. It sorts events into buckets by
//! a [`Layout`](layout::Layout), writes their files in staging on a [`FileSystem`](fs::FileSystem),
//! and moves each to its final name under the protocol that a [`Ledger`](ledger::Ledger) keeps:
//!
//! ```text
//! acquire a token ─▶ fence earlier ones ─▶ write in staging ─▶ close ─▶ Intent ─▶ rename ─▶ Commit ─▶ floor
//! ```
//!
//! Whatever stops it, and wherever, the next drain finds in the ledger which files may already have
//! their names, looks at those and no others, and reads on from the floor.

pub mod fs;

pub mod codec;
pub mod format;
pub mod layout;
pub mod name;
pub mod reader;
pub mod roll;
pub mod serializer;

pub mod archive;
pub mod audit;
pub mod ledger;
pub mod marker;
pub mod metrics;
pub mod status;

mod drain;
mod sink;
mod staged;

pub use drain::{
    ChannelReaders, Drain, DrainError, DrainHandle, DrainLimits, DrainMemory, DrainOptions, InHand,
    Preference, Readers, put_ms,
};
pub use sink::{FileSink, SinkBuildError, SinkIdentity};
pub use staged::Deadlines;
