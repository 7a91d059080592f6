//! Where a part's events stood in the block that was accepted.

use std::sync::Arc;

/// The positions, counted from 0 among the events of the *accepted* block, of
/// the events in one part. An event's offset is the put's first offset plus
/// its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Positions {
    /// Every position: the part's block has all events that were accepted.
    All,
    /// These ones, ascending, one for each event of the part's block.
    Some(Arc<[u32]>),
}

impl Positions {
    /// The position of the event that stands at `index` in the part's block.
    ///
    /// # Panics
    /// If the part's block has no event at `index`.
    #[must_use]
    pub fn at(&self, index: u32) -> u32 {
        match self {
            Positions::All => index,
            Positions::Some(positions) => positions[index as usize],
        }
    }
}
