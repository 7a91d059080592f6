//! What receiving costs. Nothing is asserted: run it on a quiet machine and read.
//!
//! `cargo test --release -p server-ingest -- --ignored --nocapture speed`

use std::time::Duration;

use proto::v1::{PlainEvent, SendRequest};
use sdk_event::{BlockBuilder, Codec, Level, ProducerId};
use sdk_flow::Tasks;
use sdk_producer::{BlockStream, StreamOptions};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::harness::Node;
use crate::twin::FLOW;

const SECONDS: u64 = 3;

fn runtime(name: &str) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).thread_name(name).enable_all().build().expect("a runtime")
}

/// CPU seconds that the threads called `name` have used.
fn cpu_seconds(name: &str) -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("linux");
    let mut ticks = 0u64;
    for task in tasks.flatten() {
        let Ok(stat) = std::fs::read_to_string(task.path().join("stat")) else { continue };
        let Some((head, tail)) = stat.rsplit_once(')') else { continue };
        if head.rsplit_once('(').is_some_and(|(_, found)| found == name) {
            let field =
                |at: usize| tail.split(' ').nth(at).and_then(|text| text.parse::<u64>().ok());
            ticks += field(12).unwrap_or(0) + field(13).unwrap_or(0);
        }
    }
    ticks as f64 / 100.0
}

#[test]
#[ignore = "a measurement"]
fn speed_of_blocks() {
    let (server, client) = (runtime("node"), runtime("load"));
    let node = server.block_on(Node::start(Level::Local));
    node.twin.forget_blocks();
    let url = node.url();
    let events = client.block_on(async {
        let tasks = Tasks::new();
        let mut streams = Vec::new();
        for number in 0..2u8 {
            let options = StreamOptions {
                endpoints: vec![url.parse().expect("an address")],
                flow: FLOW.to_owned(),
                window_bytes: 4 << 20,
                ..StreamOptions::new(ProducerId([number; 16]), 1)
            };
            let stream = BlockStream::open(options, &tasks);
            streams.push(async move {
                let mut builder = BlockBuilder::new(ProducerId([number; 16]), 1, 0);
                for (key, value) in [("app", "shop"), ("host", "web-1"), ("dc", "eu")] {
                    builder.shared_header(key, value).expect("fits");
                }
                let (body, began, mut sent) = ([b'x'; 500], Instant::now(), 0u64);
                while began.elapsed() < Duration::from_secs(SECONDS) {
                    for _ in 0..512 {
                        builder.push(Some(1), [], &body).expect("fits");
                    }
                    sent += 512;
                    drop(stream.send(builder.finish(Codec::None)).await.expect("open"));
                }
                stream.flush().await.expect("answered");
                assert_eq!(stream.metrics().acked_events, sent);
                sent
            });
        }
        futures::future::join_all(streams).await.into_iter().sum::<u64>()
    });
    let millions = events as f64 / 1e6;
    println!(
        "blocks: {:.0} events/s, server {:.2} s/M, client {:.2} s/M",
        events as f64 / SECONDS as f64,
        cpu_seconds("node") / millions,
        cpu_seconds("load") / millions,
    );
    server.block_on(node.stop());
}

#[test]
#[ignore = "a measurement"]
fn speed_of_sends() {
    let (server, client) = (runtime("node"), runtime("load"));
    let node = server.block_on(Node::start(Level::Local));
    let channel = client.block_on(async { node.channel().await });
    for (what, events) in [("empty unary calls", false), ("single-event sends", true)] {
        let before = (cpu_seconds("node"), cpu_seconds("load"));
        let calls = client.block_on(async {
            let mut callers = tokio::task::JoinSet::new();
            for _ in 0..256 {
                let channel = channel.clone();
                callers.spawn(async move {
                    let mut client = proto::v1::ingest_client::IngestClient::new(channel.clone());
                    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
                    let (began, mut calls) = (Instant::now(), 0u64);
                    while began.elapsed() < Duration::from_secs(SECONDS) {
                        if events {
                            let event = PlainEvent {
                                body: vec![b'x'; 500].into(),
                                ..PlainEvent::default()
                            };
                            let events = vec![event];
                            let request = SendRequest {
                                flow: FLOW.to_owned(),
                                events,
                                ..SendRequest::default()
                            };
                            client.send(request).await.expect("stored");
                        } else {
                            let request = tonic_health::pb::HealthCheckRequest::default();
                            health.check(request).await.expect("answered");
                        }
                        calls += 1;
                    }
                    calls
                });
            }
            callers.join_all().await.into_iter().sum::<u64>()
        });
        println!(
            "{what}: {:.0}/s, server {:.1} µs, client {:.1} µs each",
            calls as f64 / SECONDS as f64,
            (cpu_seconds("node") - before.0) / calls as f64 * 1e6,
            (cpu_seconds("load") - before.1) / calls as f64 * 1e6,
        );
    }
    server.block_on(node.stop());
}
