//! From a message to a put.

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use proto::v1::append_request::Kind;
use proto::v1::{self, AppendRequest, AppendResponse, Bind, Code, Coordinates};
use sdk_event::{Block, BlockHeader, Codec, Level};
use sdk_flow::{Exhaustion, PutError};
use sdk_tls::Caller;
use tokio::time::Instant;

use super::{Append, Bound, Finished, Pending, Received};
use crate::levels::agree;
use crate::limits::UNPACK_RETRY;
use crate::memory::Hold;
use crate::refusal::Refusal;
use crate::{router, wire};

impl Append {
    pub(super) async fn message(&mut self, message: AppendRequest) {
        self.quiet_since = Instant::now();
        let number = self.next_number;
        self.next_number += 1;
        let hold = self.charge.as_ref().map(|charge| charge.split());
        if self.stop.is_cancelled() {
            let expected = self.failed.as_ref().map_or(0, |failed| failed.expected);
            return self.fail(number, expected, Refusal::unavailable("the node is stopping"));
        }
        match message.kind {
            Some(Kind::Bind(bind)) => self.bind(number, bind),
            Some(Kind::Block(bytes)) => self.block(number, bytes, hold).await,
            Some(Kind::Gap(gap)) => self.gap(number, gap).await,
            None => self.fail(number, 0, Refusal::invalid("the message has no kind")),
        }
    }

    fn bind(&mut self, number: u64, bind: Bind) {
        match self.try_bind(bind) {
            Ok((bound, level)) => {
                let lineage = bound.shard.lineage();
                let coordinates = Coordinates {
                    flow: lineage.flow,
                    shard: lineage.shard,
                    epoch: lineage.epoch,
                    ..Coordinates::default()
                };
                self.bound = Some(bound);
                self.failed = None;
                self.outbox.push(AppendResponse {
                    number,
                    code: Code::Ok.into(),
                    level: wire::from_level(level).into(),
                    coordinates: Some(coordinates),
                    ..AppendResponse::default()
                });
            }
            Err(refusal) => {
                self.bound = None;
                self.fail(number, 0, refusal);
            }
        }
    }

    fn try_bind(&self, bind: Bind) -> Result<(Bound, Level), Refusal> {
        let producer = wire::producer(&bind.producer)?;
        let asked = wire::to_level(bind.ack)?;
        self.context.admit(self.caller.as_ref(), &bind.flow)?;
        let shard = self.context.router.route(&bind.flow, producer)?;
        if bind.epoch_seen > shard.lineage().epoch {
            return Err(Refusal::unavailable("this node does not know the shard's epoch yet"));
        }
        let level =
            agree(asked, shard.level()).map_err(|reason| Refusal::new(Code::Level, reason))?;
        Ok((Bound { shard, producer, generation: bind.generation, asked }, level))
    }

    async fn block(&mut self, number: u64, bytes: Bytes, hold: Option<Hold>) {
        self.context.metrics.blocks.inc();
        self.context.metrics.block_bytes.inc_by(bytes.len() as u64);
        let block = Received::Bytes(bytes);
        self.held = Some(Pending { number, block, hold, since: Instant::now() });
        self.put_held().await;
    }

    /// Answers a message behind a refused one; false if there is none.
    fn is_behind(&mut self, number: u64) -> bool {
        let Some(failed) = &self.failed else { return false };
        let refusal = Refusal::new(Code::BehindRejected, "a message before it was refused");
        let refusal = refusal.expecting(failed.expected);
        self.refuse(number, refusal);
        true
    }

    fn check(&self, bytes: Bytes) -> Result<Block, (u64, Refusal)> {
        let bound = self.bound()?;
        let block = Block::decode(bytes)
            .map_err(|error| (0, Refusal::invalid(format!("not a valid block: {error}"))))?;
        let header = block.header();
        let first = header.first_sequence;
        if header.producer != bound.producer || header.generation != bound.generation {
            return Err((
                first,
                Refusal::invalid("the block is not of the producer that the stream is bound to"),
            ));
        }
        // Asked anew for each block: a token may have been taken back since the stream was bound.
        if let Some(Err(denied)) = self.caller.as_ref().map(Caller::still) {
            return Err((first, denied.into()));
        }
        // As this: a replica set may have shrunk.
        match agree(bound.asked, bound.shard.level()) {
            Ok(_) => Ok(block),
            Err(reason) => Err((first, Refusal::new(Code::Level, reason))),
        }
    }

    fn bound(&self) -> Result<&Bound, (u64, Refusal)> {
        self.bound
            .as_ref()
            .ok_or_else(|| (0, Refusal::invalid("the stream is not bound: send bind first")))
    }

    /// Puts the block that waits, if there is room in flight for it.
    pub(super) async fn put_held(&mut self) {
        if self.held_until.is_some() && self.failed.is_none() {
            return;
        }
        let Some(pending) = self.held.take() else { return };
        self.held_until = None;
        if self.is_behind(pending.number) {
            return;
        }
        let (bytes, unpacks) = pending.block.memory_bytes();
        let fits = self.in_flight + bytes <= self.context.limits.in_flight_bytes_max;
        if self.in_flight > 0 && !fits {
            // Tried again when one of those is stored.
            self.held = Some(pending);
            return;
        }
        if unpacks && self.charge.as_ref().is_some_and(|charge| !charge.may_unpack()) {
            self.held = Some(pending);
            self.held_until = Some(Instant::now() + UNPACK_RETRY);
            return;
        }
        let Pending { number, block, mut hold, since } = pending;
        let checked = match block {
            Received::Bytes(bytes) => self.check(bytes),
            Received::Block(block) => Ok(block),
        };
        let bound = checked.and_then(|block| Ok((block, self.bound()?)));
        let (block, shard, asked) = match bound {
            Ok((block, bound)) => (block, Arc::clone(&bound.shard), bound.asked),
            Err((expected, refusal)) => return self.fail(number, expected, refusal),
        };
        let (bytes, header) = (block.memory_bytes(), *block.header());
        if let Some(hold) = &mut hold {
            hold.grow(bytes);
        }
        let again = block.clone();
        let put = async move {
            let result = shard.put(block).await.map(Some);
            Finished {
                number,
                bytes,
                first_sequence: header.first_sequence,
                events: header.count,
                asked,
                shard,
                result,
                hold,
            }
        };
        let Some(mut finished) = self.start(put.boxed(), bytes).await else { return };
        match finished.result {
            // The log's queue is full. It empties in milliseconds: waiting is cheaper for all than
            // having the block, and those behind it, sent again.
            Err(PutError::Exhausted { reason: Exhaustion::Memory, retry_after })
                if since.elapsed() < self.context.limits.log_patience =>
            {
                let hold = finished.hold.take();
                let block = Received::Block(again);
                self.held = Some(Pending { number, block, hold, since });
                self.held_until = Some(Instant::now() + retry_after);
            }
            _ => self.finished(finished),
        }
    }

    async fn gap(&mut self, number: u64, gap: v1::Gap) {
        if self.is_behind(number) {
            return;
        }
        let (first_sequence, next_sequence) = (gap.first_sequence, gap.next_sequence);
        if first_sequence >= next_sequence {
            return self.fail(number, first_sequence, Refusal::invalid("the gap is empty"));
        }
        let (shard, gap, asked) = match self.bound() {
            Ok(Bound { shard, producer, generation, asked }) => {
                let gap = router::Gap {
                    producer: *producer,
                    generation: *generation,
                    first_sequence,
                    next_sequence,
                };
                (Arc::clone(shard), gap, *asked)
            }
            Err((expected, refusal)) => return self.fail(number, expected, refusal),
        };
        let declare = async move {
            let result = shard.gap(gap).await.map(|()| None);
            let (bytes, events) = (0, 0);
            Finished { number, bytes, first_sequence, events, asked, shard, result, hold: None }
        };
        if let Some(finished) = self.start(declare.boxed(), 0).await {
            self.finished(finished);
        }
    }

    /// Polls the put once, here and now: that is what admits it, in its turn. Returns how it ended,
    /// if it did at once.
    async fn start(
        &mut self,
        mut put: BoxFuture<'static, Finished>,
        bytes: usize,
    ) -> Option<Finished> {
        match futures::poll!(&mut put) {
            Poll::Ready(finished) => Some(finished),
            Poll::Pending => {
                self.in_flight += bytes;
                self.puts.push(put);
                None
            }
        }
    }
}

impl Received {
    /// What the block takes in memory once it is checked, and whether it has to be decompressed for
    /// that. One that is not valid is refused at once.
    fn memory_bytes(&self) -> (usize, bool) {
        match self {
            Received::Block(block) => (block.memory_bytes(), false),
            Received::Bytes(bytes) => match BlockHeader::decode(bytes) {
                Ok(BlockHeader { codec: Codec::None, .. }) => (bytes.len(), false),
                Ok(header) => (bytes.len() + header.raw_bytes as usize, true),
                Err(_) => (0, false),
            },
        }
    }
}
