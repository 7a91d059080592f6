//! The same events under other ids.

use sdk_event::{Block, BlockBuilder, ProducerId};

/// The events of `block`, in order, as a dense block of another producer or generation.
///
/// Everything but the ids stays: times, headers, bodies, codec.
#[must_use]
pub fn renumber(
    block: &Block,
    producer: ProducerId,
    generation: u64,
    first_sequence: u64,
) -> Block {
    let mut builder = BlockBuilder::new(producer, generation, first_sequence);
    for (key, value) in block.shared_headers() {
        builder.shared_header(key, value).expect("it is a shared header already");
    }
    for event in block.events() {
        builder
            .push(event.timestamp_ms(), event.own_headers(), event.body())
            .expect("events of one block fit in one, and dense ids take no more room");
    }
    builder.finish(block.header().codec)
}
