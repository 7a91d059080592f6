//! Events of several parts come out by offset.

use sdk_event::Lineage;
use sdk_flow::{Batch, Positions, Stored};
use serde_json::json;

use crate::support::{Flow, block};

#[test]
fn parts_of_a_put_are_merged_by_offset() {
    let selector = json!({"multiplexing": {
        "header": "to", "mapping": {"a": ["a"], "ab": ["a", "b"], "b": ["b"]},
    }});
    let flow = Flow::new(selector, json!([]));
    let text = "{to=ab} 0 | {to=a} 1 | {to=b} 2 | x | {to=a} 4 | {to=ab} 5";
    let put = flow.processor().process(block(text), None).unwrap();
    let parts = put.parts.iter().filter(|part| part.channels.contains(0));
    let parts = parts.map(|part| (part.positions.clone(), part.block.clone())).collect();
    let stored =
        Stored { first_offset: 1000, count: put.count, put_time_ms: 0, parts, dropped: Vec::new() };
    let seen: Vec<(u64, &[u8])> =
        stored.events().map(|(offset, event)| (offset, event.body())).collect();
    assert_eq!(seen, [(1000, &b"0"[..]), (1001, b"1"), (1004, b"4"), (1005, b"5")]);
    assert_eq!((stored.len(), stored.end()), (4, 1006));
}

#[test]
fn a_batch_is_its_puts_in_order() {
    let put = |first_offset, text| {
        let parts = [(Positions::All, block(text))].into_iter().collect();
        Stored { first_offset, count: 2, put_time_ms: 0, parts, dropped: Vec::new() }
    };
    let nothing = Stored {
        first_offset: 4,
        count: 2,
        put_time_ms: 0,
        parts: Default::default(),
        dropped: Vec::new(),
    };
    let stored = vec![put(2, "a | b"), nothing, put(6, "c | d")];
    let lineage = Lineage { flow: 1, shard: 0, epoch: 1 };
    let batch = Batch { lineage, from: 2, to: 8, stored };
    let offsets: Vec<u64> = batch.events().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, [2, 3, 6, 7]);
    assert_eq!(batch.len(), 4);
    assert!(!batch.is_empty());
}
