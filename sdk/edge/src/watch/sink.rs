//! What is seen of a sink, and how it outlives the lineages it drains.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use sdk_flow::{Batch, BoxError, Clock, DeadLetters, Penalised, Sink, SinkError};
use tracing::warn;

use super::chain;
use crate::status::{SinkState, SinkStatus};

/// A sink, with what is seen of it. A group drains lineage after lineage, each
/// with a runner of its own; the sink, and its connections, are the same.
pub(crate) struct SinkWatch {
    name: String,
    kind: &'static str,
    group: String,
    clock: Arc<dyn Clock>,
    sink: tokio::sync::Mutex<Box<dyn Sink>>,
    events: AtomicU64,
    batches: AtomicU64,
    failures: AtomicU64,
    buried: AtomicU64,
    seen: Mutex<Seen>,
}

struct Seen {
    state: SinkState,
    reason: Option<String>,
    /// Since when it has not been working.
    since: Option<Duration>,
}

impl SinkWatch {
    pub(crate) fn new(
        name: &str,
        kind: &'static str,
        group: &str,
        clock: Arc<dyn Clock>,
        sink: Box<dyn Sink>,
    ) -> SinkWatch {
        let seen = Seen { state: SinkState::Idle, reason: None, since: None };
        SinkWatch {
            name: name.to_owned(),
            kind,
            group: group.to_owned(),
            clock,
            sink: tokio::sync::Mutex::new(sink),
            events: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            buried: AtomicU64::new(0),
            seen: Mutex::new(seen),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether there is no point in waiting for it: it refused what it was last
    /// given, whatever that was.
    pub(crate) fn is_out(&self) -> bool {
        matches!(self.lock().state, SinkState::Unavailable | SinkState::Paused)
    }

    /// Events of batches that were picked apart which went to the dead letters.
    pub(crate) fn buried(&self) -> u64 {
        self.buried.load(Ordering::Relaxed)
    }

    /// Ends the sink itself.
    pub(crate) async fn close(&self) {
        if let Err(error) = self.sink.lock().await.close().await {
            warn!(sink = self.name, error = chain(&error), "sink did not close well");
        }
    }

    /// `out`: the penalties of its group.
    pub(crate) fn status(&self, out: &[Penalised]) -> SinkStatus {
        let seen = self.lock();
        let failing = seen.since.map(|since| self.clock.monotonic().saturating_sub(since));
        let penalty = out.iter().find(|out| out.sink == self.name);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SinkStatus {
            name: self.name.clone(),
            kind: self.kind.to_owned(),
            group: self.group.clone(),
            state: seen.state,
            reason: seen.reason.clone(),
            failing_seconds: failing.map(|failing| failing.as_secs_f64()),
            retry_seconds: penalty.map(|penalty| penalty.retry_in.as_secs_f64()),
            delivered_events: read(&self.events),
            delivered_batches: read(&self.batches),
            failed_deliveries: read(&self.failures),
        }
    }

    fn delivered(&self, batch: &Batch) {
        self.events.fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        let mut seen = self.lock();
        *seen = Seen { state: SinkState::Working, reason: None, since: None };
    }

    fn refused(&self, error: &SinkError) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let (state, reason) = match error {
            SinkError::Unavailable(error) => (SinkState::Unavailable, chain(&**error)),
            SinkError::Paused { error, .. } => (SinkState::Paused, chain(&**error)),
            SinkError::Rejected(error) => (SinkState::Rejecting, chain(&**error)),
            SinkError::Fenced => (SinkState::Unavailable, chain(error)),
        };
        let now = self.clock.monotonic();
        let mut seen = self.lock();
        (seen.state, seen.reason) = (state, Some(reason));
        seen.since.get_or_insert(now);
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no panic while the lock is held")
    }
}

/// The sink as a member of one runner. Closing it leaves the sink open.
///
/// A sink refuses a batch for what one put in it holds. Such a batch is picked
/// apart here, put by put, so that only what is at fault is a dead letter.
pub(crate) struct SharedSink {
    watch: Arc<SinkWatch>,
    letters: Arc<dyn DeadLetters>,
    /// Below this offset a batch that was picked apart is delivered or buried.
    picked_to: u64,
}

impl SharedSink {
    pub(crate) fn new(watch: Arc<SinkWatch>, letters: Arc<dyn DeadLetters>) -> SharedSink {
        SharedSink { watch, letters, picked_to: 0 }
    }

    async fn try_whole(&self, batch: &Batch) -> Result<(), SinkError> {
        let outcome = self.watch.sink.lock().await.deliver(batch).await;
        match &outcome {
            Ok(()) => self.watch.delivered(batch),
            Err(error) => self.watch.refused(error),
        }
        outcome
    }

    /// Goes on from where the try before has come to.
    async fn pick_apart(&mut self, batch: &Batch) -> Result<(), SinkError> {
        for stored in &batch.stored {
            if stored.is_empty() || stored.end() <= self.picked_to {
                continue;
            }
            let (from, to) = (stored.first_offset, stored.end());
            let one = Batch { lineage: batch.lineage, from, to, stored: vec![stored.clone()] };
            match self.try_whole(&one).await {
                Ok(()) => (),
                Err(SinkError::Rejected(error)) => self.bury(&one, error).await?,
                Err(other) => return Err(other),
            }
            self.picked_to = to;
        }
        Ok(())
    }

    async fn bury(&self, batch: &Batch, error: BoxError) -> Result<(), SinkError> {
        let sink = self.watch.name();
        let buried = self.letters.bury(sink, batch, &error).await;
        buried.map_err(|error| SinkError::Paused { retry_after: BURY_PAUSE, error })?;
        let (from, to, error) = (batch.from, batch.to, chain(&*error));
        warn!(sink, from, to, error, "sink rejected events, they are dead letters now");
        self.watch.buried.fetch_add(batch.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

#[async_trait]
impl Sink for SharedSink {
    async fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError> {
        if self.picked_to <= batch.from {
            let outcome = self.try_whole(batch).await;
            let several = batch.stored.iter().filter(|stored| !stored.is_empty()).count() > 1;
            if !(several && matches!(outcome, Err(SinkError::Rejected(_)))) {
                return outcome;
            }
        }
        self.pick_apart(batch).await
    }
}

/// Before the next try when a dead letter could not be kept.
const BURY_PAUSE: Duration = Duration::from_secs(5);
