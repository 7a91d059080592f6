//! What a log says when it opens.
use crate::quarantine::Quarantined;
use crate::usage::LineageExtent;
use std::time::Duration;

/// What was found when a log was opened.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// Every lineage the log holds something of, in order.
    pub lineages: Vec<LineageExtent>,
    /// Offsets that are there and cannot be read, as far as the tail was read.
    pub quarantined: Vec<Quarantined>,
    /// Records cut from the last flush: none of them was ever acknowledged.
    pub records_cut: u64,
    /// Segments found.
    pub segments: usize,
    /// Segments that had to be read for want of a footer that counts.
    pub segments_scanned: usize,
    /// Whether the reserve file was given up to make room.
    pub reserve_released: bool,
    /// How long it took.
    pub took: Duration,
}
