//! The status page in a browser, and the metrics as Prometheus reads them.

use crate::send::quick_roll;
use deploy_acceptance::{Node, Running, eventually, need, program, wait_for};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

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
    let load = Running::start(
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
        let page = Page::open(&chromium, &node, width);
        assert!(page.dom.contains("<strong>Healthy</strong>"), "{}", page.dom);
        assert_ne!(page.tile("rate"), "–", "a rate is shown");
        assert_ne!(page.tile("rate"), "0", "the rate moves");
        assert_ne!(page.tile("backlog"), "–", "a backlog is shown");
        assert_ne!(page.tile("files"), "–", "files are shown");
        assert!(page.dom.contains("default / files"), "the sink is shown");
    }
    drop(load);
    wait_for("nothing comes any more", Duration::from_secs(120), || {
        node.cli(&["--output", "json", "status"]).json()["flows"][0]["events_per_second"] == 0.0
    });
    let page = Page::open(&chromium, &node, 390);
    assert_eq!(page.tile("rate"), "0", "the rate moves");
}

#[test]
fn the_page_says_what_is_wrong() {
    let Some(chromium) = need("chromium", "apt-get install chromium") else { return };
    let mut node = Node::new(quick_roll());
    let _stuck = node.with_stuck_sinks();
    node.start();
    node.cli_with_input(&["send"], b"stuck\n").expect(0);
    let reasons = eventually("the node is degraded", Duration::from_secs(60), || {
        let status = node.cli(&["--output", "json", "status"]);
        if status.code() == 1 { Ok(status.json()["reasons"].clone()) } else { Err(status) }
    });
    let page = Page::open(&chromium, &node, 390);
    assert!(page.dom.contains("<strong>Degraded</strong>"), "{}", page.dom);
    assert!(page.dom.contains("sink default/files is"), "one of {reasons}: {}", page.dom);
}

/// The page as a browser has it after some seconds of its own time.
struct Page {
    dom: String,
}

impl Page {
    fn open(chromium: &Path, node: &Node, width: u32) -> Page {
        let profile = tempfile::tempdir().expect("a profile");
        let output = Command::new(chromium)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"])
            .args(["--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync"])
            .args(["--enable-logging=stderr", "--virtual-time-budget=8000", "--dump-dom"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--window-size={width},900"))
            .arg(format!("{}/", node.admin()))
            .stdin(Stdio::null())
            .output()
            .expect("run chromium");
        let console = String::from_utf8_lossy(&output.stderr);
        assert!(!console.contains("CONSOLE"), "the console is quiet:\n{console}");
        Page { dom: String::from_utf8_lossy(&output.stdout).into_owned() }
    }

    fn tile(&self, id: &str) -> &str {
        let mark = format!("id=\"{id}\">");
        let found = self.dom.split_once(&mark);
        let (_, rest) = found.unwrap_or_else(|| panic!("{id} is on the page:\n{}", self.dom));
        rest.split('<').next().unwrap_or_default()
    }
}
