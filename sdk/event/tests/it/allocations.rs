//! What reading and writing blocks costs in memory, counted.

use allocation_counter::measure;
use sdk_event::limits::KEYS_MAX;
use sdk_event::{Block, BlockBuilder, Codec};

use crate::blocks::{builder, decode};

fn fill(builder: &mut BlockBuilder, events: usize) {
    for n in 0..events {
        let own = [("path", "/index.html"), ("status", "200")];
        builder.push(Some(1_700_000_000_000 + n as i64), own, &[b'x'; 500]).expect("fits");
    }
}

#[test]
fn walking_allocates_nothing() {
    let mut builder = builder();
    builder.shared_header("host", "web-1").unwrap();
    fill(&mut builder, 400);
    let block = decode(&builder.finish(Codec::Lz4));
    // The first body handed out turns the block's memory into shared memory, once.
    drop(block.events().next().map(|event| event.body_bytes()));
    let walked = measure(|| {
        for event in block.events() {
            assert_eq!(event.header("status"), Some("200"));
            assert_eq!(event.header("nothing"), None);
            assert_eq!(event.headers().count(), 3);
            assert_eq!(event.body_bytes().len(), 500);
        }
    });
    assert_eq!(walked.count_total, 0);
}

#[test]
fn a_block_costs_the_same_few_allocations_whatever_its_events() {
    let mut builder = builder();
    let mut cost = |events| {
        fill(&mut builder, events);
        builder.finish(Codec::None);
        let mut block = None;
        let built = measure(|| {
            fill(&mut builder, events);
            block = Some(builder.finish(Codec::None));
        });
        let bytes = block.as_ref().map(Block::bytes).cloned().unwrap();
        let decoded = measure(|| drop(Block::decode(bytes)));
        (built.count_total, decoded.count_total)
    };
    let (few, many) = (cost(10), cost(400));
    assert_eq!(few, many);
    assert!(few.0 < 16 && few.1 < 8, "{few:?}");
}

#[test]
fn a_finished_block_keeps_no_unused_memory() {
    for events in [1, 3, 30, 300, 400] {
        let mut builder = builder();
        let mut block = None;
        let kept = measure(|| {
            fill(&mut builder, events);
            block = Some(builder.finish(Codec::None));
        });
        let memory = block.map_or(0, |block| block.memory_bytes());
        // The builder keeps its few keys.
        assert!(kept.bytes_current <= memory as i64 * 5 / 4 + 1_024, "{kept:?} for {memory}");
    }
}

#[test]
fn a_block_full_of_keys_decodes_within_the_promised_memory() {
    let mut builder = builder();
    for n in 0..KEYS_MAX {
        builder.push(None, [(&*n.to_string(), "")], b"").unwrap();
    }
    let bytes = builder.finish(Codec::None).bytes().clone();
    let decoded = measure(|| drop(Block::decode(bytes)));
    assert!(decoded.bytes_max < 64 * KEYS_MAX as u64, "{decoded:?}");
}
