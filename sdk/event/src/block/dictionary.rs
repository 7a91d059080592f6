//! What a block says once for all its events: header keys and shared headers.

use std::str::from_utf8;

use super::error::{BlockError, Place};
use crate::limits::{
    HEADER_BYTES_MAX, HEADER_KEY_BYTES_MAX, HEADER_VALUE_BYTES_MAX, HEADERS_MAX, KEYS_MAX,
};
use crate::varint::Reader;

/// Where in the body the keys and the shared headers stand. Offsets into the uncompressed body.
#[derive(Debug, Default)]
pub(crate) struct Dictionary {
    pub(crate) keys: Box<[Span]>,
    pub(crate) shared: Box<[SharedHeader]>,
}

/// A piece of the body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

/// A header of every event of the block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SharedHeader {
    pub(crate) key: u32,
    pub(crate) value: Span,
}

impl Span {
    pub(crate) fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    pub(crate) fn bytes(self, body: &[u8]) -> &[u8] {
        &body[self.start as usize..self.end as usize]
    }

    /// The piece as text, once [`Dictionary::read`] has seen that it is.
    pub(crate) fn text(self, body: &[u8]) -> &str {
        text(self.bytes(body))
    }
}

/// A key or value as text, once the block's check has seen that it is.
pub(crate) fn text(bytes: &[u8]) -> &str {
    from_utf8(bytes).expect("decode checked that keys and values are UTF-8")
}

impl Dictionary {
    /// Reads and checks all of `body` behind its events.
    pub(crate) fn read(body: &[u8], events_bytes: usize) -> Result<Dictionary, BlockError> {
        let mut reader = Reader::new(&body[events_bytes..]);
        let keys = read_keys(body, &mut reader)?;
        let shared = read_shared(body, &mut reader, &keys)?;
        if reader.left() > 0 {
            return Err(BlockError::Mismatch {
                place: Place::block("raw length"),
                stated: body.len() as i128,
                found: (body.len() - reader.left()) as i128,
            });
        }
        Ok(Dictionary { keys, shared })
    }

    /// The index of `key`.
    pub(crate) fn find(&self, body: &[u8], key: &str) -> Option<u32> {
        let place = self.keys.iter().position(|known| known.bytes(body) == key.as_bytes())?;
        u32::try_from(place).ok()
    }

    /// The shared header under the key with this index.
    pub(crate) fn shared(&self, key: u32) -> Option<&SharedHeader> {
        self.shared.iter().find(|shared| shared.key == key)
    }
}

fn read_keys(body: &[u8], reader: &mut Reader<'_>) -> Result<Box<[Span]>, BlockError> {
    let count = bounded(reader, "key count", KEYS_MAX)?;
    // A key takes two bytes at least, so a count cannot make us reserve more than is there.
    let mut keys = Vec::with_capacity(count.min(reader.left() / 2));
    for _ in 0..count {
        let length = bounded(reader, "key length", HEADER_KEY_BYTES_MAX)?;
        if length == 0 {
            return Err(BlockError::Zero { place: Place::block("key length") });
        }
        keys.push(read_text(body, reader, "key", length)?);
    }
    let mut sorted: Vec<_> = keys.iter().map(|key: &Span| key.bytes(body)).collect();
    sorted.sort_unstable();
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        let key = String::from_utf8_lossy(twice[0]).into_owned();
        return Err(BlockError::DuplicateKey { place: Place::block("key"), key });
    }
    Ok(keys.into())
}

fn read_shared(
    body: &[u8],
    reader: &mut Reader<'_>,
    keys: &[Span],
) -> Result<Box<[SharedHeader]>, BlockError> {
    let count = bounded(reader, "shared header count", HEADERS_MAX)?;
    let mut shared: Vec<SharedHeader> = Vec::with_capacity(count);
    let mut total = 0;
    for _ in 0..count {
        let place = Place::block("shared header key");
        let index = reader.varint().map_err(|fault| fault.at(place))?;
        let Some(key) = usize::try_from(index).ok().and_then(|index| keys.get(index)) else {
            return Err(BlockError::UnknownKey { place, index, keys: keys.len() as u64 });
        };
        let index = index as u32;
        if shared.iter().any(|earlier| earlier.key == index) {
            return Err(BlockError::DuplicateKey { place, key: key.text(body).to_owned() });
        }
        let length = bounded(reader, "shared header value length", HEADER_VALUE_BYTES_MAX)?;
        let value = read_text(body, reader, "shared header value", length)?;
        total += key.len() + value.len();
        shared.push(SharedHeader { key: index, value });
    }
    if total > HEADER_BYTES_MAX {
        let (value, limit) = (total as u64, HEADER_BYTES_MAX as u64);
        return Err(BlockError::Limit { place: Place::block("shared headers"), value, limit });
    }
    Ok(shared.into())
}

fn bounded(
    reader: &mut Reader<'_>,
    field: &'static str,
    limit: usize,
) -> Result<usize, BlockError> {
    let place = Place::block(field);
    let value = reader.varint().map_err(|fault| fault.at(place))?;
    if value > limit as u64 {
        return Err(BlockError::Limit { place, value, limit: limit as u64 });
    }
    Ok(value as usize)
}

fn read_text(
    body: &[u8],
    reader: &mut Reader<'_>,
    field: &'static str,
    length: usize,
) -> Result<Span, BlockError> {
    let place = Place::block(field);
    let start = body.len() - reader.left();
    let bytes = reader.take(length as u64).map_err(|fault| fault.at(place))?;
    from_utf8(bytes).map_err(|_| BlockError::Utf8 { place })?;
    Ok(Span { start: start as u32, end: (start + length) as u32 })
}
