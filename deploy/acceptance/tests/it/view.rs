//! The view is only a view: noise, another node's, or none at all changes nothing.

use crate::send::quick_roll;
use deploy_acceptance::{Node, full};
use std::path::{Path, PathBuf};

/// Files of the view below a data directory.
fn view(node: &Node) -> PathBuf {
    let view = node.data_dir().join("view");
    assert!(view.is_dir(), "{view:?} is where the view lives");
    view
}

fn noise(folder: &Path) {
    for entry in folder.read_dir().expect("list the view").flatten() {
        if entry.path().is_dir() {
            noise(&entry.path());
        } else {
            let length = entry.metadata().expect("its length").len().clamp(1, 1 << 20);
            let bytes: Vec<u8> =
                (0..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 7) as u8).collect();
            std::fs::write(entry.path(), bytes).expect("write noise");
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("make a folder");
    for entry in from.read_dir().expect("list the view").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copy the view");
        }
    }
}

#[test]
fn whatever_stands_in_the_view_changes_nothing() {
    let mut other = Node::started();
    other
        .loadtest(&[
            "run",
            "--seconds",
            "2",
            "--rate",
            "5000",
            "--body-bytes",
            "100",
            "--batch-events",
            "50",
            "--ack",
            "local",
        ])
        .expect(0);
    other.kill();
    let mut node = Node::new(quick_roll());
    // Nothing is delivered before the end: all of it waits, 1 GiB and more in the long version.
    let stuck = node.with_stuck_sinks();
    node.start();
    let seconds = if full() { "30" } else { "3" };
    for step in 0..3 {
        let ledger = node.folder().join(format!("ledger-{step}"));
        let ledger = ledger.to_str().expect("a path");
        node.loadtest(&[
            "run",
            "--seconds",
            seconds,
            "--rate",
            "50000",
            "--body-bytes",
            "500",
            "--batch-events",
            "500",
            "--ack",
            "local",
            "--ledger",
            ledger,
        ])
        .expect(0);
        node.kill();
        let view = view(&node);
        match step {
            0 => noise(&view),
            1 => std::fs::remove_dir_all(&view).expect("delete the view"),
            _ => {
                std::fs::remove_dir_all(&view).expect("delete the view");
                copy(&self::view(&other), &view);
            }
        }
        node.start();
    }
    std::fs::remove_file(stuck).expect("let the sinks go on");
    let audit = node.drained(std::time::Duration::from_secs(120));
    assert_eq!(audit["balanced"], true, "{audit:#}");
    for step in 0..3 {
        let ledger = node.folder().join(format!("ledger-{step}"));
        node.verified(&ledger);
    }
}
