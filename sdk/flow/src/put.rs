//! What goes into the channels of a flow.

use std::sync::Arc;

use bytes::Bytes;
use sdk_event::{Block, ProducerId};
use smallvec::SmallVec;

use crate::{ChannelSet, Positions};

/// One accepted block on its way into the channels of a flow.
///
/// A put takes `count` offsets, one for each event that was accepted, in the
/// order of their sequence numbers, whatever became of them: an event that a
/// rule dropped has its offset too. So the `i`th event of the accepted block has
/// offset `first_offset + i`, and a put whose events were all dropped is still a
/// record that admission remembers. In a dense block that event has sequence
/// `first_sequence + i`; a block that was thinned out before it came leaves
/// numbers out, and the events themselves say which. Admission counts such a
/// block as if it were dense, and the numbers behind are declared a gap.
///
/// For each channel, the events in parts that name it and those in `dropped`
/// entries that name it are disjoint. An event in neither was not meant for that
/// channel (a selector sent it elsewhere).
///
/// A put of no events (`count` 0, no parts) carries a source position alone:
/// it is stored as a control record, takes one offset as those do, and is not
/// looked at by admission.
#[derive(Debug, Clone)]
pub struct Put {
    /// Whose events these are.
    pub producer: ProducerId,
    /// The producer's generation.
    pub generation: u64,
    /// The sequence number of the block's first event.
    pub first_sequence: u64,
    /// How many events were accepted: how many offsets the put takes.
    pub count: u32,
    /// The CRC32C of the block as the producer sent it, by which a repeat is
    /// told from a collision.
    pub block_crc: u32,
    /// What is left of the block, by the channels it goes to.
    pub parts: SmallVec<[Part; 1]>,
    /// What a rule dropped.
    pub dropped: Vec<Dropped>,
    /// Where the source stands once this put is stored: an encoded
    /// [`SourcePosition`](crate::SourcePosition).
    pub source_position: Option<Bytes>,
}

/// Events of a put that go to the same channels.
#[derive(Debug, Clone)]
pub struct Part {
    /// The channels, required and optional ones. Never empty.
    pub channels: ChannelSet,
    /// Those of `channels` that the source's selector calls optional: at its
    /// limit such a channel is left out of the record and counted as dropped
    /// there, while any other makes the whole put fail.
    pub optional: ChannelSet,
    /// Where the part's events stood in the accepted block, counted by events. A channel may have
    /// several parts; their positions are disjoint.
    pub positions: Positions,
    /// The events: the accepted block itself, or one thinned out or rewritten
    /// that keeps the ids of what is left.
    pub block: Block,
}

/// How many events of a put a rule dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// `interceptor:<name>` or `selector:no mapping`.
    pub rule: Arc<str>,
    /// The channels that would have had them.
    pub channels: ChannelSet,
    /// How many.
    pub events: u32,
}

impl Put {
    /// Every channel that has a part.
    #[must_use]
    pub fn channels(&self) -> ChannelSet {
        self.parts.iter().map(|part| part.channels).fold(ChannelSet::EMPTY, ChannelSet::union)
    }

    /// Bytes of all parts' blocks as they are stored.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.block.bytes().len()).sum()
    }
}
