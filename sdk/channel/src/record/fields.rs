//! Little-endian fields of a record's body, every length checked before use.

use bytes::{Buf as _, Bytes};
use sdk_event::ProducerId;

use super::RecordError;

/// What is left to read of a body.
#[derive(Debug, Clone)]
pub(crate) struct Fields {
    rest: Bytes,
}

impl Fields {
    pub(crate) fn new(bytes: Bytes) -> Fields {
        Fields { rest: bytes }
    }

    /// The next `length` bytes, shared, not copied.
    pub(crate) fn bytes(&mut self, length: usize) -> Result<Bytes, RecordError> {
        if self.rest.len() < length {
            return Err(RecordError::Malformed("it ends early"));
        }
        Ok(self.rest.split_to(length))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, RecordError> {
        self.need(1)?;
        Ok(self.rest.get_u8())
    }

    pub(crate) fn u16(&mut self) -> Result<u16, RecordError> {
        self.need(2)?;
        Ok(self.rest.get_u16_le())
    }

    pub(crate) fn u32(&mut self) -> Result<u32, RecordError> {
        self.need(4)?;
        Ok(self.rest.get_u32_le())
    }

    pub(crate) fn u64(&mut self) -> Result<u64, RecordError> {
        self.need(8)?;
        Ok(self.rest.get_u64_le())
    }

    pub(crate) fn i64(&mut self) -> Result<i64, RecordError> {
        self.need(8)?;
        Ok(self.rest.get_i64_le())
    }

    pub(crate) fn producer(&mut self) -> Result<ProducerId, RecordError> {
        self.need(16)?;
        let mut id = [0; 16];
        self.rest.copy_to_slice(&mut id);
        Ok(ProducerId(id))
    }

    /// A string behind its length in one byte.
    pub(crate) fn text(&mut self) -> Result<String, RecordError> {
        let length = self.u8()?;
        String::from_utf8(self.bytes(usize::from(length))?.to_vec())
            .map_err(|_| RecordError::Malformed("a name is not UTF-8"))
    }

    /// An unsigned LEB128 number of at most 32 bits.
    pub(crate) fn varint(&mut self) -> Result<u32, RecordError> {
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value)
                    .map_err(|_| RecordError::Malformed("a number is too large"));
            }
        }
        Err(RecordError::Malformed("a number does not end"))
    }

    /// A body that begins with the version of its form.
    pub(crate) fn version(&mut self, known: u8) -> Result<(), RecordError> {
        match self.u8()? {
            version if version == known => Ok(()),
            0 => Err(RecordError::Malformed("it has no version")),
            version => Err(RecordError::Newer { version, known }),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn rest(self) -> Bytes {
        self.rest
    }

    /// Refuses what stands behind the last field.
    pub(crate) fn end(self) -> Result<(), RecordError> {
        match self.rest.len() {
            0 => Ok(()),
            _ => Err(RecordError::Malformed("something follows its end")),
        }
    }

    fn need(&self, length: usize) -> Result<(), RecordError> {
        match self.rest.len() < length {
            true => Err(RecordError::Malformed("it ends early")),
            false => Ok(()),
        }
    }
}

/// Writes what [`Fields::varint`] reads.
pub(crate) fn put_varint(bytes: &mut bytes::BytesMut, mut value: u32) {
    use bytes::BufMut as _;
    while value >= 0x80 {
        bytes.put_u8((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    bytes.put_u8(value as u8);
}

/// Writes what [`Fields::text`] reads, cut at 255 bytes on a character's border.
pub(crate) fn put_text(bytes: &mut bytes::BytesMut, text: &str) {
    use bytes::BufMut as _;
    let text = &text[..text.floor_char_boundary(usize::from(u8::MAX))];
    bytes.put_u8(text.len() as u8);
    bytes.put_slice(text.as_bytes());
}
