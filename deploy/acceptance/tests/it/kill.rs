//! `kill -9` of the node, again and again, under load.

use crate::send::quick_roll;
use deploy_acceptance::{Node, Running, Tree, pause, program, rounds, run};
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn no_kill_loses_doubles_or_reorders_an_event() {
    let kills = rounds(20, 100);
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
    let mut slowest = Duration::ZERO;
    let mut before = Tree::default();
    for kill in 0..kills {
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
    let report = load.finish(Duration::from_secs(kills * 4 + 120)).json();
    assert!(report["acked_events"].as_u64().is_some_and(|acked| acked > 0), "{report:#}");
    node.drained(Duration::from_secs(90));
    before.still_in(&Tree::read(&node.files()));
    let verified = run(
        "collector-loadtest",
        &[
            "--output".as_ref(),
            "json".as_ref(),
            "verify".as_ref(),
            "--ledger".as_ref(),
            ledger.as_os_str(),
            "--files".as_ref(),
            node.files().as_os_str(),
        ],
    )
    .expect(0)
    .json();
    for what in ["lost", "duplicated", "reordered", "corrupt"] {
        assert_eq!(verified[what], 0, "{verified:#}");
    }
    let audit = node.audit(true);
    assert_eq!(audit["balanced"], true, "{audit:#}");
    println!("{kills} kills, slowest start {slowest:?}, {} acked", verified["acked"]);
}
