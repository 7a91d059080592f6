//! The calls of one flow, in the order in which they came.

use std::sync::Arc;

use proto::v1::Code;
use sdk_event::{Block, BlockBuilder, ProducerId};
use sdk_flow::{Entropy, Exhaustion, PutError, Receipt, Rejection};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::encode::encode;
use super::{Call, Stored, fresh_producer};
use crate::levels::agree;
use crate::limits::{SEND_BLOCK_BYTES_TARGET, SEND_BLOCK_EVENTS_MAX};
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::router::{OpenSession, Router, ShardHandle};

/// Attempts to put one block, each after the lane has found out where it stands.
const ATTEMPTS_MAX: usize = 8;

/// Ids in a lane are never used again, so one numbering is enough.
const GENERATION: u64 = 1;

/// Builds one block at a time of all calls that wait.
///
/// While a block is being stored, the calls for the next one gather: the busier, the larger the
/// blocks, and a lone call waits for nobody.
pub(super) struct Lane {
    flow: String,
    router: Arc<dyn Router>,
    entropy: Arc<dyn Entropy>,
    metrics: Metrics,
    producer: ProducerId,
    next_sequence: u64,
    /// Registered where the next block goes.
    registered: bool,
    builder: BlockBuilder,
}

impl Lane {
    pub(super) fn new(
        flow: &str,
        producer: ProducerId,
        router: Arc<dyn Router>,
        entropy: Arc<dyn Entropy>,
        metrics: Metrics,
    ) -> Lane {
        Lane {
            flow: flow.to_owned(),
            router,
            entropy,
            metrics,
            producer,
            next_sequence: 0,
            registered: false,
            builder: BlockBuilder::new(producer, GENERATION, 0),
        }
    }

    /// Runs until `stop`, then refuses what waits.
    pub(super) async fn run(mut self, mut calls: mpsc::Receiver<Call>, stop: CancellationToken) {
        let mut batch = Vec::new();
        let mut next = None;
        while let Some(Some(first)) = match next.take() {
            Some(call) => Some(Some(call)),
            None => stop.run_until_cancelled(calls.recv()).await,
        } {
            next = gather(first, &mut calls, &mut batch);
            self.store(&mut batch).await;
        }
        calls.close();
        while let Some(call) = calls.recv().await {
            let _ = call.reply.send(Err(Refusal::unavailable("the node is stopping")));
        }
    }

    /// Stores the calls of `batch` and answers them.
    async fn store(&mut self, batch: &mut Vec<Call>) {
        // Who has given up does not want its events stored any more.
        batch.retain(|call| !call.reply.is_closed());
        while !batch.is_empty() {
            match self.store_some(batch).await {
                Ok(Some((count, stored))) => answer(batch.drain(..count), &stored),
                Ok(None) => {}
                Err(refusal) => {
                    for call in batch.drain(..) {
                        let _ = call.reply.send(Err(refusal.clone()));
                    }
                }
            }
        }
    }

    /// Stores the first calls, as many as fit in a block. `None`: calls were refused for what they
    /// are, look again at those that are left.
    async fn store_some(
        &mut self,
        batch: &mut Vec<Call>,
    ) -> Result<Option<(usize, Stored)>, Refusal> {
        let mut refusal = Refusal::unavailable("the shard is moving");
        for _ in 0..ATTEMPTS_MAX {
            let shard = self.router.route(&self.flow, self.producer)?;
            refuse_levels(batch, shard.as_ref());
            self.register(shard.as_ref()).await?;
            let Some((block, count)) = self.encode(batch) else { return Ok(None) };
            let events = block.header().count;
            self.metrics.send_blocks.inc();
            match shard.put(block).await {
                Ok(receipt) => {
                    let stored = self.stored(shard, &receipt);
                    self.next_sequence += u64::from(events);
                    return Ok(Some((count, stored)));
                }
                // The log's queue is full, for milliseconds: the calls can wait as well here.
                Err(PutError::Exhausted { reason: Exhaustion::Memory, retry_after }) => {
                    refusal = Refusal::new(Code::ResourceExhausted, "the log is behind");
                    tokio::time::sleep(retry_after).await;
                }
                Err(error) => refusal = self.recover(error)?,
            }
        }
        Err(refusal)
    }

    async fn register(&mut self, shard: &dyn ShardHandle) -> Result<(), Refusal> {
        if self.registered {
            return Ok(());
        }
        let session = OpenSession {
            producer: self.producer,
            generation: GENERATION,
            lowest_sequence: self.next_sequence,
            sent: self.next_sequence > 0,
        };
        match shard.open_session(session).await {
            Ok(session) => {
                self.next_sequence = session.expected_sequence;
                self.registered = true;
                Ok(())
            }
            Err(error) => self.recover(error).and_then(Err),
        }
    }

    /// The first calls as a block. `None` if one of them had to be refused instead.
    fn encode(&mut self, batch: &mut Vec<Call>) -> Option<(Block, usize)> {
        if batch.is_empty() {
            return None;
        }
        let (producer, first_sequence) = (self.producer, self.next_sequence);
        let reset =
            |builder: &mut BlockBuilder| builder.reset(producer, GENERATION, first_sequence);
        match encode(&mut self.builder, reset, batch) {
            Ok(encoded) => Some(encoded),
            Err(error) => {
                let refusal = Refusal::invalid(format!("the events fit in no block: {error}"));
                let _ = batch.remove(0).reply.send(Err(refusal));
                None
            }
        }
    }

    fn stored(&self, shard: Arc<dyn ShardHandle>, receipt: &Receipt) -> Stored {
        Stored {
            shard,
            lineage: receipt.lineage,
            level: receipt.level,
            producer: self.producer,
            generation: GENERATION,
            first_sequence: self.next_sequence,
            first_offset: receipt.first_offset,
            count: receipt.count,
        }
    }

    /// Puts the lane in order after an error. `Ok` if another attempt may succeed, with what to say
    /// if there is none.
    fn recover(&mut self, error: PutError) -> Result<Refusal, Refusal> {
        match &error {
            PutError::Rejected { reason: Rejection::Expected(expected) } => {
                self.next_sequence = *expected;
                Ok(Refusal::unavailable("the shard is moving"))
            }
            PutError::Rejected { reason: Rejection::Expired | Rejection::Generation(_) } => {
                info!(flow = self.flow, "the lane's producer was forgotten, it takes a new id");
                self.renew();
                Ok(Refusal::unavailable("the shard is moving"))
            }
            // The shard has stopped; the router may know where it is now.
            PutError::Stopped => {
                self.registered = false;
                Ok(error.into())
            }
            PutError::Unknown(_) | PutError::Rejected { reason: Rejection::Conflict } => {
                warn!(flow = self.flow, %error, "a block of the lane has no known outcome, it takes a new id");
                self.renew();
                Err(Refusal { code: Code::Unknown, ..error.into() })
            }
            PutError::Exhausted { .. } | PutError::Rejected { .. } => Err(error.into()),
        }
    }

    fn renew(&mut self) {
        self.producer = fresh_producer(self.entropy.as_ref());
        self.next_sequence = 0;
        self.registered = false;
    }
}

/// Moves `first` and what waits behind it into `batch`, up to a block; returns the call for which
/// there was no room.
fn gather(first: Call, calls: &mut mpsc::Receiver<Call>, batch: &mut Vec<Call>) -> Option<Call> {
    let (mut bytes, mut events) = (first.bytes, first.events.len());
    batch.push(first);
    while let Ok(call) = calls.try_recv() {
        bytes += call.bytes;
        events += call.events.len();
        if bytes > SEND_BLOCK_BYTES_TARGET || events > SEND_BLOCK_EVENTS_MAX {
            return Some(call);
        }
        batch.push(call);
    }
    None
}

/// Answers the calls that ask for more than the flow gives.
fn refuse_levels(batch: &mut Vec<Call>, shard: &dyn ShardHandle) {
    let own = shard.level();
    for call in batch.extract_if(.., |call| agree(call.asked, own).is_err()) {
        if let Err(reason) = agree(call.asked, own) {
            let _ = call.reply.send(Err(Refusal::new(Code::Level, reason)));
        }
    }
}

/// Tells each call where its part of the block is.
fn answer(calls: impl Iterator<Item = Call>, block: &Stored) {
    let mut before = 0;
    for call in calls {
        let count =
            u32::try_from(call.events.len()).expect("a block has fewer events than u32::MAX");
        let stored = Stored {
            shard: Arc::clone(&block.shard),
            first_sequence: block.first_sequence + u64::from(before),
            first_offset: block.first_offset + u64::from(before),
            count,
            ..*block
        };
        before += count;
        let _ = call.reply.send(Ok(stored));
    }
}
