//! What the ingest face needs from the node behind it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sdk_event::{Block, Level, Lineage, ProducerId};
use sdk_flow::{PutError, Receipt};

/// Finds the shard that takes a producer's events.
///
/// Asked at every `OpenSession`, every `bind` of a stream and every block made of `Send` calls, so
/// it must be cheap; what it returns is used until a put says that it has stopped.
pub trait Router: Send + Sync + 'static {
    /// The shard of the flow called `flow` (empty: the only one) that `producer` belongs to.
    ///
    /// # Errors
    /// See [`RouteError`].
    fn route(&self, flow: &str, producer: ProducerId) -> Result<Arc<dyn ShardHandle>, RouteError>;

    /// The name of the flow that `flow` means, for those who may not send everywhere: a router that
    /// knows which one an empty name stands for says so.
    fn name(&self, flow: &str) -> Option<Arc<str>> {
        Some(flow.into())
    }
}

/// Why a producer cannot be served here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// There is no such flow, or it has no source of type `collector`.
    #[error("{0}")]
    Flow(String),
    /// Another node owns the shard.
    #[error("the shard is at {owner}")]
    Moved {
        /// Its ingest address, as a URL.
        owner: String,
    },
    /// Nobody serves the shard at the moment.
    #[error("{reason}")]
    Unavailable {
        /// In a sentence.
        reason: String,
        /// When to ask again.
        retry_after: Duration,
    },
}

/// One shard's current lineage, with the source's interceptors and selector in front of it.
#[async_trait]
pub trait ShardHandle: Send + Sync + 'static {
    /// The lineage that puts go into.
    fn lineage(&self) -> Lineage;

    /// What the flow gives now; `Committed` is never one of these.
    fn level(&self) -> Level;

    /// Registers the producer if that is due, and says where it stands. Returns when the
    /// registration is in the log.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    async fn open_session(&self, session: OpenSession) -> Result<Session, PutError>;

    /// The producer says that it is done. Forgetting it is up to the shard.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    async fn close_session(&self, producer: ProducerId, generation: u64) -> Result<(), PutError>;

    /// Runs the block through interceptors and selector and stores it. Returns when the promise of
    /// [`Receipt::level`] holds.
    ///
    /// Blocks of one producer are admitted in the order in which the futures are first polled, and
    /// a block that is refused for its sequence is refused by that first poll.
    ///
    /// # Errors
    /// See [`PutError`].
    async fn put(&self, block: Block) -> Result<Receipt, PutError>;

    /// Declares that the sequences of `gap` will never come. Admitted in order, as blocks are.
    ///
    /// # Errors
    /// See [`PutError`].
    async fn gap(&self, gap: Gap) -> Result<(), PutError>;

    /// Waits until every event of `lineage` from offset `from` to before `to`, and all before them, is
    /// in a final file, or dead-lettered, or dropped by a policy, in each required channel. At once
    /// if the lineage is no longer listed.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// When some of the range was given up.
    async fn committed(&self, lineage: Lineage, from: u64, to: u64) -> Result<(), CommitError>;
}

/// What a producer says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSession {
    /// Who.
    pub producer: ProducerId,
    /// In which of its numberings.
    pub generation: u64,
    /// The lowest sequence still to come.
    pub lowest_sequence: u64,
    /// Whether a block with that sequence may have been sent before.
    pub sent: bool,
}

/// Where a producer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The next sequence that is taken.
    pub expected_sequence: u64,
}

/// Sequences that will never come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Whose.
    pub producer: ProducerId,
    /// In which numbering.
    pub generation: u64,
    /// The first of them.
    pub first_sequence: u64,
    /// The one behind the last of them.
    pub next_sequence: u64,
}

/// Why events will not be committed, or not be known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Given up by `lineages abandon`, or quarantined as corrupt.
    #[error("the events were given up")]
    Lost,
    /// The node stops, or no longer follows the lineage: ask again, here or elsewhere.
    #[error("the node no longer follows the lineage")]
    Stopped,
}
