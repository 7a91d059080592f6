//! The ledger of one (sink group, lineage): what keeps files exactly-once across crashes.

mod book;
mod bucket;
pub mod conformance;
mod memory;

use std::collections::BTreeSet;

use async_trait::async_trait;
use sdk_config::ledger::{
    BucketKey, CommitFile, Drops, Grant, Hole, Intent, Refusal, Root, RootClaim, RootId, Span,
};
use sdk_flow::BoxError;

pub use book::Book;
pub use memory::{MemoryLedger, MemoryRoots};

/// Files in one batch of Intents or Commits.
pub const FILES_PER_BATCH_MAX: usize = 256;

/// Bytes at which a batch of Intents or Commits is closed, though it has fewer files.
pub const BATCH_BYTES: usize = 64 << 10;

/// The durable, linearizable memory of one sink group's files in one lineage.
///
/// On a node it is a part of the replicated state, for a memory channel [`MemoryLedger`]. Whatever
/// is behind it passes [`conformance::check`].
///
/// **Tokens.** [`Ledger::acquire`] ends every earlier token: what is proposed under one is refused
/// with [`Refusal::StaleToken`] and changes nothing. Calls under one token are applied in the order
/// in which they were made, each once.
///
/// **Unknown outcomes.** After [`LedgerError::Unavailable`], or when a future was dropped, the call
/// may have been applied or may still be. The holder then does nothing more under its token but
/// acquire a fresh one, whose [`Grant`] says what holds.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// A fresh token, with everything that holders before have left. Calls that were made under an
    /// earlier token and are not yet applied never will be.
    ///
    /// Roots whose claim is not the recorded id come back in [`Grant::refused_roots`]; if that is
    /// all of them, the call is refused with the first reason.
    async fn acquire(&self, roots: &[RootClaim]) -> Result<Grant, LedgerError>;

    /// The id recorded for the root at `path`. May be older than the newest.
    async fn recorded_root(&self, path: &str) -> Result<Option<RootId>, LedgerError>;

    /// Records the id in a root's marker, which is durable there. If one is recorded already it
    /// stays. Answers the one that is recorded now.
    async fn record_root(&self, root: Root) -> Result<RootId, LedgerError>;

    /// Shows roots that could not be shown when the token was granted; one answer for each. An
    /// accepted root may be used under this token.
    async fn show_roots(
        &self,
        token: u64,
        claims: Vec<RootClaim>,
    ) -> Result<Vec<Result<(), Refusal>>, LedgerError>;

    /// The staging directories of these earlier tokens are gone, at these roots. Until a pair has
    /// been reported, Intents below its root are refused.
    async fn fenced(&self, token: u64, cleaned: Vec<(u64, Root)>) -> Result<(), LedgerError>;

    /// Announces renames; one answer for each, in order. An accepted Intent is open until its
    /// Commit. One with the range of an Intent that is open supersedes that: same name, events and
    /// kind, and under the same token the same bytes too.
    async fn intend(
        &self,
        token: u64,
        intents: Vec<Intent>,
    ) -> Result<Vec<Result<(), Refusal>>, LedgerError>;

    /// These files stand under their final names and are durable there; one answer for each. Only
    /// the oldest open Intent of a bucket can be committed, and only with the length and CRC of one
    /// of its attempts.
    async fn commit(
        &self,
        token: u64,
        files: Vec<CommitFile>,
    ) -> Result<Vec<Result<(), Refusal>>, LedgerError>;

    /// Everything below `to` is final, pinned or in a hole. `from` must be the floor.
    async fn raise_floor(&self, token: u64, raise: Raise) -> Result<(), LedgerError>;

    /// Marks a bucket as one to be left alone, for everybody to see. New Intents for it are refused,
    /// superseding ones and Commits are not.
    async fn quarantine(
        &self,
        token: u64,
        bucket: BucketKey,
        reason: String,
    ) -> Result<(), LedgerError>;

    /// The bucket works again. Fine if it was not quarantined.
    async fn release(&self, token: u64, bucket: BucketKey) -> Result<(), LedgerError>;

    /// Lets the floor pass the range of an open Intent, or a range above all that the bucket has
    /// recorded, for which there is no file yet. Such a hole is filled later by Intents inside it,
    /// from its beginning on, before any Intent above it. `continues` joins it to the hole before,
    /// unless something was given up between them.
    async fn add_hole(
        &self,
        token: u64,
        bucket: BucketKey,
        hole: Hole,
        continues: bool,
    ) -> Result<(), LedgerError>;

    /// Gives up an open Intent whose file is not there and cannot be built again, or a hole, because
    /// records in its range are lost. Until the floor has passed it, it is recorded as if it was
    /// committed.
    async fn give_up(&self, token: u64, bucket: BucketKey, span: Span) -> Result<(), LedgerError>;

    /// The epochs of the lineage's shard that are not drained yet. A lower one than the lineage's own
    /// that is not among them never will have a token again. `None`: that is not known here.
    async fn epochs(&self) -> Option<BTreeSet<u64>> {
        None
    }
}

/// How far the floor moves, and what became of the events that are in no file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raise {
    /// The floor so far.
    pub from: u64,
    /// The new one: the beginning of a put, or the end of the last.
    pub to: u64,
    /// Events that the channel has in `[from, to)` as far as the holder can tell: those it has read,
    /// dropped ones included, and the offsets that are lost. How many of those were events of this
    /// channel only the log's running totals can tell.
    pub events: u64,
    /// Dropped by rule, and the offsets that are lost, without those that are counted with a file
    /// given up.
    pub drops: Drops,
}

/// Why the ledger did not answer as asked, split by what the holder does next.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// It was asked, and said no: nothing was changed.
    #[error("the ledger refuses")]
    Refused(#[source] Refusal),

    /// It is not known whether it was done: acquire a fresh token.
    #[error("the ledger cannot be reached")]
    Unavailable(#[source] BoxError),

    /// Stop: the process is stopping.
    #[error("the ledger is closed")]
    Closed,
}

impl From<Refusal> for LedgerError {
    fn from(refusal: Refusal) -> LedgerError {
        LedgerError::Refused(refusal)
    }
}
