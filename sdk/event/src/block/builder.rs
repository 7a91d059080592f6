//! Encoding events into blocks, one after the other, without allocating per event.

mod error;
mod keys;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::dictionary::Dictionary;
use super::header::BlockHeader;
use super::walk::{EventRef, Shape};
use super::{Block, Checked};
use crate::limits::{
    BLOCK_BYTES_MAX, BODY_BYTES_MAX, EVENTS_MAX, HEADER_BYTES_MAX, HEADER_KEY_BYTES_MAX,
    HEADER_VALUE_BYTES_MAX, HEADERS_MAX,
};
use crate::{Codec, Headers, ProducerId, varint};
pub use error::PushError;
use keys::Keys;

/// Makes blocks of events.
///
/// Holds one unfinished block. Its memory is used again for the next, and nothing is allocated per
/// event.
#[derive(Clone)]
pub struct BlockBuilder {
    producer: ProducerId,
    generation: u64,
    first_sequence: u64,
    next_sequence: u64,
    shared: Headers,
    keys: Keys,
    /// Room for the header, then the events so far; empty before the first.
    block: Vec<u8>,
    /// The own headers of the event being pushed.
    own: Vec<u8>,
    count: u32,
    own_headers: bool,
    last_timestamp_ms: i64,
    timestamps: Option<(i64, i64)>,
    /// What the block before came to, to reserve as much for the next.
    block_bytes_before: usize,
}

impl BlockBuilder {
    /// A builder whose first event gets `first_sequence`.
    pub fn new(producer: ProducerId, generation: u64, first_sequence: u64) -> Self {
        BlockBuilder {
            producer,
            generation,
            first_sequence,
            next_sequence: first_sequence,
            shared: Headers::new(),
            keys: Keys::default(),
            block: Vec::new(),
            own: Vec::new(),
            count: 0,
            own_headers: false,
            last_timestamp_ms: 0,
            timestamps: None,
            block_bytes_before: 0,
        }
    }

    /// A builder for a changed copy of `block`: its identity and shared headers, no events.
    ///
    /// Push what is to stay with [`push_event`](Self::push_event), or changed with
    /// [`push_with_sequence`](Self::push_with_sequence).
    pub fn from_block(block: &Block) -> Self {
        let header = block.header();
        let mut builder = Self::new(header.producer, header.generation, header.first_sequence);
        for (key, value) in block.shared_headers() {
            builder.shared_header(key, value).expect("shared headers of a block are within limits");
        }
        builder.block_bytes_before = BlockHeader::BYTES + header.raw_bytes as usize;
        builder
    }

    /// Forgets events, shared headers and identity; keeps the memory.
    pub fn reset(&mut self, producer: ProducerId, generation: u64, first_sequence: u64) {
        self.clear_events();
        self.shared.clear();
        self.keys.clear();
        self.producer = producer;
        self.generation = generation;
        self.next_sequence = first_sequence;
        self.first_sequence = first_sequence;
    }

    /// Sets a header for all events of this block and of those after it. Replaces the one before
    /// under the same key.
    ///
    /// Must come before the block's first event.
    pub fn shared_header(&mut self, key: &str, value: &str) -> Result<(), PushError> {
        if self.count > 0 {
            return Err(PushError::NotEmpty);
        }
        check_header(key, value)?;
        let old = self.shared.get(key).map_or(0, |old| key.len() + old.len());
        let headers = self.shared.len() + usize::from(old == 0);
        at_most("header count", headers, HEADERS_MAX)?;
        let bytes = self.keys.shared_bytes - old + key.len() + value.len();
        at_most("header bytes", bytes, HEADER_BYTES_MAX)?;
        self.shared.set(key, value);
        self.keys.share(&self.shared);
        Ok(())
    }

    /// Adds an event with the next sequence.
    ///
    /// `headers` are its own and take precedence over shared ones. On an error nothing is added and
    /// no sequence is used.
    #[inline]
    pub fn push<'h>(
        &mut self,
        timestamp_ms: Option<i64>,
        headers: impl IntoIterator<Item = (&'h str, &'h str)>,
        body: &[u8],
    ) -> Result<(), PushError> {
        self.push_with_sequence(self.next_sequence, timestamp_ms, headers, body)
    }

    /// Adds an event of another block with all it has: sequence, timestamp, headers, body.
    ///
    /// It gets the own headers it had; the shared ones are the builder's.
    pub fn push_event(&mut self, event: &EventRef<'_>) -> Result<(), PushError> {
        let sequence = event.sequence();
        self.push_with_sequence(sequence, event.timestamp_ms(), event.own_headers(), event.body())
    }

    /// Adds an event with a sequence of its own, above all before it: how a thinned block keeps the
    /// ids of what is left. The first one decides the block's first sequence.
    pub fn push_with_sequence<'h>(
        &mut self,
        sequence: u64,
        timestamp_ms: Option<i64>,
        headers: impl IntoIterator<Item = (&'h str, &'h str)>,
        body: &[u8],
    ) -> Result<(), PushError> {
        let gap = self.gap_before(sequence)?;
        at_most("body bytes", body.len(), BODY_BYTES_MAX)?;
        if self.count as usize == EVENTS_MAX {
            return Err(PushError::Full { field: "count", limit: EVENTS_MAX as u64 });
        }
        let known = self.keys.len();
        let result = self
            .encode_own(headers)
            .and_then(|own_headers| self.append(own_headers, gap, timestamp_ms, body));
        if let Err(error) = result {
            self.keys.truncate(known);
            return Err(error);
        }
        if self.count == 0 {
            self.first_sequence = sequence;
        }
        self.count += 1;
        self.next_sequence = sequence + 1;
        Ok(())
    }

    /// Events so far.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is no event yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The sequence of the next event pushed.
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Bytes of the block so far, uncompressed.
    pub fn encoded_bytes(&self) -> usize {
        self.block.len().max(BlockHeader::BYTES) + self.keys.encoded_bytes()
    }

    /// Ends the block. The builder is empty then, keeps its shared headers, and goes on with the
    /// next sequence.
    ///
    /// A body that compression would not make smaller is stored as it is.
    ///
    /// # Panics
    /// If there is no event: see [`is_empty`](Self::is_empty).
    pub fn finish(&mut self, codec: Codec) -> Block {
        assert!(self.count > 0, "a block has at least one event");
        let mut raw = std::mem::take(&mut self.block);
        let events_bytes = raw.len() - BlockHeader::BYTES;
        self.keys.write(&self.shared, &mut raw);
        self.block_bytes_before = raw.len();
        // What the growing left unused would stay with the block for as long as it lives.
        if raw.capacity() - raw.len() > raw.len() / 4 {
            raw.shrink_to_fit();
        }
        let raw_bytes = raw.len() - BlockHeader::BYTES;
        let mut header = BlockHeader {
            codec,
            count: self.count,
            raw_bytes: raw_bytes as u32,
            stored_bytes: raw_bytes as u32,
            events_bytes: events_bytes as u32,
            min_timestamp_ms: self.timestamps.map(|(min, _)| min),
            max_timestamp_ms: self.timestamps.map(|(_, max)| max),
            producer: self.producer,
            generation: self.generation,
            first_sequence: self.first_sequence,
            last_sequence: self.next_sequence - 1,
            own_headers: self.own_headers,
            crc: 0,
        };
        self.clear_events();
        self.keys.truncate(self.shared.len());

        let dictionary = Dictionary::read(&raw[BlockHeader::BYTES..], events_bytes)
            .expect("the builder checked every header");
        if let Some(mut stored) = codec.compress(&raw[BlockHeader::BYTES..], BlockHeader::BYTES) {
            header.stored_bytes = (stored.len() - BlockHeader::BYTES) as u32;
            header.write(&mut stored);
            let body = Bytes::from(raw).slice(BlockHeader::BYTES..);
            return Block(Arc::new(Checked { header, bytes: stored.into(), body, dictionary }));
        }
        header.codec = Codec::None;
        header.write(&mut raw);
        let bytes = Bytes::from(raw);
        let body = bytes.slice(BlockHeader::BYTES..);
        Block(Arc::new(Checked { header, bytes, body, dictionary }))
    }

    fn clear_events(&mut self) {
        self.block.clear();
        self.count = 0;
        self.first_sequence = self.next_sequence;
        self.own_headers = false;
        self.last_timestamp_ms = 0;
        self.timestamps = None;
    }

    /// How many sequences are missing between the event before and this one.
    fn gap_before(&self, sequence: u64) -> Result<u64, PushError> {
        let expected = if self.count == 0 { 0 } else { self.next_sequence };
        if sequence < expected || sequence == u64::MAX {
            return Err(PushError::Sequence { expected, found: sequence });
        }
        if self.count == 0 {
            return Ok(0);
        }
        if sequence - self.first_sequence > u32::MAX.into() {
            return Err(PushError::Full { field: "sequence span", limit: u32::MAX.into() });
        }
        Ok(sequence - expected)
    }

    /// Encodes `headers` into `self.own` and returns how many there are.
    fn encode_own<'h>(
        &mut self,
        headers: impl IntoIterator<Item = (&'h str, &'h str)>,
    ) -> Result<usize, PushError> {
        self.own.clear();
        self.keys.next_event();
        let (mut own, mut all, mut bytes) = (0, self.shared.len(), self.keys.shared_bytes);
        for (key, value) in headers {
            check_header(key, value)?;
            let (index, shared_bytes) = self.keys.use_own(own, key)?;
            own += 1;
            // An own header takes the place of the shared one under its key.
            all += usize::from(shared_bytes == 0);
            bytes = bytes - shared_bytes + key.len() + value.len();
            at_most("header count", all, HEADERS_MAX)?;
            at_most("header bytes", bytes, HEADER_BYTES_MAX)?;
            varint::put(&mut self.own, index.into());
            varint::put(&mut self.own, value.len() as u64);
            self.own.extend_from_slice(value.as_bytes());
        }
        Ok(own)
    }

    /// Appends the event whose own headers are in `self.own`.
    fn append(
        &mut self,
        own_headers: usize,
        gap: u64,
        timestamp_ms: Option<i64>,
        body: &[u8],
    ) -> Result<(), PushError> {
        let shape = Shape::new(own_headers as u64, gap > 0, timestamp_ms.is_some()).0;
        let delta =
            timestamp_ms.map(|now| varint::zigzag(now.wrapping_sub(self.last_timestamp_ms)));
        let bytes = varint::len(shape)
            + if gap > 0 { varint::len(gap) } else { 0 }
            + delta.map_or(0, varint::len)
            + self.own.len()
            + varint::len(body.len() as u64)
            + body.len();
        if self.encoded_bytes() + bytes > BLOCK_BYTES_MAX {
            return Err(PushError::Full { field: "bytes", limit: BLOCK_BYTES_MAX as u64 });
        }
        if self.block.is_empty() {
            self.block.reserve(self.block_bytes_before.max(BlockHeader::BYTES + bytes));
            self.block.resize(BlockHeader::BYTES, 0);
        }
        let block = &mut self.block;
        varint::put(block, shape);
        if gap > 0 {
            varint::put(block, gap);
        }
        if let Some(delta) = delta {
            varint::put(block, delta);
        }
        block.extend_from_slice(&self.own);
        varint::put(block, body.len() as u64);
        block.extend_from_slice(body);

        self.own_headers |= own_headers > 0;
        if let Some(now) = timestamp_ms {
            self.last_timestamp_ms = now;
            let (min, max) = self.timestamps.unwrap_or((now, now));
            self.timestamps = Some((min.min(now), max.max(now)));
        }
        Ok(())
    }
}

/// Tells which block this will be and never what is in it.
impl fmt::Debug for BlockBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockBuilder")
            .field("producer", &self.producer)
            .field("generation", &self.generation)
            .field("next_sequence", &self.next_sequence)
            .field("len", &self.count)
            .field("encoded_bytes", &self.encoded_bytes())
            .finish()
    }
}

fn check_header(key: &str, value: &str) -> Result<(), PushError> {
    if key.is_empty() {
        return Err(PushError::EmptyKey);
    }
    at_most("header key bytes", key.len(), HEADER_KEY_BYTES_MAX)?;
    at_most("header value bytes", value.len(), HEADER_VALUE_BYTES_MAX)
}

fn at_most(field: &'static str, value: usize, limit: usize) -> Result<(), PushError> {
    if value > limit {
        return Err(PushError::Limit { field, value: value as u64, limit: limit as u64 });
    }
    Ok(())
}
