//! A full disk, and a full quota: refused with a delay, and everything acked arrives once space is back.

use crate::send::quick_roll;
use deploy_acceptance::{Node, NodeOptions, need, pause, run, skip};
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
    Node::new(NodeOptions { config: Some(config), data_dir: Some(data.join("data")), ..quick })
}

/// Puts more than fits while the sinks are stuck, and gives the space back.
fn overflows_and_recovers(node: &Node, blocker: Option<&Path>) {
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
    if let Some(blocker) = blocker {
        std::fs::remove_file(blocker).expect("give the space back");
    }
    pause(Duration::from_secs(2));
    let again = ["run", "--seconds", "1", "--rate", "100", "--body-bytes", "100"];
    node.loadtest(&[&again[..], &["--batch-events", "10", "--ack", "local"]].concat()).expect(0);
    node.drained(Duration::from_secs(120));
    let verified = run(
        "collector-loadtest",
        &[
            "--output".as_ref(),
            "json".as_ref(),
            "verify".as_ref(),
            "--ledger".as_ref(),
            ledger.as_os_str(),
            "--files".as_ref(),
            node.files().as_os_str(),
        ],
    )
    .json();
    for what in ["lost", "duplicated", "reordered", "corrupt"] {
        assert_eq!(verified[what], 0, "{verified:#}");
    }
}

#[test]
fn a_full_disk_refuses_and_recovers_without_a_restart() {
    let Some(image) = Image::new(512) else { return };
    let mut node =
        node_on(&image.mounted, "quota = \"256MiB\"\nsegment = \"4MiB\"\nfree_min = \"16MiB\"");
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
    overflows_and_recovers(&node, Some(&blocker));
}

#[test]
fn a_full_quota_refuses_and_recovers_without_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut node =
        node_on(folder.path(), "quota = \"64MiB\"\nsegment = \"4MiB\"\nfree_min = \"16MiB\"");
    let files = node.with_stuck_sinks();
    node.start();
    overflows_and_recovers(&node, Some(&files));
}
