//! `send`: lines of standard input as events.

mod lines;
mod sender;
#[cfg(test)]
mod tests;

pub(crate) use sender::{Report, Sender};

use crate::arguments::{Global, Output, SendArguments};
use crate::print::{complaint, grouped, json, line};
use crate::{Verdict, admin};
use anyhow::{Context, Result, bail};
use lines::{Line, Splitter};
use proto::v1::{Node, StatusRequest};
use sdk_event::limits::BODY_BYTES_MAX;
use sdk_producer::Event;
use std::io::Read;
use std::time::Duration;
use tokio::time::Instant;

/// Lines that are shown one by one when they cannot be sent.
const COMPLAINTS_MAX: u64 = 20;

/// While no node answers: one may be starting.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);

pub(crate) async fn run(global: &Global, arguments: &SendArguments) -> Result<Verdict> {
    let endpoints = ingest(global, arguments).await?;
    let sender =
        Sender::start(&endpoints, global.security.client()?, arguments, &arguments.headers)?;
    let report = send_lines(std::io::stdin(), sender).await?;
    show(global, report)
}

/// Where to send: what was said, or what the nodes say of themselves, as soon as one answers.
pub(crate) async fn ingest(global: &Global, arguments: &SendArguments) -> Result<Vec<String>> {
    if !arguments.ingest.is_empty() {
        return Ok(arguments.ingest.clone());
    }
    let give_up = Instant::now() + Duration::from(arguments.timeout);
    let mut waits = false;
    loop {
        let error = match told(global).await {
            Err(error) if error.is::<admin::Unreachable>() => error,
            result => return result,
        };
        if Instant::now() + ASK_AGAIN_AFTER > give_up {
            return Err(error);
        }
        if !std::mem::replace(&mut waits, true) {
            complaint(&format!("{error:#}; trying for {}", arguments.timeout));
        }
        tokio::time::sleep(ASK_AGAIN_AFTER).await;
    }
}

async fn told(global: &Global) -> Result<Vec<String>> {
    let (url, mut node) = admin::connect_to(global).await?;
    let status = node.status(StatusRequest {}).await.map_err(admin::refusal)?.into_inner();
    let endpoints = reachable(&status.nodes, &url);
    if endpoints.is_empty() {
        bail!("no node takes events: see `collector-cli status`, or say --ingest URL");
    }
    Ok(endpoints)
}

/// The ingest addresses of nodes that are up, as they look from here.
fn reachable(nodes: &[Node], asked: &str) -> Vec<String> {
    let up = nodes.iter().filter(|node| node.state == "up" && !node.ingest.is_empty());
    up.map(|node| from_here(&node.ingest, asked)).collect()
}

/// A node that listens everywhere says so; we know it by the name that we asked it under.
fn from_here(ingest: &str, asked: &str) -> String {
    let (scheme, address) = ingest.split_once("://").unwrap_or(("http", ingest));
    let Some(port) = ["0.0.0.0:", "[::]:"].iter().find_map(|all| address.strip_prefix(all)) else {
        return format!("{scheme}://{address}");
    };
    let asked = asked.split_once("://").map_or(asked, |(_, rest)| rest).trim_end_matches('/');
    let host = asked.rsplit_once(':').map_or(asked, |(host, _)| host);
    format!("{scheme}://{host}:{port}")
}

/// Sends what `input` has until its end, until interrupted, or until there is no point in more.
async fn send_lines(input: impl Read + Send + 'static, sender: Sender) -> Result<Report> {
    let mut chunks = lines::read(input)?;
    let mut splitter = Splitter::default();
    let mut feed = Feed { sender, number: 0, too_long: 0 };
    let mut found = Vec::new();
    let mut more = true;
    while more && feed.sender.has_hope() {
        let chunk = tokio::select! {
            chunk = chunks.recv() => chunk.transpose().context("read standard input")?,
            _ = tokio::signal::ctrl_c() => None,
        };
        let read_at_ms = match chunk {
            Some((read_at_ms, chunk)) => {
                splitter.feed(&chunk, &mut found);
                read_at_ms
            }
            None => {
                found.extend(splitter.end());
                more = false;
                lines::now_ms()
            }
        };
        for line in found.drain(..) {
            if !feed.sender.has_hope() {
                more = true;
                break;
            }
            feed.line(line, read_at_ms).await;
        }
    }
    if more {
        complaint(&format!("nothing behind line {} was sent", feed.number));
    }
    feed.finish().await
}

/// Numbers lines and passes them on.
struct Feed {
    sender: Sender,
    number: u64,
    too_long: u64,
}

impl Feed {
    async fn line(&mut self, line: Line, read_at_ms: i64) {
        self.number += 1;
        match line {
            Line::Whole(body) => {
                let event = Event::new(body).with_timestamp_ms(read_at_ms);
                self.sender.send(self.number, event).await;
            }
            Line::TooLong(bytes) => {
                let why = format!("it has {bytes} bytes, a body at most {BODY_BYTES_MAX}");
                self.too_long += 1;
                if self.too_long <= COMPLAINTS_MAX {
                    complaint(&format!("line {}: {why}; it is not sent", self.number));
                }
                self.sender.refuse(self.number, &why);
            }
        }
    }

    async fn finish(self) -> Result<Report> {
        if self.too_long > COMPLAINTS_MAX {
            complaint(&format!("… and {} more that are too long", self.too_long - COMPLAINTS_MAX));
        }
        self.sender.finish("line").await
    }
}

/// Prints what became of everything.
pub(crate) fn show(global: &Global, report: Report) -> Result<Verdict> {
    if let Some(error) = &report.error {
        complaint(error);
    }
    if global.output == Output::Json {
        json(&report)?;
    } else {
        let level =
            report.acked_level.as_deref().map_or(String::new(), |level| format!(" ({level})"));
        line(&format!("{} events acknowledged{level}", grouped(report.acked_events)));
        if report.failed_events > 0 {
            line(&format!(
                "{} not acknowledged, of {} of them it is not known whether they are stored",
                grouped(report.failed_events),
                grouped(report.unknown_events)
            ));
        }
    }
    if report.unreachable {
        return Err(admin::Unreachable::because(report.error.unwrap_or_default()).into());
    }
    Ok(if report.failed_events == 0 { Verdict::Well } else { Verdict::Bad })
}
