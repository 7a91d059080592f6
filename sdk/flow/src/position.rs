//! Where a source stands, as bytes that travel in the put record.

use std::collections::BTreeMap;

use bytes::{BufMut as _, Bytes, BytesMut};

/// What a source wants to be told again at its next start, stored in the same
/// record as the events it belongs to: an agent killed between the two reads
/// no line twice and loses none.
///
/// A source keeps several positions apart by key (taildir: one for each file).
/// Whoever stores puts folds them with [`SourcePosition::fold`] over the
/// records in their order, keeps the result wherever the log is cut behind
/// them, and hands it back in [`SourceStart`](crate::SourceStart). Key and value
/// mean something to the source alone.
///
/// Bytes: magic `CSP`, version 1, length of the name (u8), the name, number of
/// entries (u16), then for each the length of its key (u16), the key, the length
/// of its value (u16) and the value; `0xFFFF` in place of the last length means
/// that the key is forgotten. Numbers are little-endian.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourcePosition {
    /// The name of the source in its flow.
    pub source: String,
    /// Keys, each with its new value, or `None` when it is to be forgotten.
    pub entries: Vec<(Bytes, Option<Bytes>)>,
}

/// Positions of a flow's sources: by source, then by key.
pub type FoldedPositions = BTreeMap<String, BTreeMap<Bytes, Bytes>>;

/// Bytes that are no source position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PositionError {
    /// They were never one.
    #[error("source position is malformed")]
    Malformed,
    /// A later program wrote them.
    #[error("source position has version {0}, this program knows version 1")]
    Newer(u8),
}

const MAGIC: &[u8; 3] = b"CSP";
const VERSION: u8 = 1;
const FORGOTTEN: u16 = u16::MAX;

impl SourcePosition {
    /// The longest name of a source, in bytes.
    pub const NAME_BYTES_MAX: usize = u8::MAX as usize;
    /// The longest key, in bytes.
    pub const KEY_BYTES_MAX: usize = 256;
    /// The longest value, in bytes. (A path is at most 4,096.)
    pub const VALUE_BYTES_MAX: usize = 8 * 1024;
    /// The most entries in one record.
    pub const ENTRIES_MAX: usize = 1024;

    /// The bytes that travel in [`Put::source_position`](crate::Put).
    ///
    /// # Panics
    /// If a name, a key, a value or their number is beyond the limits above.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        assert!(self.source.len() <= Self::NAME_BYTES_MAX, "source name is too long");
        assert!(self.entries.len() <= Self::ENTRIES_MAX, "too many entries");
        let mut bytes = BytesMut::with_capacity(64 * (1 + self.entries.len()));
        bytes.put_slice(MAGIC);
        bytes.put_u8(VERSION);
        bytes.put_u8(self.source.len() as u8);
        bytes.put_slice(self.source.as_bytes());
        bytes.put_u16_le(self.entries.len() as u16);
        for (key, value) in &self.entries {
            assert!(key.len() <= Self::KEY_BYTES_MAX, "key is too long");
            bytes.put_u16_le(key.len() as u16);
            bytes.put_slice(key);
            match value {
                None => bytes.put_u16_le(FORGOTTEN),
                Some(value) => {
                    assert!(value.len() <= Self::VALUE_BYTES_MAX, "value is too long");
                    bytes.put_u16_le(value.len() as u16);
                    bytes.put_slice(value);
                }
            }
        }
        bytes.freeze()
    }

    /// Reads what [`SourcePosition::encode`] wrote. Keys and values share `bytes`.
    ///
    /// # Errors
    /// When `bytes` are not of that form, or of a later one.
    pub fn decode(bytes: &Bytes) -> Result<SourcePosition, PositionError> {
        let mut rest = Cursor { bytes: bytes.clone() };
        if rest.take(3)?.as_ref() != MAGIC {
            return Err(PositionError::Malformed);
        }
        match rest.u8()? {
            VERSION => (),
            newer => return Err(PositionError::Newer(newer)),
        }
        let name = rest.u8()?;
        let source = String::from_utf8(rest.take(usize::from(name))?.to_vec())
            .map_err(|_| PositionError::Malformed)?;
        let count = usize::from(rest.u16()?);
        if count > Self::ENTRIES_MAX {
            return Err(PositionError::Malformed);
        }
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let key = rest.u16()?;
            let key = rest.take(usize::from(key))?;
            let value = match rest.u16()? {
                FORGOTTEN => None,
                length => Some(rest.take(usize::from(length))?),
            };
            entries.push((key, value));
        }
        if !rest.bytes.is_empty() {
            return Err(PositionError::Malformed);
        }
        Ok(SourcePosition { source, entries })
    }

    /// Applies this record to what earlier ones left.
    pub fn fold(self, positions: &mut FoldedPositions) {
        let source = positions.entry(self.source).or_default();
        for (key, value) in self.entries {
            match value {
                Some(value) => source.insert(key, value),
                None => source.remove(&key),
            };
        }
    }
}

struct Cursor {
    bytes: Bytes,
}

impl Cursor {
    fn take(&mut self, length: usize) -> Result<Bytes, PositionError> {
        if self.bytes.len() < length {
            return Err(PositionError::Malformed);
        }
        Ok(self.bytes.split_to(length))
    }

    fn u8(&mut self) -> Result<u8, PositionError> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16, PositionError> {
        let bytes = self.take(2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }
}
