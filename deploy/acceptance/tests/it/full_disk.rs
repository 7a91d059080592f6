//! A full disk, and a full quota: refused with a delay, and everything acked arrives once space is back.

use crate::limits::connect;
use crate::send::quick_roll;
use deploy_acceptance::{Node, NodeOptions, need, skip, wait_for};
use proto::v1::{PlainEvent, SendRequest};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A small ext4 image, mounted until dropped.
struct Image {
    _folder: tempfile::TempDir,
    mounted: PathBuf,
}

impl Image {
    fn new(mebibytes: u64) -> Option<Self> {
        need("mkfs.ext4", "apt-get install e2fsprogs")?;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("image");
        let mounted = folder.path().join("disk");
        std::fs::create_dir(&mounted).expect("make");
        let image = std::fs::File::create(&file).expect("create");
        image.set_len(mebibytes << 20).expect("size");
        let made = Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&file).status();
        let mount = Command::new("mount").args(["-o", "loop"]).arg(&file).arg(&mounted).output();
        let done = made.is_ok_and(|status| status.success())
            && mount.is_ok_and(|output| output.status.success());
        if !done {
            skip("a loop image cannot be mounted here: run as root on a kernel with loop devices");
            return None;
        }
        Some(Self { _folder: folder, mounted })
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.mounted).status());
    }
}

fn node_on(data: &Path, log: &str) -> Node {
    let quick = quick_roll();
    let config = format!("[node.log]\n{log}\n{}", quick.config.expect("a configuration"));
    let data_dir = Some(data.join("data"));
    Node::new(NodeOptions { config: Some(config), data_dir, ..NodeOptions::default() })
}

/// One event from a client that asks once.
fn send(node: &Node) -> Result<(), tonic::Status> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let event = PlainEvent { body: "x".into(), ..PlainEvent::default() };
        let request = SendRequest { events: vec![event], ..SendRequest::default() };
        connect(node).await.send(request).await.map(drop)
    })
}

/// Puts more than fits, looks at the full node, removes `blocker`, and has everything delivered.
fn overflows_and_recovers(node: &Node, blocker: &Path, full: impl FnOnce(&Node)) {
    let ledger = node.folder().join("ledger");
    let ledger_text = ledger.to_str().expect("a path");
    let report = node
        .loadtest(&[
            "--output",
            "json",
            "run",
            "--seconds",
            "15",
            "--rate",
            "20000",
            "--body-bytes",
            "1000",
            "--batch-events",
            "200",
            "--ack",
            "local",
            "--timeout",
            "5",
            "--ledger",
            ledger_text,
        ])
        .json();
    assert!(report["rejected"].as_u64() > Some(0), "the node refused for a while: {report:#}");
    let refused = send(node).expect_err("there is no room");
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused}");
    // `google.rpc.RetryInfo`, which every gRPC library can read.
    let delay = String::from_utf8_lossy(refused.details()).contains("google.rpc.RetryInfo");
    assert!(delay, "when to come back: {refused:?}");
    let status = node.cli(&["--output", "json", "status"]).expect(1).json();
    assert!(status["reasons"].to_string().contains("above its mark"), "{status:#}");
    full(node);
    std::fs::remove_file(blocker).expect("give the space back");
    wait_for("there is room again", Duration::from_secs(60), || send(node).is_ok());
    node.drained(Duration::from_secs(120));
    node.verified(&ledger);
}

#[test]
fn a_full_disk_refuses_and_recovers_without_a_restart() {
    let Some(image) = Image::new(512) else { return };
    let mut node =
        node_on(&image.mounted, "quota = \"256MiB\"\nsegment = \"4MiB\"\nfree_min = \"16MiB\"");
    // The files go elsewhere.
    let elsewhere = tempfile::tempdir().expect("a folder");
    let files = node.data_dir().join("files");
    std::fs::create_dir_all(node.data_dir()).expect("make the data directory");
    std::os::unix::fs::symlink(elsewhere.path(), &files).expect("link");
    node.start();
    // Something else on the disk takes what is left.
    let blocker = image.mounted.join("blocker");
    let file = std::fs::File::create(&blocker).expect("create");
    drop(file);
    let filled = Command::new("dd")
        .args(["if=/dev/zero", "bs=1M", "status=none"])
        .arg(format!("of={}", blocker.display()))
        .output()
        .expect("run dd");
    assert!(!filled.status.success(), "the disk is full");
    overflows_and_recovers(&node, &blocker, |node| {
        // The sinks go on.
        node.drained(Duration::from_secs(60));
    });
}

#[test]
fn a_full_quota_refuses_and_recovers_without_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut node =
        node_on(folder.path(), "quota = \"64MiB\"\nsegment = \"4MiB\"\nfree_min = \"16MiB\"");
    let files = node.with_stuck_sinks();
    node.start();
    overflows_and_recovers(&node, &files, |_| ());
}
