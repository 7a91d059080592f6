//! `kill -9` of the node, again and again, under load.

use crate::send::quick_roll;
use deploy_acceptance::{Node, Running, Tree, full, pause, program, rounds, say};
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn no_kill_loses_doubles_or_reorders_an_event() {
    let schedules = rounds(20, 100);
    let kills = schedules.end - schedules.start;
    let mut node = Node::new(quick_roll());
    node.start();
    let ledger = node.folder().join("ledger");
    let seconds = (kills * 4).to_string();
    let load = Running::start(
        Command::new(program("collector-loadtest"))
            .args([
                "--output",
                "json",
                "run",
                "--seconds",
                &seconds,
                "--rate",
                "20000",
                "--body-bytes",
                "200",
            ])
            .args([
                "--batch-events",
                "200",
                "--ack",
                "local",
                "--endpoint",
                &node.ingest(),
                "--ledger",
            ])
            .arg(&ledger),
    );
    node.under_load();
    let mut slowest = Duration::ZERO;
    let mut before = Tree::default();
    for kill in schedules {
        // Never at the same moment of a group commit, a roll or a restart.
        pause(Duration::from_millis(300 + (kill * 379) % 1_500));
        node.kill();
        if kill % 5 == 0 {
            let now = Tree::read(&node.files());
            before.still_in(&now);
            before = now;
        }
        let begun = Instant::now();
        node.start();
        slowest = slowest.max(begun.elapsed());
    }
    // Not stopped early, nothing left without an answer.
    let report = load.finish(Duration::from_secs(kills * 4 + 120)).expect(0).json();
    let acked = report["acked_events"].as_u64().unwrap_or(0);
    assert!(acked > kills * 10_000, "it was hardly under load: {report:#}");
    node.drained(Duration::from_secs(90));
    before.still_in(&Tree::read(&node.files()));
    node.verified(&ledger);
    let audit = node.audit(true);
    assert_eq!(audit["balanced"], true, "{audit:#}");
    say(&format!("{kills} kills, slowest start {slowest:.1?}, {acked} events acked"));
    assert!(!full() || slowest < Duration::from_secs(5), "a start took {slowest:?}");
}
