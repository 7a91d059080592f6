//! The contract [`sdk_flow::Channel`], by way of a shard.

use std::sync::Arc;

use async_trait::async_trait;
use sdk_event::{Level, Lineage};
use sdk_flow::{Channel, ChannelReader, Clock, Put, PutError, ReadError, Receipt};

use crate::capacity::Capacity;
use crate::sealed::SealedLineage;
use crate::shard::{ChannelKind, ChannelOptions, Remembered, Shard, ShardError, ShardOptions};

/// A channel in the log: the view of a shard's lineages that one number has.
///
/// A put through it is a put into the shard, whatever channels it names.
#[derive(Clone)]
pub struct DurableChannel {
    number: u8,
    shard: Arc<Shard>,
    sealed: Vec<(u8, Arc<SealedLineage>)>,
}

impl DurableChannel {
    /// Channel `number` of a shard.
    #[must_use]
    pub fn new(shard: Arc<Shard>, number: u8) -> DurableChannel {
        DurableChannel { number, shard, sealed: Vec::new() }
    }

    /// With an earlier lineage, in which the channel has `number`.
    #[must_use]
    pub fn with_sealed(mut self, number: u8, lineage: Arc<SealedLineage>) -> DurableChannel {
        self.sealed.push((number, lineage));
        self
    }

    /// Its shard.
    #[must_use]
    pub fn shard(&self) -> &Arc<Shard> {
        &self.shard
    }
}

#[async_trait]
impl Channel for DurableChannel {
    async fn put(&self, put: Put) -> Result<Receipt, PutError> {
        self.shard.put(put).await
    }

    fn reader(&self, lineage: Lineage, from: u64) -> Result<Box<dyn ChannelReader>, ReadError> {
        if lineage == self.shard.lineage() {
            return self.shard.reader(self.number, from);
        }
        match self.sealed.iter().find(|(_, sealed)| sealed.lineage() == lineage) {
            Some((number, sealed)) => sealed.reader(*number, from),
            None => Err(unknown_lineage(lineage)),
        }
    }
}

/// A channel in memory, alone: what is in it dies with the process.
///
/// It has one lineage and knows its producers like any other, so that a repeat
/// is told from a new block.
#[derive(Clone)]
pub struct MemoryChannel {
    shard: Arc<Shard>,
}

impl MemoryChannel {
    /// Its number in puts.
    pub const NUMBER: u8 = 0;

    /// A channel of `lineage` with room as `capacity` says.
    ///
    /// # Errors
    /// None that can occur without a log.
    pub async fn open(
        lineage: Lineage,
        capacity: Arc<Capacity>,
        clock: Arc<dyn Clock>,
    ) -> Result<MemoryChannel, ShardError> {
        let channel = ChannelOptions { number: Self::NUMBER, kind: ChannelKind::Memory, capacity };
        let options = ShardOptions {
            channels: vec![channel],
            ..ShardOptions::new(lineage, Level::Received, None, clock)
        };
        let shard = Shard::open(options, Remembered::nothing(lineage, None)).await?;
        Ok(MemoryChannel { shard: Arc::new(shard) })
    }

    /// Its shard: sessions, floors, the seal.
    #[must_use]
    pub fn shard(&self) -> &Arc<Shard> {
        &self.shard
    }
}

#[async_trait]
impl Channel for MemoryChannel {
    async fn put(&self, put: Put) -> Result<Receipt, PutError> {
        self.shard.put(put).await
    }

    fn reader(&self, lineage: Lineage, from: u64) -> Result<Box<dyn ChannelReader>, ReadError> {
        match lineage == self.shard.lineage() {
            true => self.shard.reader(Self::NUMBER, from),
            false => Err(unknown_lineage(lineage)),
        }
    }
}

pub(crate) fn unknown_lineage(lineage: Lineage) -> ReadError {
    ReadError::Storage(format!("lineage {lineage} is not here").into())
}
