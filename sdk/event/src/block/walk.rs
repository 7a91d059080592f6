//! Reading the events of a checked block where they stand.

use std::fmt;
use std::iter::FusedIterator;

use bytes::Bytes;

use super::dictionary::text;
use super::{Block, HeaderKey};
use crate::varint::{Fault, Reader, unzigzag};
use crate::{Event, EventId, Headers};

/// What an event begins with: how many own headers, whether a gap, whether a timestamp.
#[derive(Clone, Copy)]
pub(crate) struct Shape(pub(crate) u64);

impl Shape {
    pub(crate) const fn new(own_headers: u64, gap: bool, timestamp: bool) -> Self {
        Shape(own_headers << 2 | (gap as u64) << 1 | timestamp as u64)
    }

    pub(crate) const fn has_timestamp(self) -> bool {
        self.0 & 1 != 0
    }

    pub(crate) const fn has_gap(self) -> bool {
        self.0 & 2 != 0
    }

    pub(crate) const fn own_headers(self) -> u64 {
        self.0 >> 2
    }
}

/// The events of a block in order. Allocates nothing and cannot fail.
#[derive(Clone)]
pub struct Events<'a> {
    block: &'a Block,
    reader: Reader<'a>,
    index: u32,
    next_sequence: u64,
    timestamp_ms: i64,
}

impl<'a> Events<'a> {
    pub(super) fn new(block: &'a Block) -> Self {
        let header = block.header();
        Events {
            block,
            reader: Reader::new(&block.body()[..header.events_bytes as usize]),
            index: 0,
            next_sequence: header.first_sequence,
            timestamp_ms: 0,
        }
    }

    #[inline]
    fn read(&mut self) -> Result<EventRef<'a>, Fault> {
        let shape = Shape(self.reader.varint()?);
        if shape.has_gap() {
            self.next_sequence += self.reader.varint()?;
        }
        if shape.has_timestamp() {
            let delta = unzigzag(self.reader.varint()?);
            self.timestamp_ms = self.timestamp_ms.wrapping_add(delta);
        }
        let own = self.reader.rest();
        for _ in 0..shape.own_headers() {
            self.reader.varint()?;
            let length = self.reader.varint()?;
            self.reader.take(length)?;
        }
        let own = &own[..own.len() - self.reader.left()];
        let length = self.reader.varint()?;
        let event = EventRef {
            block: self.block,
            own,
            body: self.reader.take(length)?,
            sequence: self.next_sequence,
            timestamp_ms: shape.has_timestamp().then_some(self.timestamp_ms),
            index: self.index,
        };
        self.index += 1;
        self.next_sequence += 1;
        Ok(event)
    }
}

impl<'a> Iterator for Events<'a> {
    type Item = EventRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<EventRef<'a>> {
        if self.index == self.block.header().count {
            return None;
        }
        Some(self.read().expect("decode checked every event"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.block.header().count - self.index) as usize;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Events<'_> {}
impl FusedIterator for Events<'_> {}

/// An event inside its block.
///
/// Its headers are its own and, under other keys, those that the whole block shares.
#[derive(Clone, Copy)]
pub struct EventRef<'a> {
    block: &'a Block,
    own: &'a [u8],
    body: &'a [u8],
    sequence: u64,
    timestamp_ms: Option<i64>,
    index: u32,
}

impl<'a> EventRef<'a> {
    /// Its position in the block, from 0.
    #[inline]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Its number in its producer's generation.
    #[inline]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Its id.
    pub fn id(&self) -> EventId {
        let header = self.block.header();
        EventId {
            producer: header.producer,
            generation: header.generation,
            sequence: self.sequence,
        }
    }

    /// The block it stands in.
    pub fn block(&self) -> &'a Block {
        self.block
    }

    /// When it happened, if known.
    #[inline]
    pub fn timestamp_ms(&self) -> Option<i64> {
        self.timestamp_ms
    }

    /// Its body.
    #[inline]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Its body without a copy. Keeps the memory of the whole block alive.
    pub fn body_bytes(&self) -> Bytes {
        self.block.body().slice_ref(self.body)
    }

    /// The header under `key`: its own if it has one, else the block's.
    pub fn header(&self, key: &str) -> Option<&'a str> {
        self.header_at(self.block.key(key)?)
    }

    /// The same for a key looked up before with [`Block::key`] of this block, which is faster.
    pub fn header_at(&self, key: HeaderKey) -> Option<&'a str> {
        self.own().value(key.0).or_else(|| self.block.shared_value(key.0))
    }

    /// Whether it has headers of its own.
    #[inline]
    pub fn has_own_headers(&self) -> bool {
        !self.own.is_empty()
    }

    /// Its own headers alone, in the order they were given.
    pub fn own_headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let block = self.block;
        self.own().map(|(key, value)| (block.key_text(key), text(value)))
    }

    /// All its headers: the block's in their order, each with the event's own value if it has one,
    /// then its own under other keys. No key comes twice.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let block = self.block;
        let own = self.own();
        let shared =
            block.shared_pairs().map(move |(key, value)| (key, own.value(key).unwrap_or(value)));
        let others =
            own.filter(|(key, _)| !block.shares(*key)).map(|(key, value)| (key, text(value)));
        shared.chain(others).map(|(key, value)| (block.key_text(key), value))
    }

    /// The event on its own. Its headers are copied, its body keeps the block's memory alive.
    pub fn to_event(&self) -> Event {
        let headers = Headers::from_unique(self.headers());
        Event { timestamp_ms: self.timestamp_ms, headers, body: self.body_bytes() }
    }

    #[inline]
    fn own(&self) -> OwnHeaders<'a> {
        OwnHeaders { reader: Reader::new(self.own) }
    }
}

/// Tells where the event is and never what is in it.
impl fmt::Debug for EventRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventRef")
            .field("id", &format_args!("{}", self.id()))
            .field("index", &self.index)
            .field("timestamp_ms", &self.timestamp_ms)
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

/// Index of the key and value of each own header.
#[derive(Clone, Copy)]
struct OwnHeaders<'a> {
    reader: Reader<'a>,
}

impl<'a> OwnHeaders<'a> {
    /// The value under the key with this index.
    #[inline]
    fn value(mut self, key: u32) -> Option<&'a str> {
        self.find(|(index, _)| *index == key).map(|(_, value)| text(value))
    }

    #[inline]
    fn read(&mut self) -> Result<(u32, &'a [u8]), Fault> {
        let key = self.reader.varint()? as u32;
        let length = self.reader.varint()?;
        Ok((key, self.reader.take(length)?))
    }
}

impl<'a> Iterator for OwnHeaders<'a> {
    type Item = (u32, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<(u32, &'a [u8])> {
        if self.reader.left() == 0 {
            return None;
        }
        Some(self.read().expect("decode checked every header"))
    }
}
