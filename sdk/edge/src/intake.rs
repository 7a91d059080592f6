//! What a source puts into: its interceptors, its selector, the flow's spool.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use sdk_channel::Shard;
use sdk_event::{Block, Event, ProducerId};
use sdk_flow::{ChannelProcessor, Intake, Put, PutError, Receipt};
use smallvec::SmallVec;

use crate::dead_letters::DeadLetterBox;
use crate::watch::SourceWatch;

/// The intake of one source. The put record carries the source's position, so
/// that events and position are stored together or not at all.
pub(crate) struct SourceIntake {
    pub(crate) producer: ProducerId,
    pub(crate) generation: u64,
    pub(crate) processor: Arc<ChannelProcessor>,
    pub(crate) shard: Arc<Shard>,
    pub(crate) letters: Arc<DeadLetterBox>,
    pub(crate) watch: Arc<SourceWatch>,
}

#[async_trait]
impl Intake for SourceIntake {
    async fn put(&self, block: Block, position: Option<Bytes>) -> Result<Receipt, PutError> {
        let put = self.processor.process(block, position);
        let put = put.map_err(|reason| PutError::Rejected { reason })?;
        let (count, kept) = (put.count, kept(&put));
        let receipt = self.shard.put(put).await.inspect_err(|error| self.watch.refused(error))?;
        self.watch.stored(kept, count.saturating_sub(kept));
        Ok(receipt)
    }

    async fn remember(&self, position: Bytes) -> Result<(), PutError> {
        let put = Put {
            producer: self.producer,
            generation: self.generation,
            first_sequence: 0,
            count: 0,
            block_crc: 0,
            parts: SmallVec::new(),
            dropped: Vec::new(),
            source_position: Some(position),
        };
        self.shard.put(put).await.inspect_err(|error| self.watch.refused(error))?;
        Ok(())
    }

    async fn dead_letter(&self, event: Event, reason: &str) -> Result<(), PutError> {
        let (flow, source) = (self.watch.flow(), self.watch.name());
        let kept = self.letters.keep_event(flow, source, &event, reason).await;
        kept.inspect_err(|error| self.watch.refused(error))?;
        self.watch.dead_letter();
        Ok(())
    }
}

/// Events of the put that go into some channel.
fn kept(put: &Put) -> u32 {
    // A selector sends an event to one set of channels, so parts are disjoint.
    put.parts.iter().map(|part| part.block.header().count).sum()
}
