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
/// Bytes of the fixed fields.
const FIXED: usize = 56;
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

/// What [`encode_put`] writes before the blocks.
pub(crate) struct PutHead<'a> {
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

/// The body of a put: a head of our own, then the blocks' own bytes, shared.
pub(crate) fn encode_put(head: &PutHead<'_>) -> Body {
    let mut bytes = BytesMut::with_capacity(256);
    bytes.put_u8(VERSION);
    bytes.put_u8(if head.source_position.is_some() { HAS_POSITION } else { 0 });
    bytes.put_u8(head.parts.len() as u8);
    bytes.put_u8(head.dropped.len() as u8);
    bytes.put_u32_le(0);
    bytes.put_u32_le(0);
    bytes.put_slice(&head.producer.0);
    bytes.put_u64_le(head.generation);
    bytes.put_u64_le(head.first_sequence);
    bytes.put_u32_le(head.count);
    bytes.put_u32_le(head.block_crc);
    bytes.put_u32_le(0);
    debug_assert_eq!(bytes.len(), FIXED);
    for part in head.parts {
        bytes.put_u64_le(part.channels.bits());
        bytes.put_u32_le(part.block.bytes().len() as u32);
        put_positions(&mut bytes, &part.positions);
    }
    for dropped in head.dropped {
        bytes.put_u64_le(dropped.channels.bits());
        bytes.put_u32_le(dropped.events);
        put_text(&mut bytes, &dropped.rule);
    }
    if let Some(position) = head.source_position {
        bytes.put_u32_le(position.len() as u32);
        bytes.put_slice(position);
    }
    let totals_at = bytes.len();
    head.totals.encode(&mut bytes);
    let (length, totals) = (bytes.len() as u32, (bytes.len() - totals_at) as u32);
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    bytes[8..12].copy_from_slice(&totals.to_le_bytes());
    let blocks = head.parts.iter().map(|part| part.block.bytes().clone());
    std::iter::once(bytes.freeze()).chain(blocks).collect()
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
        let early = RecordError::Malformed("it ends early");
        if body.remaining() < FIXED {
            return Err(early);
        }
        let mut fields = Fields::new(body.copy_to_bytes(FIXED));
        fields.version(VERSION)?;
        let flags = fields.u8()?;
        if flags & !HAS_POSITION != 0 {
            return Err(RecordError::Malformed("a flag is unknown"));
        }
        let (parts, drops) = (fields.u8()?, fields.u8()?);
        let (head, totals) = (fields.u32()? as usize, fields.u32()? as usize);
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
        if fields.u32()? != 0 {
            return Err(RecordError::Malformed("a reserved field is used"));
        }
        let Some(variable) = head.checked_sub(FIXED).and_then(|rest| rest.checked_sub(totals))
        else {
            return Err(early);
        };
        if body.remaining() < variable + totals {
            return Err(early);
        }
        let mut fields = Fields::new(body.copy_to_bytes(variable));
        record.totals = body.copy_to_bytes(totals);
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
        fields.end()?;
        for (part, length) in record.parts.iter_mut().zip(lengths) {
            if body.remaining() < length {
                return Err(early);
            }
            part.block = body.copy_to_bytes(length);
        }
        match body.remaining() {
            0 => Ok(record),
            _ => Err(RecordError::Malformed("something follows its end")),
        }
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
