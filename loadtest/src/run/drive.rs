//! One producer: sends what is due, and waits for the answers.

use super::generator::Generator;
use super::schedule::Schedule;
use super::tally::Tally;
use anyhow::Result;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use sdk_producer::{BlockStream, DeliveryError, Stored};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// A producer and all that it needs.
pub(super) struct Drive {
    pub(super) generator: Generator,
    pub(super) schedule: Schedule,
    pub(super) stream: BlockStream,
    /// Blocks that may be unanswered. What is due beyond is sent later, and counts from when it was due.
    pub(super) in_flight_max: usize,
    /// A block without an answer is tried again for so long from when it was due.
    pub(super) timeout: Duration,
    pub(super) tally: Tally,
}

/// A block that was answered.
struct Answered {
    first: u64,
    due: Instant,
    answer: Result<Stored, DeliveryError>,
}

impl Drive {
    /// Runs until everything that was due has its answer. `interrupted` ends the load before its time.
    pub(super) async fn run(mut self, interrupted: CancellationToken) -> Result<Tally> {
        let mut in_flight = FuturesUnordered::new();
        // When to give up each block, by its first sequence.
        let mut deadlines: BTreeMap<u64, Instant> = BTreeMap::new();
        let mut stopped = false;
        loop {
            let now = Instant::now();
            let due = self.schedule.due(now);
            if due.is_none() && in_flight.is_empty() {
                break;
            }
            let room = in_flight.len() < self.in_flight_max;
            let give_up_at = deadlines.values().next().copied();
            tokio::select! {
                biased;
                // Once: what was due before and is late stays due.
                () = interrupted.cancelled(), if !stopped => {
                    stopped = true;
                    self.schedule.stop(now);
                }
                Some(answered) = in_flight.next() => {
                    let Answered { first, due, answer } = answered;
                    deadlines.remove(&first);
                    self.tally.answered(first, self.generator.events(), due, &answer)?;
                    if let Err(error) = answer && is_final(&error) {
                        self.schedule.stop(now);
                        self.tally.stopped.get_or_insert(error.to_string());
                    }
                }
                () = at(give_up_at, now), if give_up_at.is_some() => {
                    // Blocks are stored in their order: what stands in the way of the oldest stands
                    // in the way of all. Each is answered now, with what is known of it.
                    deadlines.clear();
                    self.stream.restart(self.generator.next_sequence())?;
                }
                () = at(due, now), if room && due.is_some() => {
                    let due = due.expect("asked before");
                    self.schedule.take();
                    let deadline = due + self.timeout;
                    if deadline <= Instant::now() {
                        self.tally.never_sent(self.generator.events());
                        continue;
                    }
                    let first = self.generator.next_sequence();
                    let block = self.generator.block(now_ms())?;
                    let answer = self.stream.send(block).await?;
                    deadlines.insert(first, deadline);
                    in_flight.push(async move { Answered { first, due, answer: answer.await } });
                }
            }
        }
        let events = self.schedule.taken() * self.generator.events();
        self.tally.offered(events, self.schedule.lasted());
        // The node may forget the producer. Whether it hears that changes nothing.
        drop(self.stream.close().await);
        Ok(self.tally)
    }
}

/// Whether no block will fare better.
fn is_final(error: &DeliveryError) -> bool {
    matches!(
        error,
        DeliveryError::Rejected { .. }
            | DeliveryError::ProducerExpired { .. }
            | DeliveryError::Closed
    )
}

async fn at(time: Option<Instant>, now: Instant) {
    match time {
        // A timer would round it up to the next millisecond.
        Some(time) if time <= now => (),
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
