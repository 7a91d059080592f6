//! How soon a node accepts again.

use crate::send::quick_roll;
use deploy_acceptance::{Node, full};
use std::time::{Duration, Instant};

#[test]
fn a_backlog_does_not_slow_the_start() {
    let mut node = Node::new(quick_roll());
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
