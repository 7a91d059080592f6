//! How soon a node accepts again, and what it still knows.

use crate::limits::{Stream, block, connect};
use crate::send::quick_roll;
use deploy_acceptance::{Node, NodeOptions, eventually, full};
use proto::v1::Code;
use sdk_event::Codec;
use std::time::{Duration, Instant};

#[test]
fn a_backlog_does_not_slow_the_start() {
    let quick = quick_roll();
    // As much may wait on a large disk as on a small one.
    let config = format!("[node.log]\nquota = \"10GiB\"\n{}", quick.config.unwrap_or_default());
    let mut node = Node::new(NodeOptions { config: Some(config), ..NodeOptions::default() });
    let files = node.with_stuck_sinks();
    node.start();
    let seconds = if full() { "60" } else { "5" };
    node.loadtest(&[
        "run",
        "--seconds",
        seconds,
        "--rate",
        "max",
        "--body-bytes",
        "500",
        "--batch-events",
        "500",
        "--ack",
        "local",
    ]);
    node.kill();
    let begun = Instant::now();
    node.start();
    // G7's bound; `cargo xtask bench restart` prints the figures.
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert!(node.resident_bytes() < 512 << 20, "{} bytes", node.resident_bytes());
    std::fs::remove_file(&files).expect("remove");
    node.drained(Duration::from_secs(300));
}

/// Rolls every second, into a log of small segments.
fn small_log() -> NodeOptions {
    let quick = quick_roll();
    let flows = quick.config.clone().unwrap_or_default();
    let log = "[node.log]\nquota = \"64MiB\"\nsegment = \"1MiB\"\nfree_min = \"0\"";
    NodeOptions { config: Some(format!("{log}\n[flow.default]\nshards = 1\n{flows}")), ..quick }
}

#[tokio::test]
async fn a_producer_is_known_after_a_restart_with_everything_delivered() {
    let mut node = Node::new(small_log());
    node.start();
    let block = block(7, &[b"once"], Codec::None).bytes().clone();
    let mut stream = Stream::bound(&mut connect(&node).await, 7).await;
    stream.send(block.clone()).await;
    assert!(!stream.answer().await.expect("an answer").duplicate);
    drop(stream);
    // Twice: the lineage in between has nothing of it but what it began with.
    for _ in 0..2 {
        node.drained(Duration::from_secs(60));
        node.stop().expect(0);
        node.start();
    }
    let mut stream = Stream::bound(&mut connect(&node).await, 7).await;
    stream.send(block).await;
    let answer = stream.answer().await.expect("an answer");
    assert_eq!((answer.code(), answer.duplicate), (Code::Ok, true), "{answer:?}");
    assert_eq!(node.audit(false)["flows"][0]["stored"], 1);
}

#[test]
fn what_is_delivered_leaves_the_log_also_across_restarts() {
    let mut node = Node::new(small_log());
    let lines: Vec<u8> =
        (0..3_000).flat_map(|_| [vec![b'x'; 1_000], vec![b'\n']].concat()).collect();
    for _ in 0..4 {
        node.start();
        node.cli_with_input(&["send"], &lines).expect(0);
        node.drained(Duration::from_secs(60));
        node.stop().expect(0);
    }
    node.start();
    node.cli_with_input(&["send"], b"one more\n").expect(0);
    node.drained(Duration::from_secs(60));
    eventually("the log is small", Duration::from_secs(30), || {
        let used = node.metric("collector_log_used_bytes");
        if used <= f64::from(4 << 20) { Ok(()) } else { Err(used) }
    });
}
