//! Blocks that are stored and wait to be in final files.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use sdk_flow::Receipt;

use crate::router::{CommitError, ShardHandle};

/// One such block; its bytes are gone from here.
pub(super) struct Waiting {
    pub(super) number: u64,
    pub(super) events: u32,
    pub(super) receipt: Receipt,
    pub(super) shard: Arc<dyn ShardHandle>,
}

/// Those blocks in the order in which they were stored. Files become final in that order, so only
/// the first is asked for.
#[derive(Default)]
pub(super) struct Commits {
    queue: VecDeque<Waiting>,
    first: Option<BoxFuture<'static, Result<(), CommitError>>>,
}

impl Commits {
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn push(&mut self, waiting: Waiting) {
        self.queue.push_back(waiting);
    }

    /// The next block that is committed, or given up. For ever pending when none waits.
    /// Cancel-safe.
    pub(super) async fn next(&mut self) -> (Waiting, Result<(), CommitError>) {
        let Some(waiting) = self.queue.front() else { return pending().await };
        let first = self.first.get_or_insert_with(|| {
            let shard = Arc::clone(&waiting.shard);
            let lineage = waiting.receipt.lineage;
            let from = waiting.receipt.first_offset;
            let to = from + u64::from(waiting.receipt.count);
            async move { shard.committed(lineage, from, to).await }.boxed()
        });
        let result = first.await;
        self.first = None;
        let waiting =
            self.queue.pop_front().expect("the queue had a front, and only this takes it");
        (waiting, result)
    }
}
