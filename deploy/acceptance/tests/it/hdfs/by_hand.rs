//! What somebody has done to final files, and the deep audit that says so.

use super::node;
use crate::send::seq;
use deploy_acceptance::{Hdfs, Node};

#[test]
fn the_deep_audit_names_each_file_that_was_removed_cut_or_altered() {
    let Some(hdfs) = Hdfs::shared() else { return };
    let mut node = node(hdfs, "by-hand", &[]);
    node.start();
    for _ in 0..4 {
        node.cli_with_input(&["send", "--ack", "committed"], &seq(1_000)).expect(0);
    }
    let names = hdfs.fs(&["-ls", "-R", "-C", "/by-hand/files"]);
    let finals: Vec<&str> = names.lines().filter(|path| path.contains("/events.")).collect();
    let [removed, cut, altered, ..] = finals[..] else { panic!("too few files:\n{names}") };
    assert_eq!(node.audit(true)["balanced"], true);

    hdfs.fs(&["-cp", "/by-hand/files", "/by-hand/aside"]);
    hdfs.fs(&["-rm", removed]);
    hdfs.fs(&["-truncate", "-w", "3", cut]);
    alter(hdfs, altered);
    let said = deep_audit(&node, 1);
    let wrong = [(removed, "it is missing"), (cut, "it has 3 bytes"), (altered, "its checksum is")];
    for (path, what) in wrong {
        let named = said.lines().any(|line| line.contains(path) && line.contains(what));
        assert!(named, "{path} is not named: {what}\n{said}");
    }
    for path in &finals[3..] {
        assert!(!said.contains(path), "{path} is as it was\n{said}");
    }

    // Whoever puts them back has put it right.
    for path in [removed, cut, altered] {
        let kept = path.replace("/by-hand/files", "/by-hand/aside");
        hdfs.fs(&["-cp", "-f", &kept, path]);
    }
    deep_audit(&node, 0);
}

/// Another byte in the middle, the length as before.
fn alter(hdfs: &Hdfs, path: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let local = folder.path().join("file");
    let local = local.to_str().expect("a path of text");
    hdfs.fs(&["-get", path, local]);
    let mut bytes = std::fs::read(local).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(local, bytes).expect("write");
    hdfs.fs(&["-put", "-f", local, path]);
}

fn deep_audit(node: &Node, code: i32) -> String {
    let audit = node.cli(&["audit", "--deep"]).expect(code);
    format!("{}{}", audit.stdout, audit.stderr)
}
