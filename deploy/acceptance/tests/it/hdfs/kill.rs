//! `kill -9` of the node, again and again, while it writes to HDFS.

use super::{load, no_staging_but_of_living_tokens, node, verify};
use deploy_acceptance::{Hdfs, pause, rounds, say};
use std::time::Duration;

#[test]
fn no_kill_loses_doubles_or_reorders_an_event_on_hdfs() {
    let Some(hdfs) = Hdfs::shared() else { return };
    let schedules = rounds(20, 200);
    let kills = schedules.end - schedules.start;
    let mut node = node(hdfs, "kill", &[]);
    node.start();
    let ledger = node.folder().join("ledger");
    let load = load(&node, &ledger, kills * 3, 5_000);
    node.under_load();
    for kill in schedules {
        // Never at the same moment of a group commit, a roll or a restart.
        pause(Duration::from_millis(400 + (kill * 379) % 1_700));
        node.kill();
        node.start();
    }
    let report = load.finish(Duration::from_secs(kills * 3 + 120)).json();
    assert!(report["acked_events"].as_u64().is_some_and(|acked| acked > 0), "{report:#}");
    node.drained(Duration::from_secs(120));
    let verified = verify(hdfs, &node, &ledger, "kill");
    no_staging_but_of_living_tokens(hdfs, "kill");
    say(&format!("{kills} kills on HDFS, {} acked", verified["acked"]));
}
