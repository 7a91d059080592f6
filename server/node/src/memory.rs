//! Where the groups of a memory channel stand: in memory, like what they deliver.

use crate::lineages::HeldLineage;
use async_trait::async_trait;
use sdk_config::ledger::{
    BucketKey, CommitFile, Grant, Hole, Intent, Refusal, Root, RootClaim, RootId, Span,
};
use sdk_files::ledger::{Ledger, LedgerError, MemoryLedger, Raise};
use sdk_flow::{Cursor, CursorError};
use std::sync::atomic::{AtomicU64, Ordering};

/// A ledger in memory whose floors give the channel its room back.
pub(crate) struct MemoryFloors {
    pub(crate) ledger: MemoryLedger,
    pub(crate) held: HeldLineage,
    pub(crate) channel: u8,
}

impl MemoryFloors {
    fn pass_on(&self) {
        self.held.held.raise_floor(self.channel, self.ledger.first_needed());
    }
}

#[async_trait]
impl Ledger for MemoryFloors {
    async fn acquire(&self, roots: &[RootClaim]) -> Result<Grant, LedgerError> {
        self.ledger.acquire(roots).await
    }

    async fn recorded_root(&self, path: &str) -> Result<Option<RootId>, LedgerError> {
        self.ledger.recorded_root(path).await
    }

    async fn record_root(&self, root: Root) -> Result<RootId, LedgerError> {
        self.ledger.record_root(root).await
    }

    async fn show_roots(
        &self,
        token: u64,
        claims: Vec<RootClaim>,
    ) -> Result<Vec<Result<(), Refusal>>, LedgerError> {
        self.ledger.show_roots(token, claims).await
    }

    async fn fenced(&self, token: u64, cleaned: Vec<(u64, Root)>) -> Result<(), LedgerError> {
        self.ledger.fenced(token, cleaned).await
    }

    async fn intend(
        &self,
        token: u64,
        intents: Vec<Intent>,
    ) -> Result<Vec<Result<(), Refusal>>, LedgerError> {
        self.ledger.intend(token, intents).await
    }

    async fn commit(
        &self,
        token: u64,
        files: Vec<CommitFile>,
    ) -> Result<Vec<Result<(), Refusal>>, LedgerError> {
        let committed = self.ledger.commit(token, files).await;
        self.pass_on();
        committed
    }

    async fn raise_floor(&self, token: u64, raise: Raise) -> Result<(), LedgerError> {
        let raised = self.ledger.raise_floor(token, raise).await;
        self.pass_on();
        raised
    }

    async fn quarantine(
        &self,
        token: u64,
        bucket: BucketKey,
        reason: String,
    ) -> Result<(), LedgerError> {
        self.ledger.quarantine(token, bucket, reason).await
    }

    async fn release(&self, token: u64, bucket: BucketKey) -> Result<(), LedgerError> {
        self.ledger.release(token, bucket).await
    }

    async fn add_hole(
        &self,
        token: u64,
        bucket: BucketKey,
        hole: Hole,
        continues: bool,
    ) -> Result<(), LedgerError> {
        self.ledger.add_hole(token, bucket, hole, continues).await
    }

    async fn give_up(&self, token: u64, bucket: BucketKey, span: Span) -> Result<(), LedgerError> {
        self.ledger.give_up(token, bucket, span).await
    }
}

/// The cursor of a group whose sinks are no files.
pub(crate) struct MemoryCursor {
    held: HeldLineage,
    channel: u8,
    floor: AtomicU64,
}

impl MemoryCursor {
    pub(crate) fn new(held: HeldLineage, channel: u8) -> Self {
        Self { held, channel, floor: AtomicU64::new(0) }
    }
}

#[async_trait]
impl Cursor for MemoryCursor {
    async fn floor(&self) -> Result<u64, CursorError> {
        Ok(self.floor.load(Ordering::Relaxed))
    }

    async fn commit(&self, from: u64, to: u64) -> Result<(), CursorError> {
        let floor = self.floor.load(Ordering::Relaxed);
        if from != floor && to != floor {
            return Err(CursorError::Elsewhere { floor });
        }
        self.floor.store(to, Ordering::Relaxed);
        self.held.held.raise_floor(self.channel, to);
        Ok(())
    }
}
