//! What happens to an HDFS while it is written to, one thing after another.

use super::{load, node, verify};
use deploy_acceptance::{Hdfs, Node, eventually, full, pause, say};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Who writes: no superuser, so that permissions and quotas count.
const USER: &str = "alice";

/// How soon a fault is in `status`, and how soon after its end all is well.
const SAID_WITHIN: Duration = Duration::from_secs(90);
const WELL_WITHIN: Duration = Duration::from_secs(120);

/// Something that happens to the cluster, and is over after a while.
struct Fault {
    name: &'static str,
    begins: &'static [&'static [&'static str]],
    /// One of these is in `status`; none: the sink may get on without a word.
    says: &'static [&'static str],
    /// Seconds, in the normal test and in the long one.
    lasts: [u64; 2],
    ends: &'static [&'static [&'static str]],
}

const FAULTS: [Fault; 8] = [
    Fault {
        name: "a DataNode is killed",
        begins: &[&["kill-dn", "1"]],
        says: &[],
        lasts: [8, 60],
        ends: &[&["start-dn", "1"]],
    },
    Fault {
        name: "two DataNodes are killed at once",
        begins: &[&["kill-dn", "1"], &["kill-dn", "2"]],
        says: &["cannot be reached", "no answer"],
        lasts: [8, 60],
        ends: &[&["start-dn", "1"], &["start-dn", "2"]],
    },
    Fault {
        name: "a DataNode hangs",
        begins: &[&["pause-dn", "2"]],
        says: &["no answer"],
        lasts: [35, 180],
        ends: &[&["resume-dn", "2"]],
    },
    Fault {
        name: "the NameNode is killed",
        begins: &[&["kill-nn"]],
        says: &["cannot be reached", "no answer"],
        lasts: [10, 180],
        ends: &[&["start-nn"]],
    },
    Fault {
        name: "safe mode",
        begins: &[&["safemode", "enter"]],
        says: &["safe mode"],
        lasts: [6, 120],
        ends: &[&["safemode", "leave"]],
    },
    Fault {
        name: "all DataNodes are restarted",
        begins: &[&["kill-dn"]],
        says: &["cannot be reached", "no answer"],
        lasts: [0, 0],
        ends: &[&["start-dn"]],
    },
    Fault {
        name: "the quota of disk space is reached",
        begins: &[&["dfsadmin", "-setSpaceQuota", "1", "/faults"]],
        says: &["a quota is used up"],
        lasts: [4, 30],
        ends: &[&["dfsadmin", "-clrSpaceQuota", "/faults"]],
    },
    Fault {
        name: "the permission is taken",
        begins: &[&["fs", "-chmod", "000", "/faults/files"]],
        says: &["permission denied"],
        lasts: [4, 30],
        ends: &[&["fs", "-chmod", "755", "/faults/files"]],
    },
];

#[test]
fn no_fault_of_hdfs_loses_doubles_or_reorders_an_event() {
    let Some(hdfs) = Hdfs::shared() else { return };
    hdfs.fs(&["-mkdir", "-p", "/faults/files"]);
    hdfs.fs(&["-chown", "-R", USER, "/faults"]);
    let mut node = node(hdfs, "faults", &[("HADOOP_USER_NAME", USER)]);
    node.start();
    let ledger = node.folder().join("ledger");
    // Every fault may take its time to be said and to be over, and mostly does not.
    let lasts: u64 = FAULTS.iter().map(|fault| fault.lasts[usize::from(full())] + 30).sum();
    let seconds = lasts + if full() { 300 } else { 60 };
    let mut load = load(&node, &ledger, seconds, 2_000);
    eventually("files are made", Duration::from_secs(60), || {
        if node.metric("collector_sink_events_total") > 0.0 { Ok(()) } else { Err("none yet") }
    });
    for fault in &FAULTS {
        happens(hdfs, &node, fault);
        let still_running = load.ended().is_none();
        assert!(still_running, "the load ended before the end of: {}", fault.name);
    }
    let report = load.finish(Duration::from_secs(seconds + 120)).json();
    say(&format!("acknowledged in ms: {}", report["ack_ms"]));
    assert_eq!((&report["rejected"], &report["unknown"]), (&0.into(), &0.into()), "{report:#}");
    node.drained(Duration::from_secs(180));
    verify(hdfs, &node, &ledger, "faults");
    // One line when an outage begins and one when it is over, whatever was tried in between.
    let log = node.log();
    let outages = log.matches("hdfs does not work").count();
    say(&format!("{outages} outages in the log, for {} faults", FAULTS.len()));
    assert!((1..=16).contains(&outages), "{outages} outages:\n{log}");
    assert!(log.lines().count() < 400, "{} lines:\n{log}", log.lines().count());
}

/// Has it happen, listens to what `status` says meanwhile, and waits until all is well by itself.
fn happens(hdfs: &Hdfs, node: &Node, fault: &Fault) {
    let stored = node.metric("collector_log_put_records_total");
    let words = |commands: &[&[&str]]| {
        for command in commands {
            hdfs.xtask(command);
        }
    };
    words(fault.begins);
    let begun = Instant::now();
    let lasts = Duration::from_secs(fault.lasts[usize::from(full())]);
    let mut said = BTreeSet::new();
    let named = |said: &BTreeSet<String>| {
        let one = |sentence: &&str| said.iter().any(|line| line.contains(*sentence));
        fault.says.is_empty() || fault.says.iter().any(one)
    };
    eventually(&format!("{}: status says so", fault.name), SAID_WITHIN + lasts, || {
        let status = node.cli(&["--output", "json", "status"]);
        let reasons = status.json()["reasons"].as_array().cloned().unwrap_or_default();
        said.extend(reasons.iter().filter_map(|it| it.as_str()).map(without_numbers));
        assert_eq!(status.code(), i32::from(!reasons.is_empty()), "{status:#?}");
        let over = begun.elapsed() >= lasts && named(&said);
        pause(Duration::from_millis(500));
        if over { Ok(()) } else { Err(said.clone()) }
    });
    let now = node.metric("collector_log_put_records_total");
    assert!(now > stored, "nothing was taken in: {}", fault.name);
    words(fault.ends);
    let ended = Instant::now();
    eventually(&format!("well again after: {}", fault.name), WELL_WITHIN, || {
        let status = node.cli(&["status"]);
        if status.code() == 0 { Ok(()) } else { Err(status.stdout) }
    });
    say(&format!(
        "{}, {} s; well {} s after its end; status said:",
        fault.name,
        (ended - begun).as_secs(),
        ended.elapsed().as_secs()
    ));
    for sentence in &said {
        say(&format!("  {sentence}"));
    }
}

/// Ports, ids and counts differ from try to try.
fn without_numbers(sentence: &str) -> String {
    let mut text: String =
        sentence.chars().map(|it| if it.is_ascii_digit() { '#' } else { it }).collect();
    while text.contains("##") {
        text = text.replace("##", "#");
    }
    text
}
