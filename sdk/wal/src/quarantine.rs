//! Records that can no longer be read, and what is still known of them.

use sdk_event::{EventId, Lineage};
use std::sync::Arc;

/// Offsets that the log holds and cannot read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The lineage.
    pub lineage: Lineage,
    /// The first offset lost.
    pub from: u64,
    /// The offset after the last one lost.
    pub to: u64,
    /// What the record was, unless that is lost too.
    pub kind: Option<u8>,
    /// The id of its first event, if it had one and that is known.
    pub identity: Option<EventId>,
    /// The number of the segment it is in.
    pub segment: u64,
    /// Why it cannot be read.
    pub reason: Arc<str>,
}
