//! What comes out of a channel.

use std::sync::Arc;

use sdk_event::{Block, EventRef, Events, Lineage};
use smallvec::SmallVec;

use crate::Positions;

/// One put as one channel sees it: the parts that name the channel.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The offset of the put's first event.
    pub first_offset: u64,
    /// How many offsets the put took; at least as many as it has events here.
    pub count: u32,
    /// When it was stored, in epoch milliseconds: the record's, never the clock's.
    pub put_time_ms: i64,
    /// Its parts for this channel. Several where a selector sent some events
    /// here alone and others elsewhere too.
    pub parts: SmallVec<[(Positions, Block); 1]>,
    /// What a rule dropped of it on its way to this channel, by rule; whoever
    /// raises the floor over the put books it. Usually empty; a put may consist
    /// of nothing else.
    pub dropped: Vec<(Arc<str>, u32)>,
}

impl Stored {
    /// The events with their offsets, by offset, whatever part they are in.
    #[must_use]
    pub fn events(&self) -> StoredEvents<'_> {
        let parts = match self.parts.as_slice() {
            [only] => Parts::One(Head::new(only)),
            parts => Parts::Many(parts.iter().map(Waiting::new).collect()),
        };
        StoredEvents { first_offset: self.first_offset, parts }
    }

    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(|(_, block)| block.header().count as usize).sum()
    }

    /// Whether the put has no event for this channel.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the blocks as they are stored.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|(_, block)| block.bytes().len()).sum()
    }

    /// The offset behind the last.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first_offset + u64::from(self.count)
    }
}

/// The events of a [`Stored`], by offset. Allocates nothing for an event.
pub struct StoredEvents<'a> {
    first_offset: u64,
    parts: Parts<'a>,
}

/// Nearly every put has one part. Its events are read one at a time: copying an event brings the next one's head
/// into the cache, and to read that head earlier would be to wait for it.
enum Parts<'a> {
    One(Head<'a>),
    /// Or none.
    Many(Vec<Waiting<'a>>),
}

/// One part, before its next event.
struct Head<'a> {
    positions: &'a Positions,
    events: Events<'a>,
}

impl<'a> Head<'a> {
    fn new((positions, block): &'a (Positions, Block)) -> Head<'a> {
        Head { positions, events: block.events() }
    }

    #[inline]
    fn read(&mut self) -> Option<(u32, EventRef<'a>)> {
        self.events.next().map(|event| (self.positions.at(event.index()), event))
    }
}

impl<'a> Iterator for StoredEvents<'a> {
    type Item = (u64, EventRef<'a>);

    #[inline]
    fn next(&mut self) -> Option<(u64, EventRef<'a>)> {
        let (position, event) = match &mut self.parts {
            Parts::One(head) => head.read()?,
            Parts::Many(parts) => least(parts)?,
        };
        Some((self.first_offset + u64::from(position), event))
    }
}

/// One part of several, and its next event.
struct Waiting<'a> {
    head: Head<'a>,
    next: Option<(u32, EventRef<'a>)>,
}

impl<'a> Waiting<'a> {
    fn new(part: &'a (Positions, Block)) -> Waiting<'a> {
        let mut head = Head::new(part);
        Waiting { next: head.read(), head }
    }
}

/// Takes the event with the least position.
fn least<'a>(parts: &mut [Waiting<'a>]) -> Option<(u32, EventRef<'a>)> {
    let waiting = parts.iter_mut().filter(|part| part.next.is_some());
    let part = waiting.min_by_key(|part| part.next.as_ref().map(|(position, _)| *position))?;
    std::mem::replace(&mut part.next, part.head.read())
}

/// What a reader hands out: everything a channel has of `[from, to)` of a lineage.
///
/// The range also covers offsets that hold nothing for this channel (dropped
/// events, other channels' events, control records), so that a cursor that
/// commits batch after batch has no gaps. `stored` may be empty.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Whose offsets these are.
    pub lineage: Lineage,
    /// The first offset covered.
    pub from: u64,
    /// The offset behind the last one covered.
    pub to: u64,
    /// The puts, by offset.
    pub stored: Vec<Stored>,
}

impl Batch {
    /// The events with their offsets, by offset.
    pub fn events(&self) -> impl Iterator<Item = (u64, EventRef<'_>)> {
        self.stored.iter().flat_map(Stored::events)
    }

    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stored.iter().map(Stored::len).sum()
    }

    /// Whether there is no event, only offsets to pass.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stored.iter().all(Stored::is_empty)
    }

    /// Bytes of the blocks as they are stored.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.stored.iter().map(Stored::bytes).sum()
    }
}
