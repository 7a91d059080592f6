//! HDFS is away for minutes while events keep coming.

use super::{load, node, verify};
use deploy_acceptance::{Hdfs, Node, eventually, full, pause, say};
use std::time::{Duration, Instant};

/// Events of 200 bytes a second.
const RATE: u64 = 10_000;

/// What a node may hold in memory, whatever its backlog.
const RESIDENT_MAX: u64 = 512 << 20;

#[test]
fn a_backlog_stays_on_disk_and_drains_at_twice_the_rate_it_came_in() {
    let Some(hdfs) = Hdfs::shared() else { return };
    let away = Duration::from_secs(if full() { 300 } else { 45 });
    let mut node = node(hdfs, "outage", &[]);
    node.start();
    let ledger = node.folder().join("ledger");
    // Long enough to go on while it drains.
    let load = load(&node, &ledger, away.as_secs() * 3, RATE);
    eventually("files are made", Duration::from_secs(60), || {
        if delivered(&node) > 0 { Ok(()) } else { Err("none yet") }
    });

    hdfs.xtask(&["kill-nn"]);
    let begun = Instant::now();
    let mut most = 0;
    while begun.elapsed() < away {
        most = most.max(node.resident_bytes());
        assert!(most < RESIDENT_MAX, "{most} bytes in memory after {:?}", begun.elapsed());
        pause(Duration::from_secs(1));
    }
    hdfs.xtask(&["start-nn"]);
    let before = delivered(&node);
    let waiting = pending(&node);
    let back = Instant::now();
    // The NameNode starts, hears of its blocks, and the sink's pause ends.
    eventually("files are made again", Duration::from_secs(90), || {
        if delivered(&node) > before { Ok(()) } else { Err("none yet") }
    });
    let drains = Instant::now();
    assert!(waiting > RATE * away.as_secs() / 2, "only {waiting} events are waiting");
    eventually("the backlog is final", away * 3, || {
        most = most.max(node.resident_bytes());
        let now = delivered(&node) - before;
        if now >= waiting { Ok(()) } else { Err(format!("{now} of {waiting}")) }
    });
    let rate = (delivered(&node) - before) as f64 / drains.elapsed().as_secs_f64();
    say(&format!(
        "{waiting} events waited after {away:?}, {} MiB in memory at most; first file after {:.1} s, \
         final after {:.1} s, {rate:.0} events/s at {RATE} coming in",
        most >> 20,
        (drains - back).as_secs_f64(),
        back.elapsed().as_secs_f64(),
    ));
    assert!(most < RESIDENT_MAX, "{most} bytes in memory");
    assert!(rate >= 2.0 * RATE as f64, "it drains {rate:.0} events/s");

    let report = load.finish(away * 3).json();
    assert_eq!((&report["rejected"], &report["unknown"]), (&0.into(), &0.into()), "{report:#}");
    node.drained(Duration::from_secs(120));
    verify(hdfs, &node, &ledger, "outage");
}

/// Events in final files.
fn delivered(node: &Node) -> u64 {
    node.metric("collector_sink_events_total") as u64
}

fn pending(node: &Node) -> u64 {
    let audit = node.audit(false);
    let rows = audit["flows"].as_array().expect("the flows");
    rows.iter().filter_map(|row| row["pending"].as_u64()).sum()
}
