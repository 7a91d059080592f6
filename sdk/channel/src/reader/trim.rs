//! A reader may stand inside a put: what lies before it is not handed out.

use std::sync::Arc;

use sdk_event::Block;
use sdk_flow::{Positions, Stored};

/// Takes away the events below `from`. What rules dropped stays: it is booked
/// when the floor passes the put's end.
pub(crate) fn trim(stored: Stored, from: u64) -> Stored {
    if stored.first_offset >= from {
        return stored;
    }
    let first = u32::try_from(from - stored.first_offset).unwrap_or(u32::MAX);
    let parts = stored.parts.into_iter();
    let parts = parts.flat_map(|(positions, block)| trim_part(positions, block, first)).collect();
    Stored { parts, ..stored }
}

/// What is left of a part: nothing, or a part, or several where it no longer fits in one block.
fn trim_part(positions: Positions, block: Block, first: u32) -> Vec<(Positions, Block)> {
    let count = block.header().count;
    let all: Vec<u32> = match &positions {
        Positions::All => (0..count).collect(),
        Positions::Some(positions) => positions.to_vec(),
    };
    let gone = all.partition_point(|position| *position < first);
    if gone == 0 {
        return vec![(positions, block)];
    }
    let left: Vec<u32> = (gone as u32..count).collect();
    let mut rest = &all[gone..];
    let part = |block: Block| {
        let (positions, behind) = rest.split_at(block.header().count as usize);
        rest = behind;
        (Positions::Some(Arc::from(positions)), block)
    };
    block.thin(&left).into_iter().map(part).collect()
}
