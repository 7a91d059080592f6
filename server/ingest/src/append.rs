//! One `Append` stream: blocks in, one answer per message out.
//!
//! A task of its own owns the stream. It waits in [`Append::next_event`], which changes nothing,
//! and decides in [`Append::apply`], which never waits for a put. Puts run side by side; their
//! answers go out as they complete.

mod commits;
mod outbox;

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use prost::Message as _;
use proto::v1::append_request::Kind;
use proto::v1::{self, AppendRequest, AppendResponse, Bind, Code, Coordinates};
use sdk_event::{Block, Level, ProducerId};
use sdk_flow::{PutError, Receipt};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::debug;

use crate::connection::Charge;
use crate::levels::agree;
use crate::limits::{Limits, UNANSWERED_MAX};
use crate::memory::Hold;
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::router::{self, CommitError, Router, ShardHandle};
use crate::wire;
use commits::{Commits, Waiting};
pub(crate) use outbox::{Answers, Outbox};

/// A message in gRPC has this before it.
const GRPC_HEADER_BYTES: usize = 5;

/// What a stream works with.
pub(crate) struct Context {
    pub(crate) router: Arc<dyn Router>,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
}

/// The server's side of one stream.
pub(crate) struct Append {
    context: Arc<Context>,
    input: Streaming<AppendRequest>,
    charge: Option<Arc<Charge>>,
    outbox: Outbox,
    stop: CancellationToken,

    bound: Option<Bound>,
    /// A message was refused: those behind it are too, until the next `bind`.
    failed: Option<Failed>,
    next_number: u64,
    puts: FuturesUnordered<BoxFuture<'static, Finished>>,
    /// Bytes of the blocks in `puts`.
    in_flight: usize,
    /// A block that waits for room in flight; nothing is read behind it.
    held: Option<Pending>,
    commits: Commits,
    quiet_since: Instant,
    reading: bool,
    /// What the stream ends with once everything is answered.
    end: Option<Status>,
}

/// What `bind` said.
struct Bound {
    shard: Arc<dyn ShardHandle>,
    producer: ProducerId,
    generation: u64,
    asked: Option<Level>,
}

struct Failed {
    expected: u64,
}

/// A block that is checked and not put yet.
struct Pending {
    number: u64,
    block: Block,
    hold: Option<Hold>,
}

/// How a put or a gap ended.
struct Finished {
    number: u64,
    bytes: usize,
    first_sequence: u64,
    events: u32,
    asked: Option<Level>,
    shard: Arc<dyn ShardHandle>,
    /// `None` for a gap.
    result: Result<Option<Receipt>, PutError>,
}

enum Event {
    Message(AppendRequest),
    InputEnds(Option<Status>),
    Finished(Finished),
    Committed(Waiting, Result<(), CommitError>),
    AnswerSent,
    Idle,
    ReaderStalls,
    ReaderGone,
    Stop,
}

impl Append {
    pub(crate) fn new(
        context: Arc<Context>,
        input: Streaming<AppendRequest>,
        charge: Option<Arc<Charge>>,
        stop: CancellationToken,
    ) -> (Append, Answers) {
        let (outbox, answers) = Outbox::new(context.limits.unread_answers);
        let append = Append {
            context,
            input,
            charge,
            outbox,
            stop,
            bound: None,
            failed: None,
            next_number: 0,
            puts: FuturesUnordered::new(),
            in_flight: 0,
            held: None,
            commits: Commits::default(),
            quiet_since: Instant::now(),
            reading: true,
            end: None,
        };
        (append, answers)
    }

    /// Runs until the stream has ended.
    pub(crate) async fn run(mut self) {
        self.context.metrics.streams.inc();
        while !self.is_over() {
            let event = self.next_event().await;
            self.apply(event).await;
        }
        self.context.metrics.streams.dec();
        if let Some(status) = self.end.take() {
            self.outbox.end(status);
        }
    }

    /// Waits. Changes nothing.
    async fn next_event(&mut self) -> Event {
        let may_read = self.reading
            && self.held.is_none()
            && self.unanswered() < UNANSWERED_MAX
            && self.outbox.has_room();
        let idle = self.reading && self.unanswered() == 0;
        let idle_at = self.quiet_since + self.context.limits.idle_stream;
        let stopping = self.stop.is_cancelled();
        let reader_there = !self.outbox.is_closed();
        tokio::select! {
            biased;
            Some(finished) = self.puts.next() => Event::Finished(finished),
            (waiting, result) = self.commits.next() => Event::Committed(waiting, result),
            sent = self.outbox.next(), if reader_there => match sent {
                outbox::Next::Sent => Event::AnswerSent,
                outbox::Next::Stalled => Event::ReaderStalls,
                outbox::Next::Closed => Event::ReaderGone,
            },
            () = self.stop.cancelled(), if !stopping || idle => Event::Stop,
            message = self.input.message(), if may_read => match message {
                Ok(Some(message)) => Event::Message(message),
                Ok(None) => Event::InputEnds(None),
                Err(status) => Event::InputEnds(Some(status)),
            },
            () = sleep_until(idle_at), if idle => Event::Idle,
        }
    }

    async fn apply(&mut self, event: Event) {
        match event {
            Event::Message(message) => self.message(message).await,
            Event::InputEnds(status) => {
                self.reading = false;
                self.end = status;
            }
            Event::Finished(finished) => {
                self.in_flight -= finished.bytes;
                self.finished(finished);
                self.put_held().await;
            }
            Event::Committed(waiting, result) => self.committed(&waiting, result),
            Event::AnswerSent => {}
            Event::Idle => {
                self.reading = false;
                self.end = Some(Status::deadline_exceeded("the stream was idle"));
            }
            Event::ReaderStalls => {
                debug!("stream ended, its answers are not read");
                self.give_up();
            }
            Event::ReaderGone => self.give_up(),
            // While something is unanswered, what comes is refused, so that the peer learns of it.
            Event::Stop => self.reading = self.unanswered() > 0,
        }
        if self.unanswered() > 0 {
            self.quiet_since = Instant::now();
        }
    }

    /// Nobody listens any more. Puts that were begun go on, so that their memory stays counted
    /// for as long as it is used; the rest is dropped.
    fn give_up(&mut self) {
        self.reading = false;
        self.outbox.close();
        self.held = None;
        self.commits = Commits::default();
    }

    fn is_over(&self) -> bool {
        !self.reading && self.unanswered() == 0
    }

    fn unanswered(&self) -> usize {
        self.puts.len() + self.commits.len() + usize::from(self.held.is_some()) + self.outbox.len()
    }

    async fn message(&mut self, message: AppendRequest) {
        self.quiet_since = Instant::now();
        let number = self.next_number;
        self.next_number += 1;
        let bytes = message.encoded_len() + GRPC_HEADER_BYTES;
        let hold = self.charge.as_ref().map(|charge| charge.split(bytes));
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
        if self.is_behind(number) {
            return;
        }
        match self.check(bytes) {
            Ok(block) => {
                self.held = Some(Pending { number, block, hold });
                self.put_held().await;
            }
            Err((expected, refusal)) => self.fail(number, expected, refusal),
        }
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
        // Asked anew for each block: a replica set may have shrunk since the stream was bound.
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
    async fn put_held(&mut self) {
        let fits = |pending: &mut Pending| {
            let bytes = pending.block.bytes().len();
            self.in_flight == 0 || self.in_flight + bytes <= self.context.limits.in_flight_bytes_max
        };
        let Some(Pending { number, block, hold }) = self.held.take_if(fits) else { return };
        if self.is_behind(number) {
            return;
        }
        let (shard, asked) = match self.bound() {
            Ok(bound) => (Arc::clone(&bound.shard), bound.asked),
            Err((expected, refusal)) => return self.fail(number, expected, refusal),
        };
        let (bytes, header) = (block.bytes().len(), *block.header());
        let put = async move {
            let result = shard.put(block).await.map(Some);
            drop(hold);
            Finished {
                number,
                bytes,
                first_sequence: header.first_sequence,
                events: header.count,
                asked,
                shard,
                result,
            }
        };
        self.start(put.boxed(), bytes).await;
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
            Finished { number, bytes: 0, first_sequence, events: 0, asked, shard, result }
        };
        self.start(declare.boxed(), 0).await;
    }

    /// Polls the put once, here and now: that is what admits it, in its turn.
    async fn start(&mut self, mut put: BoxFuture<'static, Finished>, bytes: usize) {
        match futures::poll!(&mut put) {
            std::task::Poll::Ready(finished) => self.finished(finished),
            std::task::Poll::Pending => {
                self.in_flight += bytes;
                self.puts.push(put);
            }
        }
    }

    fn finished(&mut self, finished: Finished) {
        let Finished { number, first_sequence, events, asked, shard, result, .. } = finished;
        match result {
            Ok(None) => {
                let level = wire::from_level(shard.level()).into();
                self.outbox.push(AppendResponse {
                    number,
                    code: Code::Ok.into(),
                    level,
                    ..AppendResponse::default()
                });
            }
            Ok(Some(receipt)) if asked == Some(Level::Committed) => {
                self.commits.push(Waiting { number, events, receipt, shard });
            }
            // The set shrank while the block was on its way. It is stored, not as was asked.
            Ok(Some(receipt)) if asked.is_some_and(|asked| receipt.level < asked) => {
                let reason =
                    format!("stored at level {}, which is below the one asked for", receipt.level);
                self.fail(number, first_sequence, Refusal::new(Code::Unknown, reason));
            }
            Ok(Some(receipt)) => {
                let level = receipt.level;
                self.acknowledge(number, events, &receipt, level);
            }
            Err(error) => {
                let mut refusal = Refusal::from(error);
                let expected = refusal.expected.unwrap_or(first_sequence);
                // It was under way already when the one before it was refused.
                if refusal.code == Code::Sequence && self.failed.is_some() {
                    refusal.code = Code::BehindRejected;
                }
                self.fail(number, expected, refusal);
            }
        }
    }

    fn committed(&mut self, waiting: &Waiting, result: Result<(), CommitError>) {
        let Waiting { number, events, receipt, .. } = waiting;
        match result {
            Ok(()) => self.acknowledge(*number, *events, receipt, Level::Committed),
            // It is stored: those behind it are not touched.
            Err(error) => self.refuse(*number, error.into()),
        }
    }

    fn acknowledge(&mut self, number: u64, events: u32, receipt: &Receipt, level: Level) {
        self.context.metrics.events_acknowledged.inc_by(events.into());
        if receipt.duplicate {
            self.context.metrics.duplicate_blocks.inc();
        }
        self.outbox.push(AppendResponse {
            number,
            code: Code::Ok.into(),
            level: wire::from_level(level).into(),
            coordinates: Some(wire::coordinates(receipt)),
            duplicate: receipt.duplicate,
            ..AppendResponse::default()
        });
    }

    /// Refuses a message and with it those behind, up to the next `bind`.
    fn fail(&mut self, number: u64, expected: u64, refusal: Refusal) {
        self.failed.get_or_insert(Failed { expected });
        self.refuse(number, refusal);
    }

    fn refuse(&mut self, number: u64, refusal: Refusal) {
        self.context.metrics.refuse(refusal.code);
        self.outbox.push(refusal.into_answer(number));
    }
}
