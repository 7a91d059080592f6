//! `calls`: unary calls, so many at once, each begun when another ends.

use crate::Unreachable;
use crate::arguments::{CallsArguments, Global, Output};
use crate::print::{grouped, say};
use crate::report::{CallsReport, Quantiles};
use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use proto::v1::ingest_client::IngestClient;
use proto::v1::{PlainEvent, SendRequest};
use sdk_tls::Link;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tonic::transport::Endpoint;

/// Connections that share the calls: one has 64 streams at most.
const STREAMS_PER_CONNECTION: u32 = 64;
/// The longest call that is told apart: a minute, in microseconds.
const LONGEST_US: u64 = 60_000_000;
const BODY_BYTES: usize = 500;

pub(crate) async fn run(global: &Global, arguments: &CallsArguments) -> Result<bool> {
    let endpoint = global.endpoint.first().context("no endpoint")?;
    let connections = arguments.in_flight.div_ceil(STREAMS_PER_CONNECTION);
    let security = global.security.client()?;
    let mut clients = Vec::new();
    for _ in 0..connections {
        let transport = Endpoint::from_shared(endpoint.clone())?.tcp_nodelay(true);
        let link = security.connect(&transport).await.map_err(Unreachable)?;
        clients.push(IngestClient::new(link));
    }
    let begun = Instant::now();
    let end = begun + Duration::from_secs(arguments.seconds);
    let mut callers = JoinSet::new();
    for caller in 0..arguments.in_flight {
        let client = clients[(caller % connections) as usize].clone();
        callers.spawn(call_until(client, end, arguments.empty));
    }
    let mut times = Histogram::new_with_bounds(1, LONGEST_US, 3)?;
    let (mut calls, mut failed) = (0, 0);
    while let Some(caller) = callers.join_next().await {
        let (done, wrong, own) = caller??;
        calls += done;
        failed += wrong;
        times.add(own)?;
    }
    let report = CallsReport {
        calls,
        calls_per_second: calls as f64 / begun.elapsed().as_secs_f64(),
        failed,
        call_ms: Quantiles::of(&times),
        client_cpu_seconds: crate::cpu::seconds()?,
    };
    if global.output == Output::Json {
        say(&serde_json::to_string(&report)?);
    } else {
        say(&format!(
            "{} calls/s, {} failed, p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            grouped(report.calls_per_second as u64),
            failed,
            report.call_ms.p50,
            report.call_ms.p99,
            report.call_ms.max
        ));
    }
    Ok(failed == 0)
}

async fn call_until(
    mut client: IngestClient<Link>,
    end: Instant,
    empty: bool,
) -> Result<(u64, u64, Histogram<u64>)> {
    let event = PlainEvent {
        body: vec![b'x'; BODY_BYTES].into(),
        headers: [("app", "shop"), ("host", "web-1"), ("level", "info")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..PlainEvent::default()
    };
    let request = SendRequest {
        events: if empty { Vec::new() } else { vec![event] },
        ..SendRequest::default()
    };
    let mut times = Histogram::new_with_bounds(1, LONGEST_US, 3)?;
    let (mut done, mut failed) = (0, 0);
    while Instant::now() < end {
        let begun = Instant::now();
        match client.send(request.clone()).await {
            Ok(_) => {
                done += 1;
                times.saturating_record(begun.elapsed().as_micros() as u64);
            }
            Err(_) => failed += 1,
        }
    }
    Ok((done, failed, times))
}
