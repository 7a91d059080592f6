//! Lines in, the same lines out of HDFS.

use super::no_staging_but_of_living_tokens;
use crate::send::{send_and_open, seq};
use deploy_acceptance::{Hdfs, Node, NodeOptions};

#[test]
fn what_is_sent_comes_out_of_hdfs_byte_for_byte() {
    let Some(hdfs) = Hdfs::shared() else { return };
    let mut node = Node::new(NodeOptions {
        arguments: vec!["--files-dir".to_owned(), format!("{}/send/logs", hdfs.url())],
        environment: hdfs.environment(),
        ..NodeOptions::default()
    });
    node.start();
    let lines = seq(100_000);
    let words = ["--output", "json", "send", "--ack", "committed", "--timeout", "120s"];
    let answer = node.cli_with_input(&words, &lines).expect(0).json();
    assert_eq!(answer["acked_events"], 100_000);
    assert!(
        hdfs.tree("/send/logs/default").concatenated() == lines,
        "the files are not what was sent"
    );
    let audit = node.audit(true);
    assert_eq!(audit["balanced"], true, "{audit:#}");
    assert_eq!(audit["flows"][0]["in_files"], 100_000, "{audit:#}");
}

#[test]
fn a_clean_stop_rolls_what_is_open_and_a_restart_goes_on() {
    let Some(hdfs) = Hdfs::shared() else { return };
    let mut node = super::node(hdfs, "restart", &[]);
    node.start();
    // The sink works, and then something is open.
    node.cli_with_input(&["send", "--ack", "committed"], &seq(500)).expect(0);
    send_and_open(&node, 500, &seq(500));
    node.stop().expect(0);
    let before = hdfs.tree("/restart/files");
    assert_eq!(before.lines(), 1_000, "SIGTERM rolls what is open\n{}", node.log());
    node.start();
    node.cli_with_input(&["send", "--ack", "committed"], &seq(1_000)).expect(0);
    let after = hdfs.tree("/restart/files");
    before.still_in(&after);
    assert_eq!(after.lines(), 2_000);
    no_staging_but_of_living_tokens(hdfs, "restart");
}
