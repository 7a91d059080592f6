//! Files on a real HDFS.

mod buckets;
mod by_hand;
mod contract;
mod failover;
mod faults;
mod kerberos;
mod kill;
mod named_steps;
mod outage;
mod send;
mod zombies;

use deploy_acceptance::{Hdfs, Node, NodeOptions, Running, eventually, program, run};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Of the flow `default`.
const SHARDS: usize = 8;

/// A node whose files go below `hdfs://…/NAME` and roll every second.
fn node(hdfs: &Hdfs, name: &str, more: &[(&str, &str)]) -> Node {
    let config = config(hdfs, name);
    let mut environment = hdfs.environment();
    environment.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    Node::new(NodeOptions { config: Some(config), environment, ..NodeOptions::default() })
}

/// The flow of such a node.
fn config(hdfs: &Hdfs, name: &str) -> String {
    let url = hdfs.url();
    format!(
        r#"
[flow.default.sources.ingest]
type = "collector"
channels = ["main"]
[flow.default.channels.main]
type = "durable"
[flow.default.sinks.files]
type = "files"
channel = "main"
path = "{url}/{name}/files/%Y-%m-%d/%H%M"
roll_interval = "1s"
"#
    )
}

/// Load that goes on for so long, with a ledger of what was acknowledged.
fn load(node: &Node, ledger: &Path, seconds: u64, rate: u64) -> Running {
    let (seconds, rate) = (seconds.to_string(), rate.to_string());
    let words = ["--output", "json", "run", "--seconds", &seconds, "--rate", &rate];
    let mut command = Command::new(program("collector-loadtest"));
    command
        .args(words)
        .args(["--body-bytes", "200", "--batch-events", "100", "--ack", "local"])
        .args(["--endpoint", &node.ingest(), "--ledger"])
        .arg(ledger);
    Running::start(&mut command)
}

/// Fails unless what was acknowledged is in the files once and in order, the books balance, and
/// nothing unfinished has a name that a job would read.
fn verify(hdfs: &Hdfs, node: &Node, ledger: &Path, name: &str) -> serde_json::Value {
    let (_folder, files) = hdfs.download(&format!("/{name}/files"));
    let words = ["--output", "json", "verify", "--ledger"].map(std::ffi::OsStr::new);
    let mut words = words.to_vec();
    words.extend([ledger.as_os_str(), "--files".as_ref(), files.as_os_str()]);
    let verified = run("collector-loadtest", &words).json();
    for what in ["lost", "duplicated", "reordered", "corrupt"] {
        assert_eq!(verified[what], 0, "{verified:#}\n{}", node.log());
    }
    let audit = node.audit(true);
    assert_eq!(audit["balanced"], true, "{audit:#}");
    let names = hdfs.fs(&["-ls", "-R", "-C", &format!("/{name}/files")]);
    for path in names.lines().filter(|path| !path.contains("/.") && !path.contains("/_")) {
        let last = path.rsplit('/').next().unwrap_or_default();
        let directory = last.chars().all(|it| it.is_ascii_digit() || it == '-');
        assert!(directory || last.starts_with("events."), "an unfinished name: {path}");
    }
    verified
}

/// Fails if staging has more than a directory for each shard, whose lineage has one living token.
fn no_staging_but_of_living_tokens(hdfs: &Hdfs, name: &str) {
    let staging = format!("/{name}/files/.staging");
    // cluster / flow / sink / lineage / token
    let depth = staging.matches('/').count() + 5;
    // A drain that has ended cleans up after the last file is final.
    eventually("only living tokens have staging", Duration::from_secs(20), || {
        let listed = hdfs.fs(&["-ls", "-R", "-C", &staging]);
        let tokens = listed.lines().filter(|path| path.matches('/').count() == depth).count();
        if tokens <= SHARDS { Ok(()) } else { Err(listed) }
    });
}
