//! Lines in, the same lines out.

use deploy_acceptance::{Node, NodeOptions, Tree, eventually};
use std::time::Duration;

const DRAINED_WITHIN: Duration = Duration::from_secs(60);

/// A node that rolls every second, so that a test need not wait for the default 30 s.
pub(crate) fn quick_roll() -> NodeOptions {
    let config = r#"
[flow.default.sources.ingest]
type = "collector"
channels = ["main"]
[flow.default.channels.main]
type = "durable"
[flow.default.sinks.files]
type = "files"
channel = "main"
path = "${env:COLLECTOR_DATA_DIR}/files/default/%Y-%m-%d/%H%M"
roll_interval = "1s"
"#;
    NodeOptions { config: Some(config.to_owned()), ..NodeOptions::default() }
}

/// What `seq 1 n` prints.
pub(crate) fn seq(n: u64) -> Vec<u8> {
    (1..=n).flat_map(|number| format!("{number}\n").into_bytes()).collect()
}

#[test]
fn a_hundred_thousand_lines_come_out_byte_for_byte() {
    let node = Node::started();
    let lines = seq(100_000);
    let sent = node.cli_with_input(
        &["--output", "json", "send", "--ack", "committed", "--timeout", "120s"],
        &lines,
    );
    let answer = sent.expect(0).json();
    assert_eq!(answer["acked_events"], 100_000);
    assert!(Tree::read(&node.files()).concatenated() == lines, "the files are not what was sent");
    let audit = node.audit(true);
    assert_eq!(audit["balanced"], true, "{audit:#}");
    assert_eq!(audit["flows"][0]["in_files"], 100_000, "{audit:#}");
}

/// Sends what is open, or final already, when this returns: what a sink has not read stays in the log when
/// the node stops. Before, `done` events are to become final, and nothing else is open.
pub(crate) fn send_and_open(node: &Node, done: u32, lines: &[u8]) {
    let figures = || {
        let open = node.metric("collector_sink_open_files");
        (open > 0.0, node.metric("collector_sink_events_total"))
    };
    eventually("nothing is open", Duration::from_secs(30), || match figures() {
        (false, events) if events >= f64::from(done) => Ok(()),
        other => Err(other),
    });
    node.cli_with_input(&["send"], lines).expect(0);
    eventually("it is open or final", Duration::from_secs(30), || match figures() {
        (false, events) if events <= f64::from(done) => Err(events),
        _ => Ok(()),
    });
}

#[test]
fn a_clean_stop_leaves_nothing_open_and_a_restart_goes_on() {
    let mut node = Node::new(quick_roll());
    node.start();
    // The sink is at work once something of it is final.
    node.cli_with_input(&["send", "--ack", "committed"], &seq(1)).expect(0);
    send_and_open(&node, 1, &seq(1_000));
    node.stop().expect(0);
    let before = Tree::read(&node.files());
    assert_eq!(before.lines(), 1_001, "SIGTERM rolls what is open");
    node.start();
    node.cli_with_input(&["send"], &seq(1_000)).expect(0);
    node.drained(DRAINED_WITHIN);
    let after = Tree::read(&node.files());
    before.still_in(&after);
    assert_eq!(after.lines(), 2_001);
}

#[test]
fn a_node_that_is_still_starting_is_waited_for() {
    let mut node = Node::new(quick_roll());
    let admin = node.admin();
    let sending = std::thread::spawn(move || {
        let arguments = ["--endpoint", &admin, "send", "--ack", "committed"];
        deploy_acceptance::run_with_input("collector-cli", &arguments, &seq(100))
    });
    node.start();
    sending.join().expect("the sender").expect(0);
    assert_eq!(Tree::read(&node.files()).concatenated(), seq(100));
}

#[test]
fn the_example_of_the_sdk_emits_events() {
    let node = Node::started();
    let shown = deploy_acceptance::run("examples/emit", &[node.ingest()]).expect(0);
    assert_eq!(shown.stdout.lines().count(), 10, "{shown:?}");
    assert!(shown.stdout.contains("is local at offset"), "{shown:?}");
    node.drained(Duration::from_secs(60));
    assert_eq!(Tree::read(&node.files()).lines(), 10);
}
