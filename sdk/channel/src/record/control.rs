//! Records without events.

use bytes::{BufMut as _, Bytes, BytesMut};
use sdk_event::{Lineage, ProducerId};

use super::{Fields, RecordError, put_text};

/// The form of all of these.
pub(super) const VERSION: u8 = 1;

/// A producer opened a session. Written before it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Who.
    pub producer: ProducerId,
    /// Under which numbering.
    pub generation: u64,
    /// The sequence number expected next.
    pub next: u64,
    /// The producer is new here, or was forgotten: nothing earlier counts.
    pub fresh: bool,
    /// Who was forgotten to make room.
    pub forgotten: Option<ProducerId>,
}

/// Sequence numbers that a producer says will never come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Who.
    pub producer: ProducerId,
    /// Under which numbering.
    pub generation: u64,
    /// The first that will not come.
    pub from: u64,
    /// The first that may.
    pub to: u64,
}

/// A producer closed its session and can soon be forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// Who.
    pub producer: ProducerId,
    /// Under which numbering.
    pub generation: u64,
}

/// A sink group of a spool has delivered everything below `floor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorCommit {
    /// The channel's number.
    pub channel: u8,
    /// The sink group's name.
    pub group: String,
    /// The lineage it drains; not the one that this record is in, perhaps.
    pub lineage: Lineage,
    /// Below it everything is delivered.
    pub floor: u64,
}

/// A source of this flow puts under these ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceName {
    /// The source's name in its flow.
    pub name: String,
    /// Its producer id.
    pub producer: ProducerId,
}

/// Offsets of a lineage of this shard that were given up: who puts what stood there again is told that
/// it is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The lineage's epoch.
    pub epoch: u64,
    /// The first offset.
    pub from: u64,
    /// The first that is not lost.
    pub to: u64,
    /// Which block stood there, if that is known: then nothing else is meant. Otherwise it is
    /// every block that may have stood there.
    pub ids: Option<LostIds>,
}

/// The sequence numbers of a block that was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostIds {
    /// Whose they are.
    pub producer: ProducerId,
    /// Under which numbering.
    pub generation: u64,
    /// The first.
    pub first: u64,
    /// The first behind them.
    pub end: u64,
}

const FRESH: u8 = 1;
const HAS_IDS: u8 = 1;
const FORGETS: u8 = 2;

impl Registration {
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(64);
        bytes.put_u8(VERSION);
        let forgets = if self.forgotten.is_some() { FORGETS } else { 0 };
        bytes.put_u8(forgets | if self.fresh { FRESH } else { 0 });
        bytes.put_slice(&self.producer.0);
        bytes.put_u64_le(self.generation);
        bytes.put_u64_le(self.next);
        if let Some(forgotten) = &self.forgotten {
            bytes.put_slice(&forgotten.0);
        }
        bytes.freeze()
    }

    pub(super) fn decode(bytes: Bytes) -> Result<Registration, RecordError> {
        let mut fields = Fields::new(bytes);
        fields.version(VERSION)?;
        let flags = fields.u8()?;
        if flags & !(FRESH | FORGETS) != 0 {
            return Err(RecordError::Malformed("a flag is unknown"));
        }
        let registration = Registration {
            producer: fields.producer()?,
            generation: fields.u64()?,
            next: fields.u64()?,
            fresh: flags & FRESH != 0,
            forgotten: if flags & FORGETS != 0 { Some(fields.producer()?) } else { None },
        };
        fields.end()?;
        Ok(registration)
    }
}

impl Gap {
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(48);
        bytes.put_u8(VERSION);
        bytes.put_slice(&self.producer.0);
        bytes.put_u64_le(self.generation);
        bytes.put_u64_le(self.from);
        bytes.put_u64_le(self.to);
        bytes.freeze()
    }

    pub(super) fn decode(bytes: Bytes) -> Result<Gap, RecordError> {
        let mut fields = Fields::new(bytes);
        fields.version(VERSION)?;
        let gap = Gap {
            producer: fields.producer()?,
            generation: fields.u64()?,
            from: fields.u64()?,
            to: fields.u64()?,
        };
        fields.end()?;
        Ok(gap)
    }
}

impl Close {
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(32);
        bytes.put_u8(VERSION);
        bytes.put_slice(&self.producer.0);
        bytes.put_u64_le(self.generation);
        bytes.freeze()
    }

    pub(super) fn decode(bytes: Bytes) -> Result<Close, RecordError> {
        let mut fields = Fields::new(bytes);
        fields.version(VERSION)?;
        let close = Close { producer: fields.producer()?, generation: fields.u64()? };
        fields.end()?;
        Ok(close)
    }
}

impl CursorCommit {
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(48 + self.group.len());
        bytes.put_u8(VERSION);
        bytes.put_u8(self.channel);
        bytes.put_u64_le(self.lineage.flow);
        bytes.put_u32_le(self.lineage.shard);
        bytes.put_u64_le(self.lineage.epoch);
        bytes.put_u64_le(self.floor);
        put_text(&mut bytes, &self.group);
        bytes.freeze()
    }

    pub(super) fn decode(bytes: Bytes) -> Result<CursorCommit, RecordError> {
        let mut fields = Fields::new(bytes);
        fields.version(VERSION)?;
        let channel = fields.u8()?;
        let lineage = Lineage { flow: fields.u64()?, shard: fields.u32()?, epoch: fields.u64()? };
        let (floor, group) = (fields.u64()?, fields.text()?);
        fields.end()?;
        Ok(CursorCommit { channel, group, lineage, floor })
    }
}

impl SourceName {
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(32 + self.name.len());
        bytes.put_u8(VERSION);
        bytes.put_slice(&self.producer.0);
        put_text(&mut bytes, &self.name);
        bytes.freeze()
    }

    pub(super) fn decode(bytes: Bytes) -> Result<SourceName, RecordError> {
        let mut fields = Fields::new(bytes);
        fields.version(VERSION)?;
        let (producer, name) = (fields.producer()?, fields.text()?);
        fields.end()?;
        Ok(SourceName { name, producer })
    }
}

impl Loss {
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(72);
        bytes.put_u8(VERSION);
        bytes.put_u8(if self.ids.is_some() { HAS_IDS } else { 0 });
        bytes.put_u64_le(self.epoch);
        bytes.put_u64_le(self.from);
        bytes.put_u64_le(self.to);
        if let Some(ids) = &self.ids {
            bytes.put_slice(&ids.producer.0);
            bytes.put_u64_le(ids.generation);
            bytes.put_u64_le(ids.first);
            bytes.put_u64_le(ids.end);
        }
        bytes.freeze()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Loss, RecordError> {
        let mut fields = Fields::new(bytes);
        fields.version(VERSION)?;
        let flags = fields.u8()?;
        if flags & !HAS_IDS != 0 {
            return Err(RecordError::Malformed("a flag is unknown"));
        }
        let (epoch, from, to) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let ids = match flags & HAS_IDS {
            0 => None,
            _ => Some(LostIds {
                producer: fields.producer()?,
                generation: fields.u64()?,
                first: fields.u64()?,
                end: fields.u64()?,
            }),
        };
        fields.end()?;
        Ok(Loss { epoch, from, to, ids })
    }
}

pub(crate) fn encode_position(position: &Bytes) -> [Bytes; 2] {
    [Bytes::from_static(&[VERSION]), position.clone()]
}

pub(super) fn decode_position(bytes: Bytes) -> Result<Bytes, RecordError> {
    let mut fields = Fields::new(bytes);
    fields.version(VERSION)?;
    Ok(fields.rest())
}
