//! `run`: events at a steady rate, whatever the answers do, and how soon each block was answered.
//!
//! An open loop: blocks are due at fixed times, and a block's latency counts from when it was due,
//! so that a stall is seen by every block that it delayed and not only by those that were under way
//! (coordinated omission). `--rate max` is a closed loop instead: a block is sent when one has been
//! answered, and its latency counts from then.

mod drive;
mod generator;
mod schedule;
mod tally;
#[cfg(test)]
mod tests;

use crate::arguments::{Global, Output, RateArgument, RunArguments};
use crate::ledger::Ledger;
use crate::print::{complain, grouped, say};
use crate::report::{Quantiles, RunReport};
use crate::{Unreachable, Usage, cpu};
use anyhow::Result;
use drive::Drive;
use generator::Generator;
use schedule::Schedule;
use sdk_event::ProducerId;
use sdk_flow::{Entropy, SystemEntropy, Tasks};
use sdk_producer::{BlockStream, BreakerOptions, Client, Endpoint, RetryOptions, StreamOptions};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tally::Tally;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A node that is started again is to be found again at once: what is measured is the node.
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(250);
/// Blocks sent again are never held back for their number: that would look like a slow node.
const RETRY_BUDGET_PER_SECOND: u32 = 1_000_000;
/// How long the first connection may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long tasks may take once everything is answered.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// What is in flight is bounded in blocks, by `--in-flight`; this never is the limit.
const WINDOW_BYTES: usize = u32::MAX as usize / 2;

pub(crate) async fn run(global: &Global, arguments: &RunArguments) -> Result<bool> {
    let outcome = measure(&global.endpoint, global.security.client()?, arguments).await?;
    if let Some(reason) = &outcome.stopped {
        complain(&format!("stopped early: {reason}"));
    }
    if global.output == Output::Json {
        say(&serde_json::to_string(&outcome.report)?);
    } else {
        show(arguments, &outcome.report);
    }
    Ok(outcome.is_well())
}

/// What a run came to.
pub(crate) struct Outcome {
    pub(crate) report: RunReport,
    /// Why it ended before its time.
    pub(crate) stopped: Option<String>,
}

impl Outcome {
    /// Something was acknowledged, and of every block it is known whether it is stored.
    fn is_well(&self) -> bool {
        self.report.acked_events > 0 && self.report.unknown == 0 && self.stopped.is_none()
    }
}

/// Runs the load to its end.
pub(crate) async fn measure(
    endpoints: &[String],
    security: Client,
    arguments: &RunArguments,
) -> Result<Outcome> {
    generator::check(arguments).map_err(Usage)?;
    let endpoints = endpoints
        .iter()
        .map(|text| text.parse::<Endpoint>())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Usage(error.to_string()))?;
    reach(&endpoints, &security).await?;
    let ledger = arguments.ledger.as_deref().map(Ledger::create).transpose()?;
    let ledger = ledger.map(|ledger| Arc::new(Mutex::new(ledger)));
    let interrupted = CancellationToken::new();
    let (tasks, mut producers) = (Tasks::new(), JoinSet::new());
    let mut streams = Vec::new();
    let cpu_before = cpu::seconds()?;
    let begun = Instant::now();
    for index in 0..arguments.producers {
        let id = random_id();
        let stream = BlockStream::open(options(id, &endpoints, &security, arguments), &tasks);
        streams.push(stream.clone());
        let drive = Drive {
            generator: Generator::new(id, arguments)?,
            schedule: Schedule::new(begun, index, arguments),
            stream,
            in_flight_max: arguments.in_flight as usize,
            timeout: Duration::from_secs(arguments.timeout),
            tally: Tally::new(id, begun, ledger.clone())?,
        };
        producers.spawn(drive.run(interrupted.clone()));
    }
    let mut tally = Tally::new(random_id(), begun, None)?;
    loop {
        tokio::select! {
            ended = producers.join_next() => match ended {
                Some(ended) => tally.add(ended??)?,
                None => break,
            },
            // What is under way is answered still.
            _ = tokio::signal::ctrl_c(), if !interrupted.is_cancelled() => interrupted.cancel(),
        }
    }
    tasks.stop(STOP_WITHIN).await;
    if let Some(ledger) = ledger.and_then(Arc::into_inner) {
        ledger.into_inner().expect("no panic while the lock is held").finish()?;
    }
    let retried_blocks = streams.iter().map(|stream| stream.metrics().retried_blocks).sum();
    let report = RunReport {
        offered_per_second: tally.offered_per_second(),
        acked_events: tally.acked,
        acked_events_per_second: tally.acked_per_second(),
        rejected: tally.rejected,
        unknown: tally.unknown,
        ack_ms: Quantiles::of(&tally.times),
        client_cpu_seconds: cpu::seconds()? - cpu_before,
        retried_blocks,
    };
    Ok(Outcome { report, stopped: tally.stopped })
}

/// An error unless some endpoint takes a connection now.
async fn reach(endpoints: &[Endpoint], security: &Client) -> Result<()> {
    let mut last = None;
    for endpoint in endpoints {
        let transport = tonic::transport::Endpoint::from_shared(endpoint.url().to_owned())?
            .connect_timeout(CONNECT_WITHIN);
        match security.connect(&transport).await {
            Ok(_) => return Ok(()),
            Err(reason) => last = Some(format!("{endpoint}: {reason}")),
        }
    }
    Err(Unreachable(last.ok_or_else(|| Usage("no endpoint".to_owned()))?).into())
}

fn options(
    id: ProducerId,
    endpoints: &[Endpoint],
    security: &Client,
    arguments: &RunArguments,
) -> StreamOptions {
    StreamOptions {
        endpoints: endpoints.to_vec(),
        security: security.clone(),
        flow: arguments.flow.clone(),
        ack: arguments.ack,
        window_bytes: WINDOW_BYTES,
        retry: RetryOptions {
            pause_max: RETRY_PAUSE_MAX,
            budget_per_second: RETRY_BUDGET_PER_SECOND,
            ..RetryOptions::default()
        },
        breaker: BreakerOptions {
            open_for: RETRY_PAUSE_MAX,
            open_for_max: RETRY_PAUSE_MAX,
            ..BreakerOptions::default()
        },
        client: concat!("collector-loadtest/", env!("CARGO_PKG_VERSION")).to_owned(),
        ..StreamOptions::new(id, 1)
    }
}

fn random_id() -> ProducerId {
    let mut id = [0; 16];
    SystemEntropy.fill(&mut id);
    ProducerId(id)
}

fn show(arguments: &RunArguments, report: &RunReport) {
    let from = match arguments.rate {
        RateArgument::PerSecond(rate) => {
            say(&format!("open loop: {} events/s were to be sent", grouped(rate)));
            "from when a block was due"
        }
        RateArgument::Max => {
            say(&format!(
                "closed loop: {} producers, each with {} blocks under way; a slow answer slows the load, \
                 so compare latencies with those of other closed loops only",
                arguments.producers, arguments.in_flight
            ));
            "from when a block was sent"
        }
    };
    let ack = &report.ack_ms;
    let millions = report.acked_events as f64 / 1e6;
    say(&format!("offered    {} events/s", grouped(report.offered_per_second as u64)));
    say(&format!(
        "acked      {} events, {}/s",
        grouped(report.acked_events),
        grouped(report.acked_events_per_second as u64)
    ));
    say(&format!(
        "rejected   {} events   unknown {}   blocks sent again {}",
        grouped(report.rejected),
        grouped(report.unknown),
        grouped(report.retried_blocks)
    ));
    say(&format!(
        "ack ms     p50 {:.1}   p99 {:.1}   p99.9 {:.1}   max {:.1}   ({from})",
        ack.p50, ack.p99, ack.p999, ack.max
    ));
    say(&format!(
        "client     {:.2} CPU s, {:.2} per million acked events",
        report.client_cpu_seconds,
        report.client_cpu_seconds / millions.max(f64::MIN_POSITIVE)
    ));
}
