//! Files in every format, read by those who did not write them.

use deploy_acceptance::{Hadoop, Node, NodeOptions, Tree, final_files, need, run};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Sinks by name, with what makes their format. All have every event.
const STREAMS: [(&str, &str); 7] = [
    ("text", r#"file_type = "data_stream""#),
    ("gzip", r#"codec = "gzip""#),
    ("bzip2", r#"codec = "bzip2""#),
    ("deflate", r#"codec = "deflate""#),
    ("snappy", r#"codec = "snappy""#),
    ("lz4", r#"codec = "lz4""#),
    ("zstd", r#"codec = "zstd""#),
];

/// `Text` values but in the first.
const SEQUENCES: [(&str, &str); 8] = [
    ("seq-writable", r#"file_type = "sequence_file""#),
    ("seq", r#"file_type = { type = "sequence_file", write_format = "text" }"#),
    (
        "seq-gzip",
        r#"codec = "gzip"
           file_type = { type = "sequence_file", write_format = "text" }"#,
    ),
    (
        "seq-gzip-record",
        r#"codec = "gzip"
           file_type = { type = "sequence_file", write_format = "text", compression = "record" }"#,
    ),
    (
        "seq-bzip2",
        r#"codec = "bzip2"
           file_type = { type = "sequence_file", write_format = "text" }"#,
    ),
    (
        "seq-deflate",
        r#"codec = "deflate"
           file_type = { type = "sequence_file", write_format = "text" }"#,
    ),
    (
        "seq-snappy",
        r#"codec = "snappy"
           file_type = { type = "sequence_file", write_format = "text" }"#,
    ),
    (
        "seq-lz4",
        r#"codec = "lz4"
           file_type = { type = "sequence_file", write_format = "text", compression = "record" }"#,
    ),
];

const AVRO: [(&str, &str); 5] = [
    ("avro", r#"serializer = "avro_event""#),
    ("avro-deflate", r#"serializer = { type = "avro_event", compression_codec = "deflate" }"#),
    ("avro-snappy", r#"serializer = { type = "avro_event", compression_codec = "snappy" }"#),
    ("avro-bzip2", r#"serializer = { type = "avro_event", compression_codec = "bzip2" }"#),
    ("avro-zstd", r#"serializer = { type = "avro_event", compression_codec = "zstandard" }"#),
];

/// Hadoop has no reader for it without its native library.
const NATIVE: &str = "zstd";

/// Nor does the Avro library that Hadoop's client jars have inside.
const NOT_IN_HADOOP: &str = "avro-zstd";

fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    STREAMS.into_iter().chain(SEQUENCES).chain(AVRO)
}

fn config() -> String {
    let mut config = r#"
[flow.default]
shards = 1
[flow.default.sources.ingest]
type = "collector"
channels = ["main"]
[flow.default.channels.main]
type = "durable"
"#
    .to_owned();
    for (name, format) in names() {
        let sink = format!(
            r#"
[flow.default.groups.only-{name}]
type = "default"
sinks = ["{name}"]
[flow.default.sinks.{name}]
type = "files"
channel = "main"
path = "${{env:COLLECTOR_DATA_DIR}}/files/{name}/%Y-%m-%d"
roll_interval = "1s"
{format}
"#
        );
        config.push_str(&sink);
    }
    config
}

fn folder(node: &Node, name: &str) -> PathBuf {
    node.data_dir().join("files").join(name)
}

/// The final files of a sink, in order.
fn files(node: &Node, name: &str) -> Vec<PathBuf> {
    final_files(&folder(node, name))
}

/// A node that has written 6,000 events in every format, and what the text sink has.
fn filled() -> (Node, String) {
    let mut node = Node::new(NodeOptions { config: Some(config()), ..NodeOptions::default() });
    node.start();
    let ledger = node.folder().join("ledger");
    let ledger = ledger.to_str().expect("a path of text");
    let load = ["run", "--seconds", "3", "--rate", "2000", "--ack", "local", "--ledger", ledger];
    node.loadtest(&load).expect(0);
    node.drained(Duration::from_secs(120));
    let lines = Tree::read(&folder(&node, "text")).concatenated();
    (node, String::from_utf8(lines).expect("bodies of text"))
}

fn verify(node: &Node, folder: &Path) -> serde_json::Value {
    let ledger = node.folder().join("ledger");
    let arguments = ["--output", "json", "verify", "--ledger"].map(std::ffi::OsStr::new);
    let rest = [ledger.as_os_str(), "--files".as_ref(), folder.as_os_str()];
    run("collector-loadtest", &[&arguments[..], &rest].concat()).expect(0).json()
}

#[test]
fn our_own_tools_read_every_format() {
    let (node, lines) = filled();
    let events = lines.lines().count();
    for (name, _) in names() {
        let verified = verify(&node, &folder(&node, name));
        assert_eq!(verified["found"], events, "{name}: {verified:#}");
        for what in ["lost", "duplicated", "reordered", "corrupt", "foreign"] {
            assert_eq!(verified[what], 0, "{name}: {verified:#}");
        }
    }
    let audit = node.audit(true);
    assert_eq!(audit["balanced"], true, "{audit:#}");
    let rows = audit["flows"].as_array().expect("rows");
    assert_eq!(rows.len(), names().count());
    assert!(rows.iter().all(|row| row["in_files"] == events), "{audit:#}");
}

#[test]
fn hadoop_reads_what_is_sent() {
    let Some(hadoop) = Hadoop::new() else { return };
    let (node, lines) = filled();

    let readable = STREAMS.iter().filter(|(name, _)| *name != NATIVE);
    for (name, _) in readable {
        let read = hadoop.text(&files(&node, name));
        assert!(read.stdout == lines, "{name}: {}", read.stderr);
    }

    for (name, _) in SEQUENCES {
        let read = hadoop.text(&files(&node, name));
        let mut bodies = read.stdout.lines().map(|line| {
            let (time, value) = line.split_once('\t').expect("key and value");
            assert!(time.parse::<i64>().is_ok_and(|time| time > 0), "{name}: {line}");
            match name {
                "seq-writable" => value.split(' ').map(byte).collect::<String>(),
                _ => value.to_owned(),
            }
        });
        assert!(bodies.by_ref().eq(lines.lines()), "{name}: {}", read.stderr);
    }

    for (name, _) in AVRO.iter().filter(|(name, _)| *name != NOT_IN_HADOOP) {
        let read = hadoop.text(&files(&node, name));
        let records = serde_json::Deserializer::from_str(&read.stdout);
        let records: Result<Vec<serde_json::Value>, _> = records.into_iter().collect();
        let records = records.unwrap_or_else(|error| panic!("{name}: {error}: {}", read.stderr));
        let bodies = records.iter().map(|record| {
            assert!(record["headers"]["timestamp"].is_string(), "{name}: {record}");
            record["body"].as_str().expect("a body")
        });
        assert!(bodies.eq(lines.lines()), "{name}: {}", read.stderr);
    }

    // What the documentation says it cannot.
    let read = hadoop.text(&files(&node, NATIVE));
    assert!(read.stdout != lines, "Hadoop reads zstd by itself now: say so in FORMATS.md");
}

/// A byte as Hadoop prints it.
fn byte(hex: &str) -> char {
    char::from(u8::from_str_radix(hex, 16).expect("two digits"))
}

#[test]
fn zstd_reads_what_is_sent() {
    let Some(zstd) = need("zstd", "apt-get install zstd") else { return };
    let (node, lines) = filled();
    let output = Command::new(zstd).arg("-dc").args(files(&node, "zstd")).output().expect("zstd");
    assert!(output.stdout == lines.as_bytes(), "{}", String::from_utf8_lossy(&output.stderr));
}
