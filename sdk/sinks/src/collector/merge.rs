//! What is stored in several parts, as blocks that go out one after the other.

use sdk_event::{Block, BlockBuilder, Codec, PushError};
use sdk_flow::{Positions, Stored};
use smallvec::{SmallVec, smallvec};

/// The blocks to send for one put, each with the positions that its events have in the put: the
/// stored one as it is, or, where a selector has split the put, its events in order. Nodes take
/// sequences in ascending order only.
pub(super) fn blocks(
    stored: &Stored,
    batch_bytes: usize,
    codec: Codec,
) -> SmallVec<[(Positions, Block); 1]> {
    match stored.parts.as_slice() {
        [] => smallvec![],
        [part] => smallvec![part.clone()],
        [(_, block), ..] => merge(stored, block, batch_bytes, codec),
    }
}

fn merge(
    stored: &Stored,
    like: &Block,
    batch_bytes: usize,
    codec: Codec,
) -> SmallVec<[(Positions, Block); 1]> {
    let header = like.header();
    let mut blocks = SmallVec::new();
    let mut builder = BlockBuilder::new(header.producer, header.generation, 0);
    let mut positions = Vec::new();
    let finish = |builder: &mut BlockBuilder, positions: &mut Vec<u32>| {
        let positions = Positions::Some(std::mem::take(positions).into());
        (positions, builder.finish(codec))
    };
    for (offset, event) in stored.events() {
        if builder.encoded_bytes() >= batch_bytes && !builder.is_empty() {
            blocks.push(finish(&mut builder, &mut positions));
        }
        // The parts may share different headers, so each event has its own.
        let push = |builder: &mut BlockBuilder| {
            let (sequence, time) = (event.sequence(), event.timestamp_ms());
            builder.push_with_sequence(sequence, time, event.headers(), event.body())
        };
        if let Err(PushError::Full { .. }) = push(&mut builder) {
            blocks.push(finish(&mut builder, &mut positions));
            push(&mut builder).expect("an event of a block fits in a block");
        }
        let position = offset - stored.first_offset;
        positions.push(u32::try_from(position).expect("a put has fewer events than u32::MAX"));
    }
    if !builder.is_empty() {
        blocks.push(finish(&mut builder, &mut positions));
    }
    blocks
}
