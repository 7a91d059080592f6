//! What a shard remembers, written into its own log piece by piece.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{Fields, RecordError};
use crate::totals::Totals;

const VERSION: u8 = 1;
const LAST: u8 = 1;

/// What a part of a checkpoint is about. Sections come in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// The admission table: keys are producer ids.
    Producers = 1,
    /// Positions of sources, cursors of a spool: see FORMAT.md for the keys.
    Facts = 2,
}

/// One part of a checkpoint: everything known in one range of keys, as of the
/// part's own offset.
///
/// The parts of a checkpoint need not be neighbours: puts go on between them.
/// A key is what the part that covers it says, and what the records behind that
/// part have changed since. So a replay that begins at part 0 knows everything
/// exactly from the last part on, and only then: a checkpoint whose last part is
/// missing, or lies at or above the lineage's length, does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointPart {
    /// The offset of part 0, the same in all parts.
    pub first: u64,
    /// Which part this is.
    pub index: u32,
    /// Whether the checkpoint is complete with this part.
    pub last: bool,
    /// What the keys are.
    pub section: Section,
    /// The first key covered.
    pub low: Bytes,
    /// The key behind the last one covered; `None` for the end of the section.
    pub high: Option<Bytes>,
    /// What there is in the range, by key.
    pub entries: Vec<(Bytes, Bytes)>,
    /// The lineage's totals below this part.
    pub totals: Totals,
}

/// A part in the making.
pub(crate) struct PartBuilder {
    bytes: BytesMut,
    entries: u32,
}

/// Where the number of entries stands, to be filled in last.
const HEAD_BYTES: usize = 32;
const ENTRIES_AT: usize = 16;
const HIGH_AT: usize = 20;
const FLAGS_AT: usize = 1;

impl PartBuilder {
    /// The most bytes of entries in one part. Small, because a part is made
    /// under the shard's lock; the format allows 1 MiB.
    pub(crate) const BYTES_MAX: usize = 8 << 10;

    pub(crate) fn new(first: u64, index: u32, section: Section, low: &[u8]) -> PartBuilder {
        let mut bytes = BytesMut::with_capacity(HEAD_BYTES + 2 * low.len() + 256);
        bytes.put_u8(VERSION);
        bytes.put_u8(0);
        bytes.put_u8(section as u8);
        bytes.put_u8(0);
        bytes.put_u64_le(first);
        bytes.put_u32_le(index);
        bytes.put_u32_le(0);
        bytes.put_u32_le(u32::MAX);
        bytes.put_u32_le(0);
        bytes.put_u32_le(low.len() as u32);
        debug_assert_eq!(bytes.len(), HEAD_BYTES);
        bytes.put_slice(low);
        PartBuilder { bytes, entries: 0 }
    }

    pub(crate) fn entry(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.put_u16_le(key.len() as u16);
        self.bytes.put_u32_le(value.len() as u32);
        self.bytes.put_slice(key);
        self.bytes.put_slice(value);
        self.entries += 1;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= PartBuilder::BYTES_MAX
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// `high` is where the next part begins, `None` at the end of the section.
    pub(crate) fn finish(mut self, high: Option<&[u8]>, last: bool, totals: &Totals) -> Bytes {
        if let Some(high) = high {
            let length = high.len() as u32;
            self.bytes[HIGH_AT..HIGH_AT + 4].copy_from_slice(&length.to_le_bytes());
            self.bytes.put_slice(high);
        }
        self.bytes[ENTRIES_AT..ENTRIES_AT + 4].copy_from_slice(&self.entries.to_le_bytes());
        self.bytes[FLAGS_AT] = if last { LAST } else { 0 };
        totals.encode(&mut self.bytes);
        self.bytes.freeze()
    }
}

impl CheckpointPart {
    pub(super) fn decode(bytes: Bytes) -> Result<CheckpointPart, RecordError> {
        let mut fields = Fields::new(bytes);
        fields.version(VERSION)?;
        let flags = fields.u8()?;
        let section = match fields.u8()? {
            1 => Section::Producers,
            2 => Section::Facts,
            _ => return Err(RecordError::Malformed("a section is unknown")),
        };
        if flags & !LAST != 0 || fields.u8()? != 0 {
            return Err(RecordError::Malformed("a flag is unknown"));
        }
        let (first, index, count) = (fields.u64()?, fields.u32()?, fields.u32()?);
        let high_length = fields.u32()?;
        if fields.u32()? != 0 {
            return Err(RecordError::Malformed("a reserved field is used"));
        }
        let low_length = fields.u32()?;
        let low = fields.bytes(low_length as usize)?;
        let mut entries = Vec::new();
        for _ in 0..count {
            let (key, value) = (fields.u16()?, fields.u32()?);
            entries.push((fields.bytes(usize::from(key))?, fields.bytes(value as usize)?));
        }
        let high = match high_length {
            u32::MAX => None,
            length => Some(fields.bytes(length as usize)?),
        };
        let inside = |key: &Bytes| *key >= low && high.as_ref().is_none_or(|high| key < high);
        if !entries.iter().all(|(key, _)| inside(key)) || !entries.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(RecordError::Malformed("a key is out of place"));
        }
        let totals = Totals::decode(&mut fields)?;
        fields.end()?;
        Ok(CheckpointPart {
            first,
            index,
            last: flags & LAST != 0,
            section,
            low,
            high,
            entries,
            totals,
        })
    }
}
