//! `collector-cli status`: well, not well and why, not there.

use crate::send::{quick_roll, seq};
use deploy_acceptance::{Node, NodeOptions, Tree, eventually, need, run, skip, wait_for};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

#[test]
fn a_healthy_node_is_0_and_nothing_listening_is_2() {
    let node = Node::started();
    let status = node.cli(&["--output", "json", "status"]).expect(0).json();
    assert_eq!(status["healthy"], true, "{status:#}");
    for field in ["healthy", "reasons", "cluster", "nodes", "flows", "sinks", "penalties", "disks"]
    {
        assert!(status.get(field).is_some(), "{field} is missing: {status:#}");
    }
    run("collector-cli", &["--endpoint", "http://127.0.0.1:1", "status"]).expect(2);
}

#[test]
fn a_read_only_directory_is_1_with_the_reason_and_heals_by_itself() {
    if need("chattr", "apt-get install e2fsprogs").is_none() {
        return;
    }
    let mut node = Node::new(quick_roll());
    node.start();
    node.cli_with_input(&["send"], &seq(1_000)).expect(0);
    node.drained(Duration::from_secs(60));
    let lock = Immutable::new(&node.files());
    let Some(lock) = lock else {
        skip("this file system has no immutable flag");
        return;
    };
    node.cli_with_input(&["send"], &seq(2_000)).expect(0);
    let reasons = eventually("the node says so", Duration::from_secs(90), || {
        let answer = node.cli(&["--output", "json", "status"]);
        if answer.code() == 1 { Ok(answer.json()["reasons"].clone()) } else { Err(answer) }
    });
    assert!(reasons.to_string().contains("files"), "a sentence that names the sink: {reasons}");
    drop(lock);
    node.drained(Duration::from_secs(120));
    wait_for("the node is healthy again", Duration::from_secs(60), || {
        node.cli(&["status"]).code() == 0
    });
    let lines = sorted(&Tree::read(&node.files()).concatenated());
    let sent = sorted(&[seq(1_000), seq(2_000)].concat());
    assert!(lines == sent, "nothing lost, nothing twice");
}

fn sorted(lines: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<_> = lines.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_penalty_is_1_with_the_reason_until_the_sink_works_again() {
    let disks = tempfile::tempdir().expect("a folder");
    let (first, spare) = (disks.path().join("first"), disks.path().join("spare"));
    std::fs::write(&first, b"").expect("write");
    let config = r#"
[flow.default.sources.ingest]
type = "collector"
channels = ["main"]
[flow.default.channels.main]
type = "durable"
[flow.default.groups.out]
type = "failover"
max_penalty = "2s"
sinks = { first = 10, spare = 5 }
[flow.default.sinks.first]
type = "files"
channel = "main"
path = "DISKS/first/%Y-%m-%d"
roll_interval = "1s"
[flow.default.sinks.spare]
type = "files"
channel = "main"
path = "DISKS/spare/%Y-%m-%d"
roll_interval = "1s"
"#;
    let config = Some(config.replace("DISKS", disks.path().to_str().expect("a path")));
    let mut node = Node::new(NodeOptions { config, ..NodeOptions::default() });
    node.start();
    node.cli_with_input(&["send", "--ack", "committed"], &seq(100)).expect(0);
    assert_eq!(Tree::read(&spare).lines(), 100, "the spare has them");
    eventually("status says so", Duration::from_secs(60), || {
        let status = node.cli(&["--output", "json", "status"]);
        let said = status.stdout.contains("sink default/first is left alone for");
        if said && status.code() == 1 { Ok(()) } else { Err(status) }
    });
    let penalties = node.cli(&["penalties"]).expect(0);
    assert!(penalties.stdout.contains("first"), "{penalties:?}");
    std::fs::remove_file(&first).expect("remove");
    wait_for("the first is in use again", Duration::from_secs(60), || {
        node.cli_with_input(&["send"], b"again\n").expect(0);
        Tree::read(&first).lines() > 0
    });
    wait_for("the node is healthy again", Duration::from_secs(60), || {
        node.cli(&["status"]).code() == 0
    });
}

/// Makes every directory below one immutable until dropped: root writes through mode bits.
struct Immutable {
    directories: Vec<std::path::PathBuf>,
}

impl Immutable {
    fn new(root: &Path) -> Option<Self> {
        let directories = directories(root);
        let lock = Self { directories };
        lock.directories.iter().all(|directory| chattr("+i", directory)).then_some(lock)
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        for directory in &self.directories {
            chattr("-i", directory);
        }
    }
}

fn chattr(flag: &str, path: &Path) -> bool {
    Command::new("chattr").arg(flag).arg(path).status().is_ok_and(|status| status.success())
}

/// A directory and those below it, the deepest first.
fn directories(root: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in root.read_dir().into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(directories(&entry.path()));
        }
    }
    found.push(root.to_owned());
    found
}
