//! What is seen of a sink, and how it outlives the lineages it drains.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use sdk_flow::{Batch, Clock, Penalised, Sink, SinkError, with_causes};
use tracing::warn;

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

    /// Ends the sink itself.
    pub(crate) async fn close(&self) {
        if let Err(error) = self.sink.lock().await.close().await {
            warn!(sink = self.name, error = with_causes(&error), "sink did not close well");
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
            SinkError::Unavailable(error) => (SinkState::Unavailable, with_causes(&**error)),
            SinkError::Paused { error, .. } => (SinkState::Paused, with_causes(&**error)),
            SinkError::Rejected(error) => (SinkState::Rejecting, with_causes(&**error)),
            SinkError::Fenced => (SinkState::Unavailable, with_causes(error)),
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
pub(crate) struct SharedSink(Arc<SinkWatch>);

impl SharedSink {
    pub(crate) fn new(watch: Arc<SinkWatch>) -> SharedSink {
        SharedSink(watch)
    }
}

#[async_trait]
impl Sink for SharedSink {
    async fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let outcome = self.0.sink.lock().await.deliver(batch).await;
        match &outcome {
            Ok(()) => self.0.delivered(batch),
            Err(error) => self.0.refused(error),
        }
        outcome
    }
}
