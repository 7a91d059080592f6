//! One `Append` stream: blocks in, one answer per message out.
//!
//! A task of its own owns the stream. It waits in [`Append::next_event`], which changes nothing,
//! and decides in [`Append::apply`], which never waits for a put. Puts run side by side; their
//! answers go out as they complete.

mod answers;
mod commits;
mod intake;
mod outbox;

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use proto::v1::{AppendRequest, Code};
use sdk_event::{Block, Level, ProducerId};
use sdk_flow::{PutError, Receipt};
use sdk_tls::{Caller, Gate};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::debug;

use crate::connection::Charge;
use crate::limits::{Limits, UNANSWERED_MAX};
use crate::memory::Hold;
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::router::{CommitError, Router, ShardHandle};
use commits::{Commits, Waiting};
pub(crate) use outbox::{Answers, Outbox};

/// What a stream works with.
pub(crate) struct Context {
    pub(crate) router: Arc<dyn Router>,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    pub(crate) gate: Gate,
}

impl Context {
    /// Lets `caller` through to `flow`, or says why not. Without rules everybody passes.
    pub(crate) fn admit(&self, caller: Option<&Caller>, flow: &str) -> Result<(), Refusal> {
        let Some(caller) = caller else { return Ok(()) };
        caller.still()?;
        match self.router.name(flow) {
            Some(name) => Ok(caller.may_send(&name)?),
            None => Err(Refusal::new(Code::Flow, "name a flow: this node has several, or none")),
        }
    }
}

/// The server's side of one stream.
pub(crate) struct Append {
    context: Arc<Context>,
    input: Streaming<AppendRequest>,
    charge: Option<Arc<Charge>>,
    /// Who sends; `None` where nobody is told apart.
    caller: Option<Caller>,
    outbox: Outbox,
    stop: CancellationToken,

    bound: Option<Bound>,
    /// A message was refused: those behind it are too, until the next `bind`.
    failed: Option<Failed>,
    next_number: u64,
    puts: FuturesUnordered<BoxFuture<'static, Finished>>,
    /// Bytes of the blocks in `puts`, as they are in memory.
    in_flight: usize,
    /// A block that waits for room in flight; nothing is read behind it.
    held: Option<Pending>,
    /// The log, or memory, had no room for it at the moment: when to try it again.
    held_until: Option<Instant>,
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

/// A block that is not put yet.
struct Pending {
    number: u64,
    block: Received,
    hold: Option<Hold>,
    /// Since when it could be put.
    since: Instant,
}

/// A block as it came, or once it is checked.
enum Received {
    Bytes(Bytes),
    Block(Block),
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
    /// Given back with this.
    hold: Option<Hold>,
}

enum Event {
    Message(AppendRequest),
    InputEnds(Option<Status>),
    Finished(Finished),
    Committed(Waiting, Result<(), CommitError>),
    AnswerSent,
    /// The block that is held may be put now.
    Again,
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
        caller: Option<Caller>,
        stop: CancellationToken,
    ) -> (Append, Answers) {
        let (outbox, answers) = Outbox::new(context.limits.unread_answers);
        let append = Append {
            context,
            input,
            charge,
            caller,
            outbox,
            stop,
            bound: None,
            failed: None,
            next_number: 0,
            puts: FuturesUnordered::new(),
            in_flight: 0,
            held: None,
            held_until: None,
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
        let (again, again_at) = (self.held_until.is_some(), self.held_until.unwrap_or(idle_at));
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
            () = sleep_until(again_at), if again => Event::Again,
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
            Event::Again => {
                self.held_until = None;
                self.put_held().await;
            }
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
        (self.held, self.held_until) = (None, None);
        self.commits = Commits::default();
    }

    fn is_over(&self) -> bool {
        !self.reading && self.unanswered() == 0
    }

    fn unanswered(&self) -> usize {
        self.puts.len() + self.commits.len() + usize::from(self.held.is_some()) + self.outbox.len()
    }
}
