//! What an interceptor remembers from one event of a block to the next.

use regex::bytes::CaptureLocations;
use smallvec::SmallVec;

/// Memory of one interceptor for the time of one block, so that it allocates
/// per block and not per event.
#[derive(Default)]
pub struct Scratch {
    /// Where the groups matched: in text, and in bytes that are no text.
    pub(super) locations: [Option<CaptureLocations>; 2],
    /// The last time that was read, by serializer: neighbours in a log tend to
    /// have the same one.
    pub(super) times: SmallVec<[LastTime; 1]>,
}

#[derive(Default)]
pub(super) struct LastTime {
    pub(super) text: Vec<u8>,
    pub(super) ms: Option<i64>,
}
