//! The contract of what receives.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use sdk_event::{Block, Event, ProducerId};
use tokio_util::sync::CancellationToken;

use crate::{BoxError, PutError, Receipt};

/// Receives events and puts them.
///
/// A source may forget an event only after the put that has it returned a
/// receipt. Sources that are asked from outside (gRPC) answer by that receipt;
/// those that fetch (taildir) move on by it.
#[async_trait]
pub trait Source: Send {
    /// Runs until `stop`, or until there is nothing more to come.
    ///
    /// # Errors
    /// When the source cannot go on; the flow decides what that means.
    async fn run(
        self: Box<Self>,
        intake: Arc<dyn Intake>,
        stop: CancellationToken,
    ) -> Result<(), SourceError>;
}

/// Where a source puts: its interceptors and selector, and the channels behind.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Runs the block through the source's interceptors and selector and stores
    /// what is left, together with `position` (an encoded
    /// [`SourcePosition`](crate::SourcePosition)), as one record.
    ///
    /// Blocks of one producer are dense: each begins at the sequence number
    /// behind the one before. After [`PutError::Exhausted`] and
    /// [`PutError::Unknown`] the same block with the same position is put again,
    /// until there is an answer; the answer to a repeat is that of the original.
    ///
    /// # Errors
    /// See [`PutError`].
    async fn put(&self, block: Block, position: Option<Bytes>) -> Result<Receipt, PutError>;

    /// Stores a position alone, when it matters and no events go with it.
    ///
    /// # Errors
    /// See [`PutError`].
    async fn remember(&self, position: Bytes) -> Result<(), PutError>;

    /// Keeps an event that cannot be put, because of what is in it, where the
    /// operator finds it. Durable when it returns; only then the source moves
    /// past the event, so after a crash the same one may come again.
    ///
    /// # Errors
    /// See [`PutError`].
    async fn dead_letter(&self, event: Event, reason: &str) -> Result<(), PutError>;
}

/// Where a source begins: what its flow's log knows about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStart {
    /// The name of the source in its flow.
    pub name: String,
    /// Under whose ids its events go.
    pub producer: ProducerId,
    /// The generation of `producer`.
    pub generation: u64,
    /// The sequence number of the first event that is not stored.
    pub next_sequence: u64,
    /// What its last stored positions say, by key; see
    /// [`SourcePosition::fold`](crate::SourcePosition::fold). `None` when it has
    /// never stored any: this is its first start.
    pub positions: Option<BTreeMap<Bytes, Bytes>>,
}

/// Why a source ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A put was rejected, or the channels have stopped.
    #[error("the flow took no more events")]
    Put(#[source] PutError),
    /// What the source reads from cannot be read.
    #[error("the source failed")]
    Failed(#[source] BoxError),
}
