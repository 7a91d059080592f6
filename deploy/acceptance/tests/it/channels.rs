//! Several channels on one flow.

use crate::send::seq;
use deploy_acceptance::{Node, NodeOptions, Tree, eventually};
use std::time::Duration;

/// Two required channels, one of whose sinks cannot deliver, and a small optional one that nobody can keep up with.
fn config(stuck: &std::path::Path) -> String {
    format!(
        r#"
[flow.default.sources.ingest]
type = "collector"
channels = ["main", "copy", "extra"]
selector = {{ type = "replicating", optional = ["extra"] }}
[flow.default.channels.main]
type = "durable"
[flow.default.channels.copy]
type = "durable"
capacity = "4MiB"
[flow.default.channels.extra]
type = "durable"
capacity = "64KiB"
[flow.default.sinks.files]
type = "files"
channel = "main"
path = "${{env:COLLECTOR_DATA_DIR}}/files/default/%Y-%m-%d/%H%M"
roll_interval = "1s"
[flow.default.sinks.copy]
type = "files"
channel = "copy"
path = "{stuck}/files/copy/%Y-%m-%d/%H%M"
roll_interval = "1s"
[flow.default.sinks.extra]
type = "files"
channel = "extra"
path = "{stuck}/files/extra/%Y-%m-%d/%H%M"
roll_interval = "1s"
"#,
        stuck = stuck.display()
    )
}

#[test]
fn a_stuck_sink_stops_its_own_channel_only_until_the_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    // A file where a directory must be: the two sinks below it are stuck from the start.
    let stuck = folder.path().join("stuck");
    std::fs::write(&stuck, b"").expect("write");
    let mut node =
        Node::new(NodeOptions { config: Some(config(&stuck)), ..NodeOptions::default() });
    node.start();
    node.cli_with_input(&["send"], &seq(20_000)).expect(0);
    // Three channels have it, the log has it once.
    let (puts, blocks) = (log_puts(&node), node.metric("collector_ingest_blocks_total"));
    assert!(puts > 0.0 && puts == blocks, "{puts} records for {blocks} blocks");
    let in_channels = node.metric("collector_channel_put_events_total")
        + node.metric("collector_channel_dropped_events_total");
    assert_eq!(in_channels, 60_000.0, "each in each");
    eventually("the other sink goes on", Duration::from_secs(30), || {
        let lines = Tree::read(&node.files()).lines();
        if lines == 20_000 { Ok(()) } else { Err(lines) }
    });
    // Until the limit of the stuck one: then the put is refused, and is in none.
    let long: Vec<u8> =
        (0..8_000).flat_map(|_| [vec![b'y'; 1_000], vec![b'\n']].concat()).collect();
    let sent = node.cli_with_input(&["--output", "json", "send", "--timeout", "3s"], &long);
    assert_eq!(sent.code(), 1, "the required channel is full: {sent:?}");
    std::fs::remove_file(&stuck).expect("remove");
    std::fs::create_dir(&stuck).expect("make");
    let audit = node.drained(Duration::from_secs(120));
    let row = |channel: &str| {
        audit["flows"]
            .as_array()
            .expect("rows")
            .iter()
            .find(|row| row["channel"] == channel)
            .unwrap_or_else(|| panic!("a row of {channel}: {audit:#}"))
            .clone()
    };
    assert_eq!(row("main")["stored"], row("copy")["stored"], "a refused put is in none: {audit:#}");
    assert!(
        row("extra")["dropped"].as_u64() > Some(0),
        "the optional one drops and counts: {audit:#}"
    );
}

/// Records of puts in the log.
fn log_puts(node: &Node) -> f64 {
    let (_, text) = node.get("/metrics");
    let put = |line: &&str| {
        line.starts_with("collector_log_put_records_total{") && line.contains("\"put\"")
    };
    text.lines().filter(put).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}
