//! The ways out: each command that gets a node out of something it cannot get out of by itself.

use crate::send::{quick_roll, seq};
use deploy_acceptance::{Node, NodeOptions, Running, Tree, eventually, program, wait_for};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// A node of one shard whose files go into a directory per header `app`.
fn by_app() -> Node {
    let config = r#"
[flow.default]
shards = 1
[flow.default.sources.ingest]
type = "collector"
channels = ["main"]
[flow.default.channels.main]
type = "durable"
[flow.default.sinks.files]
type = "files"
channel = "main"
path = "${env:COLLECTOR_DATA_DIR}/files/default/%{app}"
roll_interval = "1s"
"#;
    Node::new(NodeOptions { config: Some(config.to_owned()), ..NodeOptions::default() })
}

fn one_shard() -> Node {
    let quick = quick_roll();
    let config =
        format!("[flow.default]\nshards = 1\n{}", quick.config.clone().unwrap_or_default());
    Node::new(NodeOptions { config: Some(config), ..quick })
}

#[test]
fn a_bucket_whose_directory_cannot_be_made_is_resolved_when_it_can() {
    let mut node = by_app();
    node.start();
    node.cli_with_input(&["send", "--header", "app=ok"], &seq(10)).expect(0);
    node.drained(SOON);
    // A file stands where the directory must be.
    let blocker = node.files().join("shop");
    std::fs::write(&blocker, b"").expect("write");
    node.cli_with_input(&["send", "--header", "app=shop"], &seq(100)).expect(0);
    node.cli_with_input(&["send", "--header", "app=ok"], &seq(10)).expect(0);
    let bucket = eventually("the bucket is set aside", SOON, || {
        let buckets = node.cli(&["--output", "json", "buckets"]).json();
        let found = buckets["buckets"]
            .as_array()
            .and_then(|all| all.iter().find(|it| it["state"] == "quarantined").cloned());
        found.ok_or(buckets)
    });
    wait_for("status says so", SOON, || {
        let status = node.cli(&["--output", "json", "status"]);
        status.code() == 1 && status.json()["reasons"].to_string().contains("shop")
    });
    assert!(!bucket["reason"].as_str().unwrap_or_default().is_empty(), "{bucket:#}");
    wait_for("the others go on", SOON, || Tree::read(&node.files().join("ok")).lines() == 20);
    let text = |field: &str| bucket[field].as_str().expect("a text").to_owned();
    let (lineage, directory) = (text("lineage"), text("directory"));
    let resolve = ["buckets", "resolve", "default", "files", &lineage, &directory];
    node.cli(&["buckets", "resolve", "default", "files", &lineage, "/no/such"]).expect(1);
    std::fs::remove_file(&blocker).expect("remove");
    node.cli(&resolve).expect(0);
    let audit = node.drained(SOON);
    assert_eq!(audit["flows"][0]["in_files"], 120, "{audit:#}");
    assert_eq!(Tree::read(&node.files().join("shop")).concatenated(), seq(100));
    wait_for("the node is healthy again", SOON, || node.cli(&["status"]).code() == 0);
    node.cli(&resolve).expect(1);
}

#[test]
fn a_root_without_its_marker_is_adopted() {
    let mut node = one_shard();
    node.start();
    node.cli_with_input(&["send"], &seq(100)).expect(0);
    node.drained(SOON);
    let nothing = node.cli(&["sinks", "adopt-root", "default", "files"]).expect(1);
    assert!(nothing.stderr.contains("nothing to adopt"), "{nothing:?}");
    node.stop().expect(0);
    std::fs::remove_file(node.files().join(".collector-root")).expect("remove the marker");
    node.start();
    node.cli_with_input(&["send"], &seq(200)).expect(0);
    eventually("status says that the marker is gone", SOON, || {
        let status = node.cli(&["--output", "json", "status"]);
        let said = status.code() == 1 && status.stdout.contains("marker");
        if said { Ok(()) } else { Err(status) }
    });
    assert_eq!(
        Tree::read(&node.files()).lines(),
        100,
        "nothing goes where nobody knows what it is"
    );
    node.cli(&["sinks", "adopt-root", "default", "files"]).expect(0);
    let audit = node.drained(SOON);
    assert_eq!(audit["flows"][0]["in_files"], 300, "{audit:#}");
    assert_eq!(Tree::read(&node.files()).lines(), 300, "nothing lost, nothing twice");
    wait_for("the node is healthy again", SOON, || node.cli(&["status"]).code() == 0);
}

#[test]
fn a_lineage_that_is_given_up_is_lost_and_said_to_be() {
    let mut node = one_shard();
    let blocker = node.with_stuck_sinks();
    node.start();
    // A producer that wants its lines in files, and waits.
    let mut waiting = Command::new(program("collector-cli"))
        .args(["--endpoint", &node.admin(), "send", "--ack", "committed", "--timeout", "120s"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start collector-cli");
    let mut lines = waiting.stdin.take().expect("its input");
    lines.write_all(&seq(500)).expect("write");
    drop(lines);
    wait_for("the lines are stored", SOON, || stored(&node) == 500);
    let first = lineage_of(&node);
    let current = node.cli(&["lineages", "abandon", &first, "--yes"]).expect(1);
    assert!(current.stderr.contains("current lineage"), "{current:?}");
    // A start seals what the process before it has written, and opens the next lineage.
    node.kill();
    node.start();
    node.cli_with_input(&["send"], &seq(50)).expect(0);
    let only_said = node.cli(&["lineages", "abandon", &first]).expect(1);
    assert!(only_said.stdout.contains("--yes"), "{only_said:?}");
    let given_up =
        node.cli(&["--output", "json", "lineages", "abandon", &first, "--yes"]).expect(0);
    assert!(given_up.json()["lost_events"].as_u64() >= Some(500), "{given_up:?}");
    let told = waiting.wait_with_output().expect("wait for the producer");
    let said = String::from_utf8_lossy(&told.stderr).into_owned();
    assert_eq!(told.status.code(), Some(1), "{said}");
    assert!(said.contains("given up") || said.contains("lost"), "{said}");
    std::fs::remove_file(&blocker).expect("remove");
    let audit = node.drained(SOON);
    let row = &audit["flows"][0];
    assert_eq!(
        (&row["stored"], &row["lost"], &row["in_files"]),
        (&550.into(), &500.into(), &50.into())
    );
    assert_eq!(Tree::read(&node.files()).concatenated(), seq(50));
    let gone = node.cli(&["lineages", "abandon", &first, "--yes"]).expect(1);
    assert!(gone.stderr.contains("no such lineage"), "{gone:?}");
    node.cli(&["lineages", "abandon", "1/2", "--yes"]).expect(1);
}

fn stored(node: &Node) -> u64 {
    node.audit(false)["flows"][0]["stored"].as_u64().unwrap_or(0)
}

/// The lineage that the node's events are in.
fn lineage_of(node: &Node) -> String {
    let data = node.data_dir().display().to_string();
    let dump = node.cli(&["wal", "dump", "--data-dir", &data]).expect(0);
    let records =
        dump.stdout.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let put = records.into_iter().find(|record| record["kind"] == "put").expect("a put");
    put["lineage"].as_str().expect("a lineage").to_owned()
}

#[test]
fn a_tap_of_three_events_ends_after_three() {
    let node = Node::started();
    let mut tap = Running::start(Command::new(program("collector-cli")).args([
        "--endpoint",
        &node.admin(),
        "tap",
        "--limit",
        "3",
    ]));
    // A tap shows what is stored after it began: events come until it has what it asked for.
    wait_for("it has ended", SOON, || {
        node.cli_with_input(&["send", "--header", "app=shop"], b"one\ntwo\n").expect(0);
        tap.ended().is_some()
    });
    let shown = tap.finish(SOON).expect(0);
    assert_eq!(shown.stdout.lines().count(), 3, "{shown:?}");
    assert!(shown.stdout.lines().all(|line| line.contains("app=shop")), "{shown:?}");
}
