//! Events from an asynchronous program.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sdk_event::{BlockBuilder, Event, Headers, PushError};
use sdk_flow::Tasks;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::batch::{Batch, Sealed};
use super::builder::{OnFull, ProducerBuilder};
use super::delivery::Delivery;
use crate::error::SendError;
use crate::metrics::{Counters, ProducerMetrics, add};
use crate::stream::BlockStream;

/// What an event weighs in the window beside its text.
const EVENT_OVERHEAD_BYTES: usize = 64;

/// How long tasks may take once everything is answered.
const TASKS_GRACE: Duration = Duration::from_secs(5);

/// Sends events and says what became of each.
///
/// Cheap to clone; all clones are one producer, and its events are stored in the order of the
/// calls. When the last clone is dropped, what was sent is still delivered, in the background, as
/// long as the runtime lives: [`close`](Self::close) waits for that.
#[derive(Clone)]
pub struct Producer {
    inner: Arc<Inner>,
}

struct Inner {
    /// `None` once closed.
    batch: Mutex<Option<Batch>>,
    /// The batch has got its first event.
    begun: Arc<Notify>,
    stream: BlockStream,
    window: Arc<Semaphore>,
    window_bytes: usize,
    batch_bytes: usize,
    deadline: Duration,
    on_full: OnFull,
    counters: Arc<Counters>,
    /// Events that were not acknowledged since the last flush.
    failed: Arc<AtomicU64>,
    tasks: Tasks,
}

/// Not everything was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlushError {
    /// So many events since the flush before were not; their deliveries say why.
    #[error("{events} events were not acknowledged")]
    Unacknowledged {
        /// How many.
        events: u64,
    },
    /// The producer is closed.
    #[error("the producer is closed")]
    Closed,
}

impl Producer {
    /// A producer with its defaults, to be changed before it starts.
    #[must_use]
    pub fn builder() -> ProducerBuilder {
        ProducerBuilder::default()
    }

    pub(super) fn new(
        options: ProducerBuilder,
        builder: BlockBuilder,
        headers: Headers,
    ) -> Producer {
        let tasks = Tasks::new();
        let counters = Arc::new(Counters::default());
        let window_bytes = options.stream.window_bytes;
        let begun = Arc::new(Notify::new());
        let batch = Batch::new(builder, headers, options.stream.generation, options.codec);
        let inner = Arc::new(Inner {
            batch: Mutex::new(Some(batch)),
            begun: Arc::clone(&begun),
            stream: BlockStream::with(options.stream, &tasks, Arc::clone(&counters)),
            window: Arc::new(Semaphore::new(window_bytes)),
            window_bytes,
            batch_bytes: options.batch_bytes,
            deadline: options.deadline,
            on_full: options.on_full,
            counters,
            failed: Arc::default(),
            tasks: tasks.clone(),
        });
        let weak = Arc::downgrade(&inner);
        tasks.start("producer linger", |stop| linger(weak, begun, options.linger, stop));
        Producer { inner }
    }

    /// Sends an event. Returns when it has its place in the window; what became of it is what the
    /// [`Delivery`] says.
    ///
    /// Cancel-safe: a dropped future has sent nothing.
    ///
    /// # Errors
    /// See [`SendError`]. With [`OnFull::Drop`] never [`SendError::Full`].
    pub async fn send(&self, event: Event) -> Result<Delivery, SendError> {
        self.send_at(event, Instant::now() + self.inner.deadline, false).await
    }

    /// Sends an event with a deadline of its own.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub async fn send_within(
        &self,
        event: Event,
        deadline: Duration,
    ) -> Result<Delivery, SendError> {
        self.send_at(event, Instant::now() + deadline, true).await
    }

    /// Sends an event if there is room now.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn try_send(&self, event: Event) -> Result<Delivery, SendError> {
        let weight = self.weight(&event);
        if self.inner.window.try_acquire_many(weight).map(|permit| permit.forget()).is_err() {
            return Err(SendError::Full);
        }
        let deadline = Instant::now() + self.inner.deadline;
        self.push(&event, weight, deadline, false)
    }

    /// Sends what is batched without waiting for more, then waits until every event sent before has
    /// its answer.
    ///
    /// # Errors
    /// How many events were not acknowledged since the flush before.
    pub async fn flush(&self) -> Result<(), FlushError> {
        {
            let mut batch = self.lock();
            let batch = batch.as_mut().ok_or(FlushError::Closed)?;
            self.inner.seal(batch);
        }
        self.inner.stream.flush().await.map_err(|_| FlushError::Closed)?;
        self.acknowledged()
    }

    /// As [`flush`](Self::flush), and ends the producer: nothing can be sent any more, and the node
    /// is told that it may forget the producer.
    ///
    /// # Errors
    /// How many events were not acknowledged since the flush before.
    pub async fn close(&self) -> Result<(), FlushError> {
        {
            let mut batch = self.lock();
            let mut batch = batch.take().ok_or(FlushError::Closed)?;
            self.inner.seal(&mut batch);
        }
        self.inner.stream.close().await.map_err(|_| FlushError::Closed)?;
        self.inner.tasks.stop(TASKS_GRACE).await;
        self.acknowledged()
    }

    /// What has happened so far.
    #[must_use]
    pub fn metrics(&self) -> ProducerMetrics {
        self.inner.counters.snapshot()
    }

    async fn send_at(
        &self,
        event: Event,
        deadline: Instant,
        own: bool,
    ) -> Result<Delivery, SendError> {
        let weight = self.weight(&event);
        let inner = &self.inner;
        let permit = match (inner.window.try_acquire_many(weight), inner.on_full) {
            (Ok(permit), _) => permit,
            (Err(_), OnFull::Error) => return Err(SendError::Full),
            (Err(_), OnFull::Drop) => {
                add(&inner.counters.dropped_events, 1);
                return Ok(Delivery::dropped());
            }
            (Err(_), OnFull::Wait) => {
                // What fills the window may be waiting for more.
                self.seal_if_waiting();
                let room = timeout_at(deadline, inner.window.acquire_many(weight));
                let room = room.await.map_err(|_| SendError::Full)?;
                room.map_err(|_| SendError::Closed)?
            }
        };
        permit.forget();
        self.push(&event, weight, deadline, own)
    }

    /// Puts an event that has its place in the window into the batch.
    fn push(
        &self,
        event: &Event,
        weight: u32,
        deadline: Instant,
        own: bool,
    ) -> Result<Delivery, SendError> {
        let inner = &self.inner;
        let result = self.push_locked(event, weight as usize, deadline, own);
        if result.is_err() {
            inner.window.add_permits(weight as usize);
        }
        result
    }

    fn push_locked(
        &self,
        event: &Event,
        weight: usize,
        deadline: Instant,
        own: bool,
    ) -> Result<Delivery, SendError> {
        let mut batch = self.lock();
        let batch = batch.as_mut().ok_or(SendError::Closed)?;
        let delivery = match batch.push(event, weight, deadline, own) {
            Err(PushError::Full { .. }) => {
                self.inner.seal(batch);
                batch.push(event, weight, deadline, own)
            }
            result => result,
        };
        let delivery = delivery.map_err(SendError::Invalid)?;
        if batch.bytes() >= self.inner.batch_bytes {
            self.inner.seal(batch);
        } else {
            self.inner.begun.notify_one();
        }
        Ok(delivery)
    }

    fn seal_if_waiting(&self) {
        if let Some(batch) = self.lock().as_mut() {
            self.inner.seal(batch);
        }
    }

    fn acknowledged(&self) -> Result<(), FlushError> {
        match self.inner.failed.swap(0, Ordering::AcqRel) {
            0 => Ok(()),
            events => Err(FlushError::Unacknowledged { events }),
        }
    }

    fn weight(&self, event: &Event) -> u32 {
        let headers = event.headers.iter().map(|(key, value)| key.len() + value.len());
        let bytes = event.body.len() + headers.sum::<usize>() + EVENT_OVERHEAD_BYTES;
        u32::try_from(bytes.min(self.inner.window_bytes)).expect("the window was checked")
    }

    fn lock(&self) -> MutexGuard<'_, Option<Batch>> {
        self.inner.lock()
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Option<Batch>> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands the block over, if there is one. The caller holds the lock, so blocks leave in order.
    fn seal(&self, batch: &mut Batch) {
        let generation = self.stream.generation();
        let Some(Sealed { block, outcome, deadline, weight }) = batch.seal(generation) else {
            return;
        };
        let (window, failed) = (Arc::clone(&self.window), Arc::clone(&self.failed));
        let events = u64::from(block.header().count);
        let reply = Box::new(move |result: Result<_, _>| {
            window.add_permits(weight);
            if result.is_err() {
                failed.fetch_add(events, Ordering::AcqRel);
            }
            // Nobody may want to know.
            let _ = outcome.send(result);
        });
        // A stream that has ended drops the reply, which its deliveries see.
        let _ = self.stream.send_unbounded(block, Some(deadline), reply);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let batch = self.batch.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut batch) = batch {
            self.seal(&mut batch);
        }
    }
}

/// Seals a batch whose first event has waited long enough. Ends with the producer.
async fn linger(
    producer: std::sync::Weak<Inner>,
    begun: Arc<Notify>,
    linger: Duration,
    stop: CancellationToken,
) {
    /// How often to look whether the producer is still there when nothing is sent.
    const LOOK: Duration = Duration::from_secs(1);
    let mut due = None;
    while let Some(()) = stop
        .run_until_cancelled(async {
            match due {
                Some(due) => sleep_until(due).await,
                None => {
                    let _ = tokio::time::timeout(LOOK, begun.notified()).await;
                }
            }
        })
        .await
    {
        let Some(inner) = producer.upgrade() else { return };
        let mut batch = inner.lock();
        let Some(batch) = batch.as_mut() else { return };
        due = batch.due(linger);
        if due.is_some_and(|due| due <= Instant::now()) {
            inner.seal(batch);
            due = None;
        }
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").finish_non_exhaustive()
    }
}
