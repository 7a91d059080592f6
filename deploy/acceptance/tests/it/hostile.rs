//! Hostile clients: noise, idle connections, paths in headers. The node stays well and small.

use deploy_acceptance::{Node, Running, final_files, full, program, wait_for};
use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

const RESIDENT_MAX: u64 = 512 << 20;

#[test]
fn noise_on_each_port_changes_nothing() {
    let node = Node::started();
    let bytes_wanted = if full() { 1 << 30 } else { 64 << 20 };
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut noise = vec![0; 1 << 20];
    for endpoint in [node.ingest(), node.admin()] {
        let address = endpoint.trim_start_matches("http://").to_owned();
        let mut sent = 0;
        for connection in 0_u64.. {
            if sent >= bytes_wanted {
                break;
            }
            noise.fill_with(|| {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                seed as u8
            });
            let mut stream = TcpStream::connect(&address).expect("connect");
            stream.set_write_timeout(Some(Duration::from_secs(5))).expect("a timeout");
            // Every other one begins as HTTP/2 does.
            if connection % 2 == 1 {
                drop(stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
            }
            // The node hangs up on noise; the rest goes to the next connection.
            sent += std::iter::from_fn(|| stream.write(&noise).ok())
                .take(64)
                .fuse()
                .sum::<usize>()
                .max(1);
            if connection % 64 == 0 {
                let resident = node.resident_bytes();
                assert!(resident < RESIDENT_MAX, "{resident} bytes after {sent} of noise");
            }
        }
    }
    assert!(node.resident_bytes() < RESIDENT_MAX, "{} bytes", node.resident_bytes());
    node.cli(&["status"]).expect(0);
    node.cli_with_input(&["send"], b"still here\n").expect(0);
}

#[test]
fn ten_thousand_idle_connections_are_only_connections() {
    let node = Node::started();
    let count = if full() { "10000" } else { "2000" };
    let idle = Running::start(
        Command::new(program("collector-loadtest"))
            .args(["idle", "--connections", count, "--endpoint"])
            .arg(node.ingest()),
    );
    let open = || node.metric("collector_ingest_connections");
    let wanted: f64 = count.parse().expect("a number");
    wait_for("they are open", Duration::from_secs(30), || open() >= wanted);
    node.cli_with_input(&["send"], b"still here\n").expect(0);
    assert!(node.resident_bytes() < RESIDENT_MAX, "{} bytes", node.resident_bytes());
    drop(idle);
    node.cli(&["status"]).expect(0);
}

#[test]
fn paths_in_headers_stay_under_the_root() {
    let config = r#"
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
    let mut node = Node::new(deploy_acceptance::NodeOptions {
        config: Some(config.to_owned()),
        ..Default::default()
    });
    node.start();
    for hostile in ["../../../etc", "a/b", "/absolute", ".staging", "_dead", "nul\u{1}", "ok", "ü"]
    {
        node.cli_with_input(&["send", "--header", &format!("app={hostile}")], b"x\n").expect(0);
    }
    node.cli_with_input(&["send"], b"no header\n").expect(0);
    node.drained(Duration::from_secs(60));
    let root = node.files();
    let files = final_files(&root);
    for file in &files {
        let below = file.strip_prefix(&root).expect("under the root");
        assert_eq!(below.components().count(), 2, "one folder and a name: {below:?}");
        let folder =
            below.components().next().expect("a folder").as_os_str().to_string_lossy().into_owned();
        assert!(
            folder.chars().all(|c| c.is_ascii_alphanumeric() || "-_.=,+@%".contains(c)),
            "{folder}"
        );
    }
    let letters = node.cli(&["--output", "json", "dead-letters", "list"]).expect(0);
    assert!(letters.stdout.contains("_dead"), "an empty component is a dead letter: {letters:?}");
}
