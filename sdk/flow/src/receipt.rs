//! What a channel answers to a put.

use std::sync::Arc;
use std::time::Duration;

use sdk_event::{Level, Lineage};

use crate::BoxError;

/// Where a put is stored, and what that promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The lineage that has it.
    pub lineage: Lineage,
    /// The offset of its first event.
    pub first_offset: u64,
    /// How many offsets it took.
    pub count: u32,
    /// What holds for the bytes now.
    pub level: Level,
    /// The put was there already: the coordinates are those of the original.
    pub duplicate: bool,
}

/// Why a put has no receipt, split by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// Certainly not stored, nothing is wrong: wait, then put the same again.
    #[error("no room: {reason}")]
    Exhausted {
        /// What is full.
        reason: Exhaustion,
        /// How long to wait before the next try.
        retry_after: Duration,
    },

    /// Certainly not stored, and the same put never will be.
    #[error("rejected: {reason}")]
    Rejected {
        /// Why, and thereby the remedy.
        reason: Rejection,
    },

    /// Perhaps stored: put the same again, under the same ids.
    #[error("it is not known whether the put was stored")]
    Unknown(#[source] BoxError),

    /// Certainly not stored: the channel has stopped and takes no more.
    #[error("the channel has stopped")]
    Stopped,
}

/// What is full.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Exhaustion {
    /// The log's quota or its disk has reached the mark.
    #[error("the disk is above its mark")]
    Disk,
    /// A required channel is at one of its limits.
    #[error("channel {0} is at its limit")]
    Channel(Arc<str>),
    /// Memory for what is in flight.
    #[error("memory for events in flight is used up")]
    Memory,
    /// The table of producers, and none has been idle for long enough.
    #[error("the shard knows as many producers as it may")]
    Producers,
    /// A lineage is being sealed or opened; another takes over shortly.
    #[error("the shard is moving")]
    Moving,
}

/// Why a put can never be stored as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Its first sequence number is above the expected one, or the block
    /// overlaps what is stored.
    #[error("sequence {0} is expected")]
    Expected(u64),
    /// Its generation is below the producer's, which is this.
    #[error("the producer is at generation {0}")]
    Generation(u64),
    /// The producer is unknown, or has not opened a session.
    #[error("the producer is not remembered")]
    Expired,
    /// The same ids with other bytes: a restored machine image or a copied spool.
    #[error("other events are stored under these ids")]
    Conflict,
    /// The original was given up by `lineages abandon`, or can no longer be read.
    #[error("the original is lost")]
    Lost,
    /// An event of the block is beyond a limit, or would be after an interceptor.
    #[error("the block is not acceptable: {0}")]
    Content(Arc<str>),
}
