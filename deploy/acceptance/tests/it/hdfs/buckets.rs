//! Ten thousand files at once, on a file system that does not bear so many open ones.

use deploy_acceptance::{Hdfs, Node, NodeOptions, eventually, say};
use std::fmt::Write;
use std::time::{Duration, Instant};

const BUCKETS: usize = 10_000;
const DIRECTORIES: usize = 200;

/// Events of each bucket, a whole round of all of them apart.
const ROUNDS: usize = 3;

/// Writers that may be open, and bytes in memory.
const OPEN_MAX: f64 = 32.0;
const RESIDENT_MAX: u64 = 512 << 20;

/// From the first event on.
const STORED_WITHIN: Duration = Duration::from_secs(60);
const FINAL_WITHIN: Duration = Duration::from_secs(300);

#[test]
fn ten_thousand_buckets_have_few_open_writers_and_are_final_in_time() {
    let Some(hdfs) = Hdfs::shared() else { return };
    let config = format!(
        r#"
[flow.default.sources.ingest]
type = "collector"
channels = ["main"]
interceptors = ["where"]
[flow.default.interceptors.where]
type = "regex_extractor"
regex = '^(\d+) (\d+) '
serializers = [{{ name = "directory" }}, {{ name = "bucket" }}]
[flow.default.channels.main]
type = "durable"
[flow.default.sinks.files]
type = "files"
channel = "main"
path = "{}/buckets/files/%{{directory}}"
file_prefix = "%{{bucket}}"
roll_interval = "1m"
"#,
        hdfs.url()
    );
    let environment = hdfs.environment();
    let mut node =
        Node::new(NodeOptions { config: Some(config), environment, ..NodeOptions::default() });
    node.start();
    let mut lines = String::new();
    for round in 0..ROUNDS {
        for bucket in 0..BUCKETS {
            writeln!(lines, "{} {bucket} round {round}", bucket % DIRECTORIES).expect("a line");
        }
    }
    let begun = Instant::now();
    let events = BUCKETS * ROUNDS;
    let answer = node.cli_with_input(&["--output", "json", "send"], lines.as_bytes());
    assert_eq!(answer.expect(0).json()["acked_events"], events);
    let stored = begun.elapsed();
    assert!(stored < STORED_WITHIN, "stored after {stored:?}");
    let (mut open, mut resident) = (0_f64, 0);
    eventually("all are final", FINAL_WITHIN.saturating_sub(stored), || {
        open = open.max(node.metric("collector_sink_open_files"));
        resident = resident.max(node.resident_bytes());
        let done = node.metric("collector_sink_events_total");
        if done as usize >= events { Ok(()) } else { Err(format!("{done} of {events}")) }
    });
    say(&format!(
        "{BUCKETS} buckets: stored in {:.1} s, final after {:.1} s; {open} open writers, {} MiB at most",
        stored.as_secs_f64(),
        begun.elapsed().as_secs_f64(),
        resident >> 20
    ));
    assert!(open <= OPEN_MAX, "{open} writers");
    assert!(resident <= RESIDENT_MAX, "{resident} bytes");
    assert!(node.metric("collector_sink_files_final_total") >= BUCKETS as f64);
    let audit = node.audit(true);
    assert_eq!(
        (&audit["balanced"], &audit["flows"][0]["in_files"]),
        (&true.into(), &events.into())
    );
    let counted = hdfs.fs(&["-count", "/buckets/files"]);
    let files: usize =
        counted.split_whitespace().nth(1).and_then(|it| it.parse().ok()).expect("a number");
    assert!(files >= BUCKETS, "{counted}");
}
