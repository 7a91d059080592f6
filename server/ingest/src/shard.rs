//! The real thing behind a [`ShardHandle`]: a source's interceptors and selector, and a shard.

use std::sync::Arc;

use async_trait::async_trait;
use sdk_channel::Shard;
use sdk_event::{Block, Level, Lineage, ProducerId};
use sdk_flow::{ChannelProcessor, PutError, Receipt};

use crate::router::{CommitError, Gap, OpenSession, Session, ShardHandle};

/// Says when events are in final files.
#[async_trait]
pub trait Committed: Send + Sync + 'static {
    /// Waits until everything of `lineage` below offset `to` is final in each required channel.
    /// See [`ShardHandle::committed`].
    ///
    /// # Errors
    /// When some of it from offset `from` on was given up.
    async fn committed(&self, lineage: Lineage, from: u64, to: u64) -> Result<(), CommitError>;
}

/// One source's way into one shard.
#[derive(Clone)]
pub struct SourceShard {
    shard: Arc<Shard>,
    processor: Arc<ChannelProcessor>,
    committed: Arc<dyn Committed>,
}

impl SourceShard {
    /// Puts what passes `processor` into `shard`.
    #[must_use]
    pub fn new(
        shard: Arc<Shard>,
        processor: Arc<ChannelProcessor>,
        committed: Arc<dyn Committed>,
    ) -> SourceShard {
        SourceShard { shard, processor, committed }
    }
}

#[async_trait]
impl ShardHandle for SourceShard {
    fn lineage(&self) -> Lineage {
        self.shard.lineage()
    }

    fn level(&self) -> Level {
        self.shard.level()
    }

    async fn open_session(&self, session: OpenSession) -> Result<Session, PutError> {
        let OpenSession { producer, generation, lowest_sequence: lowest, sent } = session;
        let open = sdk_channel::OpenSession { producer, generation, lowest, sent };
        let answer = self.shard.open_session(open).await?;
        Ok(Session { expected_sequence: answer.next })
    }

    async fn close_session(&self, producer: ProducerId, generation: u64) -> Result<(), PutError> {
        self.shard.close_session(producer, generation).await
    }

    async fn put(&self, block: Block) -> Result<Receipt, PutError> {
        let header = *block.header();
        let process = self.processor.process(block, None);
        let put = process.map_err(|reason| PutError::Rejected { reason })?;
        if !header.thinned() {
            return self.shard.put(put).await;
        }
        // The numbering goes on behind the last event that was left in. Both are admitted by the
        // first poll, one after the other, so that no other block of the producer comes between.
        let gap = sdk_channel::record::Gap {
            producer: header.producer,
            generation: header.generation,
            from: header.first_sequence + u64::from(header.count),
            to: header.end_sequence(),
        };
        let (receipt, gap) = futures::join!(self.shard.put(put), self.shard.gap(gap));
        match (receipt, gap) {
            // The next block is refused with the sequence that is expected, and its producer
            // declares the gap.
            (Ok(receipt), Ok(()) | Err(PutError::Exhausted { .. } | PutError::Rejected { .. })) => {
                Ok(receipt)
            }
            (Ok(_), Err(error)) | (Err(error), _) => Err(error),
        }
    }

    async fn gap(&self, gap: Gap) -> Result<(), PutError> {
        let Gap { producer, generation, first_sequence: from, next_sequence: to } = gap;
        self.shard.gap(sdk_channel::record::Gap { producer, generation, from, to }).await
    }

    async fn committed(&self, lineage: Lineage, from: u64, to: u64) -> Result<(), CommitError> {
        self.committed.committed(lineage, from, to).await
    }
}
