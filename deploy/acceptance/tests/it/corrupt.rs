//! A bit that flips on the disk: set aside, listed by id, never delivered, and nothing else suffers.

use crate::limits::{Stream, block, connect};
use crate::send::{quick_roll, seq};
use deploy_acceptance::{Node, NodeOptions, Tree, eventually};
use proto::v1::Code;
use sdk_event::Codec;
use std::path::Path;
use std::time::Duration;

const NEEDLE: &[u8] = b"the event whose bit will flip";

#[test]
fn a_flipped_bit_is_listed_by_id_and_never_delivered() {
    let quick = quick_roll();
    let flow = quick.config.unwrap_or_default();
    let config = Some(format!("[flow.default]\nshards = 1\n{flow}"));
    let mut node = Node::new(NodeOptions { config, ..NodeOptions::default() });
    let stuck = node.with_stuck_sinks();
    node.start();
    node.cli_with_input(&["send"], &seq(1_000)).expect(0);
    put(&node);
    // In a later flush, so that it is not the end of the log that is damaged.
    node.cli_with_input(&["send"], &seq(2_000)).expect(0);
    node.kill();
    assert_eq!(flip(&node.data_dir().join("log")), 1, "it stands in the log once");
    node.start();
    // What may have a bad record is read, at the latest, when somebody needs it.
    let data = node.data_dir().display().to_string();
    let listed = node.cli(&["wal", "verify", "--data-dir", &data]).expect(1);
    let id = format!("{}-1-0", "07".repeat(16));
    assert!(listed.stdout.contains(&id), "{listed:#?}");
    std::fs::remove_file(stuck).expect("let the sinks go on");
    let audit = eventually("the rest is final", Duration::from_secs(60), || {
        let audit = node.audit(true);
        let row = &audit["flows"][0];
        if row["pending"] == 0 && row["lost"] == 1 { Ok(audit) } else { Err(audit) }
    });
    assert_eq!(audit["balanced"], true, "{audit:#}");
    assert_eq!(audit["flows"][0]["in_files"], 3_000, "{audit:#}");
    let files = Tree::read(&node.files()).concatenated();
    assert_eq!(files, [seq(1_000), seq(2_000)].concat());
    assert!(node.log().contains(&id), "the node says which:\n{}", node.log());
}

#[tokio::main(flavor = "current_thread")]
async fn put(node: &Node) {
    let mut client = connect(node).await;
    let mut stream = Stream::bound(&mut client, 7).await;
    stream.send(block(7, &[NEEDLE], Codec::None).bytes().clone()).await;
    assert_eq!(stream.answer().await.expect("an answer").code(), Code::Ok);
}

/// Flips a bit of the event wherever it stands, and says in how many places that is.
fn flip(log: &Path) -> usize {
    let mut flipped = 0;
    for entry in log.read_dir().expect("list the log").flatten() {
        let mut bytes = std::fs::read(entry.path()).expect("read a segment");
        let Some(at) = bytes.windows(NEEDLE.len()).position(|window| window == NEEDLE) else {
            continue;
        };
        bytes[at] ^= 1;
        std::fs::write(entry.path(), bytes).expect("write it back");
        flipped += 1;
    }
    flipped
}
