//! The status page in a browser, and the metrics as Prometheus reads them.

use crate::send::quick_roll;
use deploy_acceptance::{Node, Running, need, program};
use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn promtool_accepts_the_metrics() {
    let Some(promtool) = need("promtool", "apt-get install prometheus") else { return };
    let node = Node::started();
    node.loadtest(&[
        "run",
        "--seconds",
        "2",
        "--rate",
        "1000",
        "--body-bytes",
        "100",
        "--batch-events",
        "10",
        "--ack",
        "local",
    ])
    .expect(0);
    let (code, text) = node.get("/metrics");
    assert_eq!(code, 200);
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start promtool");
    child.stdin.take().expect("its input").write_all(text.as_bytes()).expect("feed promtool");
    let output = child.wait_with_output().expect("wait for promtool");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_page_lives_at_both_widths() {
    let Some(chromium) = need("chromium", "apt-get install chromium") else { return };
    let mut node = Node::new(quick_roll());
    node.start();
    let _load = Running::start(
        Command::new(program("collector-loadtest"))
            .args([
                "run",
                "--seconds",
                "60",
                "--rate",
                "2000",
                "--body-bytes",
                "100",
                "--batch-events",
                "20",
                "--ack",
                "local",
            ])
            .args(["--endpoint", &node.ingest()]),
    );
    for width in [1280, 390] {
        let profile = tempfile::tempdir().expect("a profile");
        let output = Command::new(&chromium)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .args(["--enable-logging=stderr", "--virtual-time-budget=8000", "--dump-dom"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--window-size={width},900"))
            .arg(format!("{}/", node.admin()))
            .stdin(Stdio::null())
            .output()
            .expect("run chromium");
        let dom = String::from_utf8_lossy(&output.stdout);
        let console = String::from_utf8_lossy(&output.stderr);
        assert!(!console.contains("CONSOLE"), "the console is quiet:\n{console}");
        let tile = |id: &str| {
            let mark = format!("id=\"{id}\">");
            let from = dom.find(&mark).unwrap_or_else(|| panic!("{id} is on the page:\n{dom}"))
                + mark.len();
            dom[from..].split('<').next().unwrap_or_default().to_owned()
        };
        assert!(dom.contains("<strong>Healthy</strong>"), "{dom}");
        assert_ne!(tile("rate"), "–", "a rate is shown");
        assert_ne!(tile("rate"), "0", "the rate moves");
        assert_ne!(tile("backlog"), "–", "a backlog is shown");
        assert_ne!(tile("files"), "–", "files are shown");
        assert!(dom.contains("default / files"), "the sink is shown");
    }
}
