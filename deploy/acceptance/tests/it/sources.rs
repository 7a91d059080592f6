//! Sources that run on the node itself come and go with `flows apply`.

use deploy_acceptance::{Node, NodeOptions, Tree, eventually, pause, wait_for};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

const FLOW: &str = r#"
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
path = "FILES/%Y-%m-%d/%H%M"
roll_interval = "1s"
"#;

fn apply(node: &Node, flow: &str) {
    let file = node.folder().join("flow.toml");
    std::fs::write(&file, flow).expect("write");
    node.cli(&["flows", "apply", file.to_str().expect("a path")]).expect(0);
}

fn append(log: &Path, lines: std::ops::Range<u32>) {
    let mut file =
        std::fs::OpenOptions::new().create(true).append(true).open(log).expect("open the log");
    for line in lines {
        writeln!(file, "line {line}").expect("write");
    }
}

#[test]
fn a_source_that_is_applied_starts_and_one_that_is_removed_stops() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = folder.path().join("files");
    let flow = FLOW.replace("FILES", &files.display().to_string());
    let mut node = Node::new(NodeOptions { config: Some(flow.clone()), ..NodeOptions::default() });
    node.start();
    let log = node.folder().join("access.log");
    append(&log, 0..100);
    let tailing = format!(
        "{flow}\n[flow.default.sources.log]\ntype = \"taildir\"\nchannels = [\"main\"]\n\
         filegroups = {{ a = \"{}\" }}\npoll_interval = \"100ms\"\n",
        log.display()
    );
    let arrived = |count: u32| {
        let expected: Vec<u8> =
            (0..count).flat_map(|line| format!("line {line}\n").into_bytes()).collect();
        eventually("the lines arrive", SOON, || {
            let found = Tree::read(&files).concatenated();
            if found == expected { Ok(()) } else { Err(found.len()) }
        });
    };
    apply(&node, &tailing);
    arrived(100);
    append(&log, 100..200);
    arrived(200);
    apply(&node, &flow);
    append(&log, 200..300);
    pause(Duration::from_secs(2));
    arrived(200);
    // Back again it goes on where it was.
    apply(&node, &tailing);
    arrived(300);
    // With other interceptors, or another start of the node, too.
    let stamped = format!(
        "{tailing}interceptors = [\"app\"]\n[flow.default.interceptors.app]\ntype = \"static\"\n\
         key = \"app\"\nvalue = \"web\"\n"
    );
    apply(&node, &stamped);
    append(&log, 300..400);
    arrived(400);
    node.kill();
    append(&log, 400..500);
    node.start();
    arrived(500);
    wait_for("the books balance", SOON, || node.audit(true)["balanced"] == true);
}
