//! The first 80 bytes of a block: who, which, how many, how long.

use super::error::{BlockError, Place};
use crate::limits::{BLOCK_BYTES_MAX, EVENTS_MAX};
use crate::{Codec, ProducerId};

/// The first bytes of every block.
pub(crate) const MAGIC: [u8; 4] = *b"CLBK";
/// The newest version this crate reads, and the one it writes.
pub(crate) const VERSION: u8 = 1;

pub(crate) const THINNED: u16 = 1;
pub(crate) const TIMESTAMPS: u16 = 2;
pub(crate) const OWN_HEADERS: u16 = 4;
const KNOWN_FLAGS: u16 = THINNED | TIMESTAMPS | OWN_HEADERS;

/// An event has at least its shape and the length of its body.
const EVENT_BYTES_MIN: u32 = 2;
/// The two counts behind the events: keys and shared headers.
const TRAILER_BYTES_MIN: u32 = 2;
const CRC_AT: usize = 76;

/// What a block says about itself, readable without its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHeader {
    /// How the body is stored.
    pub codec: Codec,
    /// Events in the block, at least one.
    pub count: u32,
    /// Bytes of the body uncompressed.
    pub raw_bytes: u32,
    /// Bytes of the body as stored.
    pub stored_bytes: u32,
    /// Bytes of the uncompressed body that are events; keys and shared headers follow.
    pub events_bytes: u32,
    /// Earliest timestamp of an event, if any has one.
    pub min_timestamp_ms: Option<i64>,
    /// Latest timestamp of an event, if any has one.
    pub max_timestamp_ms: Option<i64>,
    /// Who sent the events.
    pub producer: ProducerId,
    /// In which of its numberings.
    pub generation: u64,
    /// The sequence of the first event.
    pub first_sequence: u64,
    /// The sequence of the last event.
    pub last_sequence: u64,
    /// Whether some event has headers of its own.
    pub own_headers: bool,
    /// CRC32C of the block.
    pub crc: u32,
}

impl BlockHeader {
    /// Bytes of a header.
    pub const BYTES: usize = 80;

    /// Reads a header from the front of `bytes` and checks what it says against the limits.
    ///
    /// Never looks at the body: that needs [`BlockHeader::check_crc`] or
    /// [`Block::decode`](crate::Block::decode).
    pub fn decode(bytes: &[u8]) -> Result<BlockHeader, BlockError> {
        let Some(header) = bytes.first_chunk::<{ Self::BYTES }>() else {
            return Err(BlockError::Truncated {
                place: Place::block("header"),
                wanted: Self::BYTES as u64,
                left: bytes.len() as u64,
            });
        };
        let u32_at = |at| u32::from_le_bytes(array(header, at));
        let u64_at = |at| u64::from_le_bytes(array(header, at));
        let i64_at = |at| i64::from_le_bytes(array(header, at));

        let found = array(header, 0);
        if found != MAGIC {
            return Err(BlockError::Magic { found });
        }
        if header[4] != VERSION {
            return Err(BlockError::Version { found: header[4] });
        }
        let codec = Codec::from_number(header[5]).ok_or(BlockError::Codec { found: header[5] })?;
        let flags = u16::from_le_bytes(array(header, 6));
        if flags & !KNOWN_FLAGS != 0 {
            return Err(BlockError::Flags { found: flags, known: KNOWN_FLAGS });
        }
        let (count, raw_bytes, stored_bytes) = (u32_at(8), u32_at(12), u32_at(16));
        let events_bytes = u32_at(20);
        let body_max = BLOCK_BYTES_MAX - Self::BYTES;
        at_most("count", count, EVENTS_MAX)?;
        at_most("raw length", raw_bytes, body_max)?;
        at_most("stored length", stored_bytes, body_max)?;
        at_most(
            "events length",
            events_bytes,
            raw_bytes.saturating_sub(TRAILER_BYTES_MIN) as usize,
        )?;
        if count == 0 {
            return Err(BlockError::Zero { place: Place::block("count") });
        }
        at_most("count", count, (events_bytes / EVENT_BYTES_MIN) as usize)?;
        if codec == Codec::None {
            same("stored length", stored_bytes, raw_bytes)?;
        }

        let (first_sequence, span) = (u64_at(64), u32_at(72));
        // One below the end of the numbers, so that "the next sequence" always exists.
        let span_max = (u64::MAX - 1).saturating_sub(first_sequence);
        if u64::from(span) > span_max || first_sequence == u64::MAX {
            let (value, limit) = (u64::from(span), span_max);
            return Err(BlockError::Limit { place: Place::block("sequence span"), value, limit });
        }
        // Dense blocks number every event; thinned ones have at least one hole.
        let thinned = flags & THINNED != 0;
        if thinned != (span > count - 1) || span < count - 1 {
            return Err(BlockError::Mismatch {
                place: Place::block("sequence span"),
                stated: span.into(),
                found: i128::from(count) - 1,
            });
        }

        let (min, max) = (i64_at(24), i64_at(32));
        let timestamps = flags & TIMESTAMPS != 0;
        if min > max || (!timestamps && (min, max) != (0, 0)) {
            return Err(BlockError::Mismatch {
                place: Place::block("max timestamp"),
                stated: max.into(),
                found: min.into(),
            });
        }
        Ok(BlockHeader {
            codec,
            count,
            raw_bytes,
            stored_bytes,
            events_bytes,
            min_timestamp_ms: timestamps.then_some(min),
            max_timestamp_ms: timestamps.then_some(max),
            producer: ProducerId(array(header, 40)),
            generation: u64_at(56),
            first_sequence,
            last_sequence: first_sequence + u64::from(span),
            own_headers: flags & OWN_HEADERS != 0,
            crc: u32_at(CRC_AT),
        })
    }

    /// Checks that `bytes` are the whole block of this header and that their CRC is right.
    ///
    /// What a hop does that does not read events. Says nothing about the inside of the body.
    pub fn check_crc(&self, bytes: &[u8]) -> Result<(), BlockError> {
        if bytes.len() < self.block_bytes() {
            return Err(BlockError::Truncated {
                place: Place::block("body"),
                wanted: self.stored_bytes.into(),
                left: bytes.len().saturating_sub(Self::BYTES) as u64,
            });
        }
        let body = bytes.len() - Self::BYTES;
        same("stored length", self.stored_bytes, u32::try_from(body).unwrap_or(u32::MAX))?;
        let computed = crc(bytes);
        if computed != self.crc {
            return Err(BlockError::Crc { stated: self.crc, computed });
        }
        Ok(())
    }

    /// Whether events were taken out of the middle: their sequences have holes.
    pub const fn thinned(&self) -> bool {
        self.last_sequence - self.first_sequence >= self.count as u64
    }

    /// The sequence after the last event's. Never overflows.
    pub const fn end_sequence(&self) -> u64 {
        self.last_sequence + 1
    }

    /// Bytes of the whole block as stored.
    pub const fn block_bytes(&self) -> usize {
        Self::BYTES + self.stored_bytes as usize
    }

    /// Writes this header, CRC included, over the front of `block`, whose body is in place.
    pub(crate) fn write(&mut self, block: &mut [u8]) {
        let mut flags = 0;
        for (set, flag) in [
            (self.thinned(), THINNED),
            (self.min_timestamp_ms.is_some(), TIMESTAMPS),
            (self.own_headers, OWN_HEADERS),
        ] {
            flags |= if set { flag } else { 0 };
        }
        let span = self.last_sequence - self.first_sequence;
        let mut write = |at: usize, bytes: &[u8]| {
            block[at..at + bytes.len()].copy_from_slice(bytes);
        };
        write(0, &MAGIC);
        write(4, &[VERSION, self.codec.number()]);
        write(6, &flags.to_le_bytes());
        write(8, &self.count.to_le_bytes());
        write(12, &self.raw_bytes.to_le_bytes());
        write(16, &self.stored_bytes.to_le_bytes());
        write(20, &self.events_bytes.to_le_bytes());
        write(24, &self.min_timestamp_ms.unwrap_or(0).to_le_bytes());
        write(32, &self.max_timestamp_ms.unwrap_or(0).to_le_bytes());
        write(40, &self.producer.0);
        write(56, &self.generation.to_le_bytes());
        write(64, &self.first_sequence.to_le_bytes());
        write(72, &(span as u32).to_le_bytes());
        self.crc = crc(block);
        block[CRC_AT..Self::BYTES].copy_from_slice(&self.crc.to_le_bytes());
    }
}

/// CRC32C of a whole block: all of it but the CRC itself.
fn crc(block: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&block[..CRC_AT]), &block[BlockHeader::BYTES..])
}

fn array<const N: usize>(header: &[u8; BlockHeader::BYTES], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&header[at..at + N]);
    field
}

fn at_most(field: &'static str, value: u32, limit: usize) -> Result<(), BlockError> {
    if value as usize > limit {
        let (value, limit) = (value.into(), limit as u64);
        return Err(BlockError::Limit { place: Place::block(field), value, limit });
    }
    Ok(())
}

fn same(field: &'static str, stated: u32, found: u32) -> Result<(), BlockError> {
    if stated != found {
        let (stated, found) = (stated.into(), found.into());
        return Err(BlockError::Mismatch { place: Place::block(field), stated, found });
    }
    Ok(())
}
