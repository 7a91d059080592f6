//! Blocks to a node, in order, with an answer for each: what everything else here is built on.

mod driver;
mod generation;
mod link;
mod options;
mod window;
mod wire;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures::channel::oneshot;
use sdk_event::{Block, EventId, Level, Lineage, ProducerId};
use sdk_flow::Tasks;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

pub use generation::with_generation;
pub use options::{OnExpired, OnRejected, StreamOptions};

use crate::error::{DeliveryError, SendError};
use crate::metrics::{Counters, ProducerMetrics};
use driver::Driver;

/// What a block weighs in the window beside its bytes, so that many small ones do not pass as none.
const BLOCK_OVERHEAD_BYTES: usize = 512;

/// Where a block is stored, and what that promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Where its bytes were when the node answered.
    pub level: Level,
    /// The lineage that has it.
    pub lineage: Lineage,
    /// The offset of its first event.
    pub first_offset: u64,
    /// How many offsets it took.
    pub count: u32,
    /// An earlier attempt had stored it. The offsets are then those that the node remembers.
    pub duplicate: bool,
    /// The id of its first event.
    pub first: EventId,
}

/// What is called with the answer of a block, once.
pub(crate) type Reply = Box<dyn FnOnce(Result<Stored, DeliveryError>) + Send>;

/// What the driver is told. Bounded by the window that each block has a part of.
pub(crate) enum Command {
    Block { block: Block, deadline: Option<Instant>, reply: Reply },
    Gap { first: u64, next: u64 },
    Restart { next: u64 },
    Flush(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

/// A session of one producer with whichever of several nodes takes it.
///
/// Blocks are sent in the order of their sequences, many under way at once, and again with the same
/// ids until there is an answer. After a broken connection the stream finds out what is stored and
/// goes on from there. Nothing is sent twice under different ids.
///
/// Dropping the stream lets what was sent be answered; [`close`](Self::close) also lets the node
/// forget the producer.
#[derive(Clone)]
pub struct BlockStream {
    commands: mpsc::UnboundedSender<Command>,
    window: Arc<Semaphore>,
    window_bytes: usize,
    counters: Arc<Counters>,
    generation: Arc<AtomicU64>,
}

impl BlockStream {
    /// Opens the stream. Connects when there is something to send.
    ///
    /// The work is done by a task among `tasks`; when those are told to stop, what is unanswered
    /// then is answered [`DeliveryError::Closed`].
    #[must_use]
    pub fn open(options: StreamOptions, tasks: &Tasks) -> BlockStream {
        BlockStream::with(options, tasks, Arc::default())
    }

    pub(crate) fn with(
        options: StreamOptions,
        tasks: &Tasks,
        counters: Arc<Counters>,
    ) -> BlockStream {
        let window_bytes = options.window_bytes.clamp(1, u32::MAX as usize);
        let (commands, queue) = mpsc::unbounded_channel();
        let generation = Arc::new(AtomicU64::new(options.generation));
        let driver = Driver::new(options, queue, Arc::clone(&counters), Arc::clone(&generation));
        tasks.start("producer stream", |stop| driver.run(stop));
        let window = Arc::new(Semaphore::new(window_bytes));
        BlockStream { commands, window, window_bytes, counters, generation }
    }

    /// Sends a block, after waiting for room in the window. What is returned is its answer.
    ///
    /// Blocks must be dense: each begins at the sequence where the one before ended, unless a
    /// [`gap`](Self::gap) is declared between. One that does not is answered
    /// [`DeliveryError::Behind`]; that is also how a block learns that one before it was rejected,
    /// with [`OnRejected::Stop`].
    ///
    /// Cancel-safe: a dropped future has sent nothing. Dropping the *answer* cancels nothing.
    ///
    /// # Errors
    /// [`SendError::Closed`].
    pub async fn send(&self, block: Block) -> Result<BlockAnswer, SendError> {
        let weight = self.weight(&block);
        let permit = Arc::clone(&self.window).acquire_many_owned(weight).await;
        self.enqueue(block, permit.map_err(|_| SendError::Closed)?)
    }

    /// Sends a block if there is room in the window now.
    ///
    /// # Errors
    /// [`SendError::Full`] or [`SendError::Closed`].
    pub fn try_send(&self, block: Block) -> Result<BlockAnswer, SendError> {
        let permit = Arc::clone(&self.window).try_acquire_many_owned(self.weight(&block));
        self.enqueue(block, permit.map_err(|_| SendError::Full)?)
    }

    /// Declares that the sequences from `first` to before `next` will never come.
    ///
    /// # Errors
    /// [`SendError::Closed`].
    pub fn gap(&self, first: u64, next: u64) -> Result<(), SendError> {
        self.command(Command::Gap { first, next })
    }

    /// Forgets every block that is not answered (they are answered [`DeliveryError::Unknown`] or
    /// [`DeliveryError::Expired`]) and goes on at `next`, which may be below or above.
    ///
    /// # Errors
    /// [`SendError::Closed`].
    pub fn restart(&self, next: u64) -> Result<(), SendError> {
        self.command(Command::Restart { next })
    }

    /// Waits until every block sent before has been answered, well or not.
    ///
    /// # Errors
    /// [`SendError::Closed`].
    pub async fn flush(&self) -> Result<(), SendError> {
        let (done, wait) = oneshot::channel();
        self.command(Command::Flush(done))?;
        wait.await.map_err(|_| SendError::Closed)
    }

    /// Waits until every block has been answered, then tells the node that the producer is done,
    /// so that it may be forgotten. Nothing can be sent afterwards, under these ids never again.
    ///
    /// # Errors
    /// [`SendError::Closed`] if it was closed before.
    pub async fn close(&self) -> Result<(), SendError> {
        let (done, wait) = oneshot::channel();
        self.command(Command::Close(done))?;
        wait.await.map_err(|_| SendError::Closed)
    }

    /// The generation that blocks are sent in: the one the stream was opened with, until
    /// [`OnExpired::NewGeneration`] takes another. Blocks of an earlier one are sent in it too.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// What has happened so far.
    #[must_use]
    pub fn metrics(&self) -> ProducerMetrics {
        self.counters.snapshot()
    }

    /// Sends without a place in the window, for callers that bound their events themselves.
    pub(crate) fn send_unbounded(
        &self,
        block: Block,
        deadline: Option<Instant>,
        reply: Reply,
    ) -> Result<(), SendError> {
        self.command(Command::Block { block, deadline, reply })
    }

    fn weight(&self, block: &Block) -> u32 {
        let bytes = block.bytes().len() + BLOCK_OVERHEAD_BYTES;
        u32::try_from(bytes.min(self.window_bytes)).expect("the window was clamped to u32")
    }

    fn enqueue(
        &self,
        block: Block,
        permit: OwnedSemaphorePermit,
    ) -> Result<BlockAnswer, SendError> {
        let (sender, receiver) = oneshot::channel();
        let reply: Reply = Box::new(move |answer| {
            drop(permit);
            // Who dropped the answer does not want it.
            let _ = sender.send(answer);
        });
        self.send_unbounded(block, None, reply)?;
        Ok(BlockAnswer { receiver })
    }

    fn command(&self, command: Command) -> Result<(), SendError> {
        self.commands.send(command).map_err(|_| SendError::Closed)
    }
}

/// The answer to a block, when it is there.
#[derive(Debug)]
pub struct BlockAnswer {
    receiver: oneshot::Receiver<Result<Stored, DeliveryError>>,
}

impl Future for BlockAnswer {
    type Output = Result<Stored, DeliveryError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver)
            .poll(cx)
            .map(|answer| answer.unwrap_or(Err(DeliveryError::Closed)))
    }
}

/// Who is at this end: the ids that blocks carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) producer: ProducerId,
    pub(crate) generation: u64,
}
