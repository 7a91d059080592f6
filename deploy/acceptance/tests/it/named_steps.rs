//! The node dies at each of its named steps, before and after it, under load.
//!
//! Another process of the build with fail points (`sdk/failpoints`) is started each time, with the step at which it is
//! to end in its environment. One that does not get there is a failure with the step's name: else a step that nobody
//! reaches any more would look like one that is survived.

use deploy_acceptance::{
    Node, NodeOptions, Running, Tree, eventually, failpoints, final_files, full, program, rounds,
    say, stopped,
};
use sdk_failpoints::{Side, Step};
use sdk_files::name::FinalName;
use std::collections::BTreeMap;
use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a process may take until it gets to its step.
pub(crate) const REACHED_WITHIN: Duration = Duration::from_secs(60);
/// A drained lineage's staging is gone a moment after the books balance.
const CLEARED_WITHIN: Duration = Duration::from_secs(30);
/// What a node ends with whose log takes no writes any more.
pub(crate) const LOG_DEAD: i32 = 70;
/// How `abort` ends a process: nothing is flushed or told, as with `kill -9`.
const ABORTED: i32 = 6;
/// Segments so small that some are freed in each life.
const LOG: &str = "[node.log]\nquota = \"64MiB\"\nsegment = \"1MiB\"\nfree_min = \"0\"\n";
/// Each life leaves as many lineages to the next one.
const SHARDS: &str = "[flow.default]\nshards = 2\n";

/// A node of the build with fail points.
pub(crate) fn node(options: NodeOptions) -> Node {
    let config = options.config.unwrap_or_default();
    let config = Some(format!("{LOG}{SHARDS}{config}"));
    let program = Some(failpoints("collector-server"));
    Node::new(NodeOptions { config, program, ..options })
}

/// Kills a node once per round at each step and side, while there is load; what comes out in the end
/// is in its files and in the ledger.
pub(crate) fn kill_everywhere(node: &mut Node, ledger: &Path, rounds: Range<u64>, rate: &str) {
    // A cluster is made once: what is killed are nodes that have a past.
    node.start();
    let load = load(&[node], ledger, rate);
    node.under_load();
    node.kill();
    let (mut kills, mut slowest) = (0_u64, Duration::ZERO);
    for round in rounds {
        for (at, step) in (0..).zip(Step::ALL) {
            for side in Side::ALL {
                if *step == Step::Trim {
                    leave_segments(node);
                }
                let nth = 1 + (round * 7 + at * 5) % passings(*step);
                slowest = slowest.max(kill_at(node, *step, *side, nth));
                kills += 1;
            }
        }
    }
    node.start();
    load.signal("INT");
    let report = load.finish(Duration::from_secs(120)).json();
    assert!(report["acked_events"].as_u64() > Some(0), "{report:#}");
    node.drained(Duration::from_secs(120));
    let acked = &report["acked_events"];
    let steps = Step::ALL.len();
    say(&format!("{kills} kills at {steps} steps, slowest life {slowest:.1?}, {acked} acked"));
}

/// One life that fills segments, so that the next one has some to free: it would have none of its own in
/// a minute, since admission is rebuilt from all that came after its last checkpoint.
pub(crate) fn leave_segments(node: &mut Node) {
    node.start();
    eventually("a third segment", REACHED_WITHIN, || {
        let segments = node.metric("collector_log_segments");
        if segments >= 3.0 { Ok(()) } else { Err(segments) }
    });
    node.kill();
}

/// One life, which ends at its step. How long it took.
fn kill_at(node: &mut Node, step: Step, side: Side, nth: u64) -> Duration {
    let place = format!("{}.{}", step.name(), side.name());
    let begun = Instant::now();
    node.spawn_with(&[("COLLECTOR_FAIL", &format!("{place}:{nth}=kill"))]);
    let what = format!("passing {nth} of {place} is reached");
    let status =
        eventually(&what, REACHED_WITHIN, || node.process().ended().ok_or("it runs still"));
    let log = node.log();
    let end: Vec<&str> = log.lines().rev().take(20).collect();
    let killed = end.iter().any(|line| line.contains(&format!("killed at {place}")));
    assert!(
        status.signal() == Some(ABORTED) && killed,
        "{status} instead of {what}:\n{}",
        end.into_iter().rev().collect::<Vec<_>>().join("\n")
    );
    begun.elapsed()
}

/// One life that falls asleep at a place (`STEP.SIDE:NTH`). Returns when it sleeps.
pub(crate) fn sleep_at(node: &mut Node, place: &str) {
    node.spawn_with(&[("COLLECTOR_FAIL", &format!("{place}=pause"))]);
    eventually(&format!("it sleeps at {place}"), REACHED_WITHIN, || {
        let ended = node.process().ended();
        assert_eq!(ended, None, "it did not get to {place}:\n{}", node.log());
        if stopped(node.process().pid()) { Ok(()) } else { Err("it is awake") }
    });
}

/// At which of its passings a step may be the last: so many come in each life.
pub(crate) fn passings(step: Step) -> u64 {
    match step {
        // The life before may have died at its first Acquire, or with one segment to free.
        Step::Seal | Step::Snapshot | Step::Fence | Step::Trim => 1,
        Step::Open | Step::Acquire | Step::Mkdir => 2,
        _ => 10,
    }
}

/// Load that goes on until it is interrupted, on whichever of the nodes takes it.
pub(crate) fn load(nodes: &[&Node], ledger: &Path, rate: &str) -> Running {
    let mut command = Command::new(program("collector-loadtest"));
    command
        .args(["--output", "json", "run", "--seconds", "86400", "--rate", rate])
        .args(["--body-bytes", "200", "--batch-events", "100", "--ack", "local"])
        .args(nodes.iter().flat_map(|node| ["--endpoint".to_owned(), node.ingest()]))
        .arg("--ledger")
        .arg(ledger);
    Running::start(&mut command)
}

/// Fails if a name that a job would read is not that of a final file.
pub(crate) fn only_finals<'a>(names: impl Iterator<Item = &'a str>) {
    for name in names {
        assert!(FinalName::parse(name).is_some(), "an unfinished name: {name}");
    }
}

/// Waits until no lineage has the staging directory of more than one token, and no shard those of more
/// than one lineage: all others were fenced, or are drained. Paths are `LINEAGE/TOKEN`.
pub(crate) fn only_living_tokens(list: impl Fn() -> Vec<String>) {
    eventually("only living tokens have staging", CLEARED_WITHIN, || {
        let mut living: BTreeMap<String, String> = BTreeMap::new();
        for path in list() {
            let (lineage, token) = path.split_once('/').expect("a lineage and a token");
            let (shard, _) = lineage.split_once('-').expect("a shard and an epoch");
            if !token.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(format!("{path} is no token's"));
            }
            if let Some(other) = living.insert(shard.to_owned(), path.clone()) {
                return Err(format!("{other} and {path}"));
            }
        }
        Ok(())
    });
}

/// What is two levels below a directory, as `A/B`.
fn two_below(folder: &Path) -> Vec<String> {
    let names = |folder: &Path| -> Vec<PathBuf> {
        // What goes while it is looked at is gone.
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
    };
    let below = names(folder).into_iter().flat_map(|folder| names(&folder));
    let path = |path: PathBuf| {
        let from = path.strip_prefix(folder).expect("it is below");
        from.to_string_lossy().into_owned()
    };
    below.map(path).collect()
}

#[test]
fn a_kill_at_no_step_loses_or_doubles_an_event() {
    let mut node = node(crate::send::quick_roll());
    let ledger = node.folder().join("ledger");
    let rounds = if full() { rounds(1, 16) } else { 0..1 };
    kill_everywhere(&mut node, &ledger, rounds, "3000");
    node.verified(&ledger);
    let files = node.files();
    let audit = node.audit(true);
    assert_eq!(audit["balanced"], true, "{audit:#}");
    let finals = final_files(&files);
    only_finals(finals.iter().filter_map(|path| path.file_name()?.to_str()));
    assert!(Tree::read(&files).lines() > 0);
    // cluster / flow / sink
    for cluster_flow in two_below(&files.join(".staging")) {
        let flow = files.join(".staging").join(cluster_flow);
        for sink in std::fs::read_dir(&flow).expect("list staging") {
            let sink = sink.expect("list staging").path();
            only_living_tokens(|| two_below(&sink));
        }
    }
}

#[test]
fn a_node_whose_disk_goes_while_it_starts_ends_as_one_whose_log_is_dead() {
    let mut node = node(crate::send::quick_roll());
    node.start();
    node.kill();
    // Of Raft's log and of the events', before it accepts and a little after.
    for flush in 1..=8 {
        sleep_at(&mut node, &format!("flush.before:{flush}"));
        node.process().signal("CONT");
        let ended = || node.process().ended().ok_or("it runs");
        let status = eventually("it ends", Duration::from_secs(30), ended);
        assert_eq!(status.code(), Some(LOG_DEAD), "flush {flush}:\n{}", node.log());
    }
}

#[test]
fn a_normal_build_has_nothing_of_it() {
    let has = |program: PathBuf| {
        let bytes = std::fs::read(program).expect("read a program");
        bytes.windows(14).any(|bytes| bytes == b"COLLECTOR_FAIL")
    };
    assert!(has(failpoints("collector-server")));
    assert!(!has(program("collector-server")));
}

#[test]
fn an_unknown_step_is_refused_at_the_start() {
    let mut node = node(crate::send::quick_roll());
    node.spawn_with(&[("COLLECTOR_FAIL", "renam.after=kill")]);
    let ended = || node.process().ended().ok_or("it runs");
    let status = eventually("it is refused", Duration::from_secs(30), ended);
    assert_eq!(status.code(), Some(64));
    assert!(node.log().contains("\"renam\" is none of put, flush"), "{}", node.log());
}
