//! Two NameNodes, of which the active one dies.

use super::{load, node, verify};
use deploy_acceptance::{Hdfs, pause};
use std::time::Duration;

#[test]
fn the_other_name_node_takes_over_and_nothing_is_lost() {
    let Some(hdfs) = Hdfs::own(&["--ha", "--datanodes", "2", "--replication", "2"]) else { return };
    assert_eq!(hdfs.url(), "hdfs://collector");
    let mut node = node(&hdfs, "ha", &[]);
    node.start();
    let ledger = node.folder().join("ledger");
    let load = load(&node, &ledger, 30, 2_000);
    pause(Duration::from_secs(4));
    hdfs.xtask(&["kill-nn", "1"]);
    pause(Duration::from_secs(3));
    hdfs.xtask(&["activate", "2"]);
    pause(Duration::from_secs(8));
    // And back, without anybody dying.
    hdfs.xtask(&["start-nn", "1"]);
    hdfs.xtask(&["activate", "1"]);
    let report = load.finish(Duration::from_secs(120)).json();
    assert_eq!((&report["rejected"], &report["unknown"]), (&0.into(), &0.into()), "{report:#}");
    node.drained(Duration::from_secs(120));
    verify(&hdfs, &node, &ledger, "ha");
}
