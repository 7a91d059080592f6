//! What happens to an HDFS while it is written to, one thing after another.

use super::{load, node, verify};
use deploy_acceptance::{Hdfs, Node, eventually, full, pause};
use std::time::Duration;

/// Who writes: no superuser, so that permissions and quotas count.
const USER: &str = "alice";

/// How long a fault lasts, in the normal test and in the long one.
fn lasts(normal: u64, long: u64) {
    pause(Duration::from_secs(if full() { long } else { normal }));
}

#[test]
fn no_fault_of_hdfs_loses_doubles_or_reorders_an_event() {
    let Some(hdfs) = Hdfs::shared() else { return };
    hdfs.fs(&["-mkdir", "-p", "/faults/files"]);
    hdfs.fs(&["-chown", "-R", USER, "/faults"]);
    let mut node = node(hdfs, "faults", &[("HADOOP_USER_NAME", USER)]);
    node.start();
    let ledger = node.folder().join("ledger");
    let seconds = if full() { 1_300 } else { 150 };
    let mut load = load(&node, &ledger, seconds, 2_000);
    lasts(3, 10);

    hdfs.xtask(&["kill-dn", "1"]);
    lasts(8, 60);
    hdfs.xtask(&["start-dn", "1"]);
    works(&node, "a DataNode was killed");

    hdfs.xtask(&["kill-nn"]);
    says(&node, &["cannot be reached", "no answer"]);
    lasts(4, 180);
    hdfs.xtask(&["start-nn"]);
    works(&node, "the NameNode was killed");

    hdfs.xtask(&["safemode", "enter"]);
    says(&node, &["safe mode"]);
    lasts(4, 120);
    hdfs.xtask(&["safemode", "leave"]);
    works(&node, "safe mode");

    hdfs.xtask(&["dfsadmin", "-setSpaceQuota", "1", "/faults"]);
    says(&node, &["quota"]);
    lasts(2, 30);
    hdfs.xtask(&["dfsadmin", "-clrSpaceQuota", "/faults"]);
    works(&node, "the quota was used up");

    hdfs.fs(&["-chmod", "000", "/faults/files"]);
    says(&node, &["permission denied"]);
    lasts(2, 30);
    hdfs.fs(&["-chmod", "755", "/faults/files"]);
    works(&node, "the permission was taken");

    if full() {
        hdfs.xtask(&["kill-dn", "1"]);
        hdfs.xtask(&["kill-dn", "2"]);
        lasts(0, 60);
        hdfs.xtask(&["start-dn"]);
        works(&node, "two DataNodes were killed at once");

        hdfs.xtask(&["pause-dn", "2"]);
        lasts(0, 180);
        hdfs.xtask(&["resume-dn", "2"]);
        works(&node, "a DataNode hung");

        hdfs.xtask(&["kill-dn"]);
        hdfs.xtask(&["start-dn"]);
        works(&node, "all DataNodes were restarted");
    }

    let still_running = load.ended().is_none();
    let report = load.finish(Duration::from_secs(seconds + 120)).json();
    assert!(still_running, "the load ended before the last fault: {report:#}");
    assert_eq!((&report["rejected"], &report["unknown"]), (&0.into(), &0.into()), "{report:#}");
    node.drained(Duration::from_secs(180));
    verify(hdfs, &node, &ledger, "faults");
    // One line when an outage begins and one when it is over, whatever was tried in between.
    let log = node.log();
    let outages = log.matches("hdfs does not work").count();
    assert!((1..=12).contains(&outages), "{outages} outages:\n{log}");
    assert!(log.lines().count() < 400, "{} lines:\n{log}", log.lines().count());
}

/// Waits until `status` says one of these, and nobody has to look further.
fn says(node: &Node, sentences: &[&str]) {
    eventually(&format!("status says {sentences:?}"), Duration::from_secs(60), || {
        let status = node.cli(&["status"]);
        let said = status.stdout.to_lowercase();
        let named = sentences.iter().any(|sentence| said.contains(sentence));
        if named && status.code() == 1 { Ok(()) } else { Err(status.stdout) }
    });
}

/// Waits until all is well again by itself.
fn works(node: &Node, after: &str) {
    eventually(&format!("well again after {after}"), Duration::from_secs(90), || {
        let status = node.cli(&["status"]);
        if status.code() == 0 { Ok(()) } else { Err(status.stdout) }
    });
}
