//! What is stored in several parts, as blocks that go out one after the other.

use sdk_event::{Block, BlockBuilder, Codec, PushError};
use sdk_flow::Stored;
use smallvec::{SmallVec, smallvec};

/// The blocks to send for one put: the stored one as it is, or, where a selector has split the put,
/// its events in order. Nodes take sequences in ascending order only.
pub(super) fn blocks(stored: &Stored, batch_bytes: usize, codec: Codec) -> SmallVec<[Block; 1]> {
    match stored.parts.as_slice() {
        [] => smallvec![],
        [(_, block)] => smallvec![block.clone()],
        [(_, block), ..] => merge(stored, block, batch_bytes, codec),
    }
}

fn merge(stored: &Stored, like: &Block, batch_bytes: usize, codec: Codec) -> SmallVec<[Block; 1]> {
    let header = like.header();
    let mut blocks = SmallVec::new();
    let mut builder = BlockBuilder::new(header.producer, header.generation, 0);
    for (_, event) in stored.events() {
        if builder.encoded_bytes() >= batch_bytes && !builder.is_empty() {
            blocks.push(builder.finish(codec));
        }
        // The parts may share different headers, so each event has its own.
        let push = |builder: &mut BlockBuilder| {
            let (sequence, time) = (event.sequence(), event.timestamp_ms());
            builder.push_with_sequence(sequence, time, event.headers(), event.body())
        };
        if let Err(PushError::Full { .. }) = push(&mut builder) {
            blocks.push(builder.finish(codec));
            push(&mut builder).expect("an event of a block fits in a block");
        }
    }
    if !builder.is_empty() {
        blocks.push(builder.finish(codec));
    }
    blocks
}
