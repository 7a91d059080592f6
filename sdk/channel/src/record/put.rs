//! The record of an accepted block.

use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use sdk_event::ProducerId;
use sdk_flow::{ChannelSet, Dropped, Part, Positions};
use sdk_wal::Body;
use smallvec::SmallVec;

use super::fields::put_varint;
use super::{Fields, RecordError, put_text};
use crate::totals::Totals;

const VERSION: u8 = 1;
/// Bytes of the length that ends the foot.
const FOOT_LENGTH: usize = 4;
const HAS_POSITION: u8 = 1;

/// The most parts of one put: as many as there may be different sets of
/// channels in it.
pub(crate) const PARTS_MAX: usize = u8::MAX as usize;

/// The record of an accepted block, blocks not looked at.
#[derive(Debug, Clone)]
pub struct PutRecord {
    /// Whose events these are.
    pub producer: ProducerId,
    /// The producer's generation.
    pub generation: u64,
    /// The sequence number of the first event.
    pub first_sequence: u64,
    /// How many events were accepted.
    pub count: u32,
    /// The CRC32C of the accepted block.
    pub block_crc: u32,
    /// What is left of it, by channels.
    pub parts: SmallVec<[PartBytes; 1]>,
    /// What was dropped, by rule.
    pub dropped: Vec<Dropped>,
    /// Where the source stands.
    pub source_position: Option<Bytes>,
    /// The encoded totals of the lineage, this record included.
    totals: Bytes,
}

/// A part of a put record.
#[derive(Debug, Clone)]
pub struct PartBytes {
    /// The channels that have it.
    pub channels: ChannelSet,
    /// Where its events stood in the accepted block.
    pub positions: Positions,
    /// The block, as it was put.
    pub block: Bytes,
}

/// What [`encode_put`] writes behind the blocks.
pub(crate) struct PutFoot<'a> {
    pub(crate) producer: ProducerId,
    pub(crate) generation: u64,
    pub(crate) first_sequence: u64,
    pub(crate) count: u32,
    pub(crate) block_crc: u32,
    pub(crate) parts: &'a [Part],
    pub(crate) dropped: &'a [Dropped],
    pub(crate) source_position: Option<&'a Bytes>,
    pub(crate) totals: &'a Totals,
}

/// The blocks of a put's body: their own bytes, shared, and their CRC computed, so
/// that what follows under the shard's lock is short.
pub(crate) fn encode_blocks(parts: &[Part]) -> Body {
    let mut body: Body = parts.iter().map(|part| part.block.bytes().clone()).collect();
    body.hash();
    body
}

/// The body of a put: the blocks of its parts, then a foot of our own.
pub(crate) fn encode_put(mut blocks: Body, foot: &PutFoot<'_>) -> Body {
    let mut bytes = BytesMut::with_capacity(256);
    bytes.put_u8(VERSION);
    bytes.put_u8(if foot.source_position.is_some() { HAS_POSITION } else { 0 });
    bytes.put_u8(foot.parts.len() as u8);
    bytes.put_u8(foot.dropped.len() as u8);
    bytes.put_slice(&foot.producer.0);
    bytes.put_u64_le(foot.generation);
    bytes.put_u64_le(foot.first_sequence);
    bytes.put_u32_le(foot.count);
    bytes.put_u32_le(foot.block_crc);
    for part in foot.parts {
        bytes.put_u64_le(part.channels.bits());
        bytes.put_u32_le(part.block.bytes().len() as u32);
        put_positions(&mut bytes, &part.positions);
    }
    for dropped in foot.dropped {
        bytes.put_u64_le(dropped.channels.bits());
        bytes.put_u32_le(dropped.events);
        put_text(&mut bytes, &dropped.rule);
    }
    if let Some(position) = foot.source_position {
        bytes.put_u32_le(position.len() as u32);
        bytes.put_slice(position);
    }
    foot.totals.encode(&mut bytes);
    bytes.put_u32_le((bytes.len() + FOOT_LENGTH) as u32);
    blocks.push(bytes.freeze());
    blocks
}

/// Zero for all, else the length in bytes of the list, then the list: the first
/// position, then each as its distance to the one before, less one.
fn put_positions(bytes: &mut BytesMut, positions: &Positions) {
    let at = bytes.len();
    bytes.put_u32_le(0);
    if let Positions::Some(positions) = positions {
        let mut next = 0;
        for position in positions.iter() {
            put_varint(bytes, position - next);
            next = position + 1;
        }
        let length = (bytes.len() - at - 4) as u32;
        bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }
}

impl PutRecord {
    pub(super) fn decode(mut body: Body) -> Result<PutRecord, RecordError> {
        let foot = foot(&body)?;
        let blocks = body.remaining() - foot.len() - FOOT_LENGTH;
        let mut fields = Fields::new(foot);
        fields.version(VERSION)?;
        let flags = fields.u8()?;
        if flags & !HAS_POSITION != 0 {
            return Err(RecordError::Malformed("a flag is unknown"));
        }
        let (parts, drops) = (fields.u8()?, fields.u8()?);
        let mut record = PutRecord {
            producer: fields.producer()?,
            generation: fields.u64()?,
            first_sequence: fields.u64()?,
            count: fields.u32()?,
            block_crc: fields.u32()?,
            parts: SmallVec::new(),
            dropped: Vec::with_capacity(usize::from(drops)),
            source_position: None,
            totals: Bytes::new(),
        };
        let mut lengths: SmallVec<[usize; 4]> = SmallVec::new();
        for _ in 0..parts {
            let channels = ChannelSet::from_bits(fields.u64()?);
            lengths.push(fields.u32()? as usize);
            let positions = read_positions(&mut fields, record.count)?;
            record.parts.push(PartBytes { channels, positions, block: Bytes::new() });
        }
        for _ in 0..drops {
            let channels = ChannelSet::from_bits(fields.u64()?);
            let events = fields.u32()?;
            record.dropped.push(Dropped { rule: Arc::from(fields.text()?), channels, events });
        }
        if flags & HAS_POSITION != 0 {
            let length = fields.u32()?;
            record.source_position = Some(fields.bytes(length as usize)?);
        }
        record.totals = fields.rest();
        if lengths.iter().sum::<usize>() != blocks {
            return Err(RecordError::Malformed("its blocks are not as long as it says"));
        }
        for (part, length) in record.parts.iter_mut().zip(lengths) {
            part.block = body.copy_to_bytes(length);
        }
        Ok(record)
    }

    /// The lineage's running totals, this record included.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn totals(&self) -> Result<Totals, RecordError> {
        let mut fields = Fields::new(self.totals.clone());
        let totals = Totals::decode(&mut fields)?;
        fields.end()?;
        Ok(totals)
    }
}

/// The foot without its length. Whether the body is in one piece or as it was put
/// together, the foot lies in its last chunk.
fn foot(body: &Body) -> Result<Bytes, RecordError> {
    let early = RecordError::Malformed("it ends early");
    let last = body.chunks().last().ok_or(early.clone())?;
    let end = last.len().checked_sub(FOOT_LENGTH).ok_or(early.clone())?;
    let length = Fields::new(last.slice(end..)).u32()? as usize;
    let start = last.len().checked_sub(length).filter(|start| *start <= end).ok_or(early)?;
    Ok(last.slice(start..end))
}

fn read_positions(fields: &mut Fields, count: u32) -> Result<Positions, RecordError> {
    let length = fields.u32()?;
    if length == 0 {
        return Ok(Positions::All);
    }
    let mut list = Fields::new(fields.bytes(length as usize)?);
    // A position takes at least a byte, so the list is no longer than what was read.
    let mut positions = Vec::with_capacity(length.min(count) as usize);
    let mut next = 0u32;
    while !list.is_empty() {
        let position = next.checked_add(list.varint()?).filter(|position| *position < count);
        let position = position.ok_or(RecordError::Malformed("a position is out of place"))?;
        positions.push(position);
        next = position + 1;
    }
    Ok(Positions::Some(Arc::from(positions)))
}
