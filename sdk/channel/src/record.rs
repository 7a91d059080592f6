//! The bodies of the records that a shard writes into the log. FORMAT.md has
//! them byte by byte.

mod checkpoint;
mod control;
mod fields;
mod put;

pub use checkpoint::{CheckpointPart, Section};
pub use control::{Close, CursorCommit, Gap, Loss, LostIds, Registration, SourceName};
pub use put::{PartBytes, PutRecord};

pub(crate) use checkpoint::PartBuilder;
pub(crate) use fields::{Fields, put_text};
pub(crate) use put::{PARTS_MAX, PutFoot, encode_blocks, encode_put};

use bytes::Bytes;
use sdk_wal::{LISTED_KIND_MIN, LogRecord};

/// What a record's body is: the `kind` of a log record.
pub mod kind {
    /// An accepted block: [`PutRecord`](super::PutRecord).
    pub const PUT: u8 = 1;
    /// A producer may put now: [`Registration`](super::Registration).
    pub const REGISTRATION: u8 = 2;
    /// Sequence numbers that will never come: [`Gap`](super::Gap).
    pub const GAP: u8 = 3;
    /// A producer closed its session: [`Close`](super::Close).
    pub const CLOSE: u8 = 4;
    /// A sink group moved on: [`CursorCommit`](super::CursorCommit).
    pub const CURSOR: u8 = 5;
    /// A source's position without events.
    pub const POSITION: u8 = 6;
    /// Under which producer's ids a source puts: [`SourceName`](super::SourceName).
    pub const SOURCE: u8 = 7;
    /// Whoever wrote it takes no more of this lineage.
    pub const STOP: u8 = 8;
    /// Offsets that were given up: [`Loss`](super::Loss).
    pub const LOST: u8 = 9;
    /// A part of what the shard remembers: [`CheckpointPart`](super::CheckpointPart).
    pub const CHECKPOINT: u8 = super::LISTED_KIND_MIN;

    /// What a kind is called, in metrics and listings.
    #[must_use]
    pub fn name(kind: u8) -> &'static str {
        match kind {
            PUT => "put",
            REGISTRATION => "registration",
            GAP => "gap",
            CLOSE => "close",
            CURSOR => "cursor",
            POSITION => "position",
            SOURCE => "source",
            STOP => "stop",
            LOST => "lost",
            CHECKPOINT => "checkpoint",
            _ => "unknown",
        }
    }
}

/// A record's body, read.
#[derive(Debug, Clone)]
pub enum Record {
    /// [`kind::PUT`].
    Put(PutRecord),
    /// [`kind::REGISTRATION`].
    Registration(Registration),
    /// [`kind::GAP`].
    Gap(Gap),
    /// [`kind::CLOSE`].
    Close(Close),
    /// [`kind::CURSOR`].
    Cursor(CursorCommit),
    /// [`kind::POSITION`]: an encoded [`SourcePosition`](sdk_flow::SourcePosition).
    Position(Bytes),
    /// [`kind::SOURCE`].
    Source(SourceName),
    /// [`kind::STOP`].
    Stop,
    /// [`kind::LOST`].
    Lost(Loss),
    /// [`kind::CHECKPOINT`].
    Checkpoint(CheckpointPart),
}

/// A body that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It is not of the form its kind has.
    #[error("the record is malformed: {0}")]
    Malformed(&'static str),
    /// A later program wrote it.
    #[error("the record has version {version}, this program reads up to {known}: upgrade it")]
    Newer {
        /// The record's.
        version: u8,
        /// The highest known here.
        known: u8,
    },
    /// A later program wrote it.
    #[error("the record is of kind {0}, which this program does not know: upgrade it")]
    Kind(u8),
}

impl Record {
    /// Reads a record's body. Blocks and other bytes are shared with it.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn decode(record: &LogRecord) -> Result<Record, RecordError> {
        let whole = || record.body.to_bytes();
        Ok(match record.kind {
            kind::PUT => Record::Put(PutRecord::decode(record.body.clone())?),
            kind::REGISTRATION => Record::Registration(Registration::decode(whole())?),
            kind::GAP => Record::Gap(Gap::decode(whole())?),
            kind::CLOSE => Record::Close(Close::decode(whole())?),
            kind::CURSOR => Record::Cursor(CursorCommit::decode(whole())?),
            kind::POSITION => Record::Position(control::decode_position(whole())?),
            kind::SOURCE => Record::Source(SourceName::decode(whole())?),
            kind::STOP => Fields::new(whole()).version(control::VERSION).map(|()| Record::Stop)?,
            kind::LOST => Record::Lost(Loss::decode(whole())?),
            kind::CHECKPOINT => Record::Checkpoint(CheckpointPart::decode(whole())?),
            other => return Err(RecordError::Kind(other)),
        })
    }
}

/// The body of a [`kind::STOP`] record.
pub(crate) fn encode_stop() -> Bytes {
    Bytes::from_static(&[control::VERSION])
}

/// The body of a [`kind::POSITION`] record.
pub(crate) use control::encode_position;
