//! One producer with a fresh id: events in, in their order, and what became of them.

use crate::arguments::SendArguments;
use anyhow::Result;
use sdk_producer::{
    BreakerOptions, Client, Delivery, DeliveryError, Event, Level, Producer, Rejected,
    RetryOptions, SendError,
};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Events that may be unanswered, in bytes. At `committed` an answer takes as long as a file is open.
const WINDOW_BYTES: usize = 32 << 20;
/// The same as a number of events: none weighs less than this many bytes in the window.
const WINDOW_EVENTS: usize = WINDOW_BYTES / 64;
/// A person waits: a node that is started again is found again within this.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Sends events, and counts what became of them.
pub(crate) struct Sender {
    producer: Producer,
    waiting: mpsc::Sender<(u64, Delivery)>,
    settled: JoinHandle<Counts>,
    /// Those that were never sent.
    refused: Counts,
    hopeless: Arc<AtomicBool>,
}

/// What is printed. The names are the fields of the JSON.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    pub(crate) acked_events: u64,
    /// The lowest level that an event was acknowledged at; null if none was.
    pub(crate) acked_level: Option<String>,
    /// Events that were not acknowledged.
    pub(crate) failed_events: u64,
    /// Of these, events of which it is not known whether they are stored.
    pub(crate) unknown_events: u64,
    /// The number of the first that was not acknowledged, from 1; null if all were.
    pub(crate) first_failed: Option<u64>,
    /// What happened to that one; null if all is well.
    pub(crate) error: Option<String>,
    /// No node was ever reached.
    #[serde(skip)]
    pub(crate) unreachable: bool,
}

#[derive(Debug, Default)]
struct Counts {
    acked: u64,
    level: Option<Level>,
    failed: u64,
    unknown: u64,
    /// A node has answered, and does not want them.
    rejected: bool,
    first: Option<(u64, String)>,
}

impl Sender {
    /// Starts the producer. `headers` are shared by all events.
    pub(crate) fn start(
        endpoints: &[String],
        security: Client,
        arguments: &SendArguments,
        headers: &[(String, String)],
    ) -> Result<Self> {
        let mut builder = Producer::builder()
            .endpoints(endpoints)
            .security(security)
            .flow(&arguments.flow)
            .window_bytes(WINDOW_BYTES)
            .deadline(arguments.timeout.get())
            .retry(RetryOptions { pause_max: RETRY_PAUSE_MAX, ..RetryOptions::default() })
            .breaker(BreakerOptions { open_for_max: RETRY_PAUSE_MAX, ..BreakerOptions::default() })
            .client(concat!("collector-cli/", env!("CARGO_PKG_VERSION")));
        if let Some(level) = arguments.ack {
            builder = builder.ack(level);
        }
        for (key, value) in headers {
            builder = builder.header(key, value);
        }
        let producer = builder.start()?;
        let (waiting, deliveries) = mpsc::channel(WINDOW_EVENTS);
        let hopeless = Arc::new(AtomicBool::new(false));
        let settled = tokio::spawn(settle(deliveries, Arc::clone(&hopeless)));
        Ok(Self { producer, waiting, settled, refused: Counts::default(), hopeless })
    }

    /// Whether it makes sense to send more: nothing has run out of time, or been refused for good.
    pub(crate) fn has_hope(&self) -> bool {
        !self.hopeless.load(Ordering::Relaxed)
    }

    /// Sends event `number`, after waiting for room.
    pub(crate) async fn send(&mut self, number: u64, event: Event) {
        match self.producer.send(event).await {
            Ok(delivery) => {
                // It ends only after us.
                drop(self.waiting.send((number, delivery)).await);
            }
            Err(error) => {
                self.refuse(number, &error.to_string());
                if !matches!(error, SendError::Invalid(_)) {
                    self.hopeless.store(true, Ordering::Relaxed);
                }
            }
        }
    }

    /// Event `number` cannot be sent.
    pub(crate) fn refuse(&mut self, number: u64, why: &str) {
        self.refused.fail(number, why, false);
    }

    /// Waits for the answers. `what` the numbers count: lines, records.
    pub(crate) async fn finish(self, what: &str) -> Result<Report> {
        // The answers of all events say more than the sum of failures.
        drop(self.producer.flush().await);
        drop(self.waiting);
        let settled = self.settled.await?;
        // What was never sent says nothing about the nodes.
        let unreachable =
            settled.failed > 0 && !settled.rejected && self.producer.metrics().connections == 0;
        let counts = settled.and(self.refused);
        drop(self.producer.close().await);
        let (first_failed, error) = counts.first.unzip();
        let error = first_failed.zip(error).map(|(number, why)| format!("{what} {number}: {why}"));
        Ok(Report {
            acked_events: counts.acked,
            acked_level: counts.level.map(|level| level.to_string()),
            failed_events: counts.failed,
            unknown_events: counts.unknown,
            first_failed,
            error,
            unreachable,
        })
    }
}

/// Takes the answers in their order.
async fn settle(
    mut deliveries: mpsc::Receiver<(u64, Delivery)>,
    hopeless: Arc<AtomicBool>,
) -> Counts {
    let mut counts = Counts::default();
    while let Some((number, delivery)) = deliveries.recv().await {
        match delivery.await {
            Ok(receipt) => {
                counts.acked += 1;
                let lowest = counts.level.map_or(receipt.level, |level| level.min(receipt.level));
                counts.level = Some(lowest);
            }
            Err(error) => {
                if !concerns_one_block(&error) {
                    hopeless.store(true, Ordering::Relaxed);
                }
                counts.rejected |= matches!(error, DeliveryError::Rejected { .. });
                counts.fail(number, &error.to_string(), !error.is_certain());
            }
        }
    }
    counts
}

fn concerns_one_block(error: &DeliveryError) -> bool {
    let DeliveryError::Rejected { kind, .. } = error else { return false };
    matches!(kind, Rejected::Invalid | Rejected::Conflict)
}

impl Counts {
    fn fail(&mut self, number: u64, why: &str, unknown: bool) {
        self.failed += 1;
        self.unknown += u64::from(unknown);
        if self.first.is_none() {
            self.first = Some((number, why.to_owned()));
        }
    }

    fn and(self, other: Counts) -> Counts {
        let first = [self.first, other.first].into_iter().flatten().min();
        Counts {
            failed: self.failed + other.failed,
            unknown: self.unknown + other.unknown,
            first,
            ..self
        }
    }
}
