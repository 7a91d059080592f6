//! The one walk that makes every later one infallible.

use std::str::from_utf8;

use super::dictionary::Dictionary;
use super::error::{BlockError, Place};
use super::header::BlockHeader;
use super::walk::Shape;
use crate::limits::{BODY_BYTES_MAX, HEADER_BYTES_MAX, HEADER_VALUE_BYTES_MAX, HEADERS_MAX};
use crate::varint::{Fault, Reader, unzigzag};

/// Checks every event of `body`, and what the header says about them.
pub(crate) fn events(
    header: &BlockHeader,
    body: &[u8],
    dictionary: &Dictionary,
) -> Result<(), BlockError> {
    let mut reader = Reader::new(&body[..header.events_bytes as usize]);
    let mut own = OwnHeaders::new(body, dictionary);
    let mut span = 0_u64;
    let mut timestamp = 0_i64;
    let mut range: Option<(i64, i64)> = None;
    let mut any_own = false;
    for index in 0..header.count {
        let fault = |field| move |fault: Fault| fault.at(Place::event(field, index));
        let shape = Shape(reader.varint().map_err(fault("shape"))?);
        if shape.own_headers() > HEADERS_MAX as u64 {
            let (value, limit) = (shape.own_headers(), HEADERS_MAX as u64);
            return Err(over("own header count", index, value, limit));
        }
        span += u64::from(index > 0);
        if shape.has_gap() {
            let place = Place::event("gap", index);
            let gap = reader.varint().map_err(fault("gap"))?;
            if gap == 0 || index == 0 {
                return Err(match gap {
                    0 => BlockError::Zero { place },
                    value => BlockError::Limit { place, value, limit: 0 },
                });
            }
            span = span.saturating_add(gap);
        }
        if shape.has_timestamp() {
            let delta = reader.varint().map_err(fault("timestamp"))?;
            timestamp = timestamp.wrapping_add(unzigzag(delta));
            let (min, max) = range.unwrap_or((timestamp, timestamp));
            range = Some((min.min(timestamp), max.max(timestamp)));
        }
        if shape.own_headers() > 0 {
            any_own = true;
            own.check(&mut reader, index, shape.own_headers())?;
        }
        let length = reader.varint().map_err(fault("body length"))?;
        if length > BODY_BYTES_MAX as u64 {
            return Err(over("body length", index, length, BODY_BYTES_MAX as u64));
        }
        reader.take(length).map_err(fault("body"))?;
    }
    let same = |field, stated: i128, found: i128| match stated == found {
        true => Ok(()),
        false => Err(BlockError::Mismatch { place: Place::block(field), stated, found }),
    };
    let found = header.events_bytes as usize - reader.left();
    same("events length", header.events_bytes.into(), found as i128)?;
    let stated = header.last_sequence - header.first_sequence;
    same("sequence span", stated.into(), span.into())?;
    same("own headers flag", header.own_headers.into(), any_own.into())?;
    same("timestamps flag", header.min_timestamp_ms.is_some().into(), range.is_some().into())?;
    let (min, max) = range.unwrap_or((0, 0));
    same("min timestamp", header.min_timestamp_ms.unwrap_or(0).into(), min.into())?;
    same("max timestamp", header.max_timestamp_ms.unwrap_or(0).into(), max.into())
}

/// Checks the own headers of one event after the other.
struct OwnHeaders<'a> {
    body: &'a [u8],
    dictionary: &'a Dictionary,
    keys: Vec<Key>,
    shared_bytes: usize,
}

/// What the check remembers of a key.
struct Key {
    bytes: usize,
    /// Key and value of the shared header under it, 0 if there is none.
    shared_bytes: usize,
    /// One more than the last event that had it.
    seen: u32,
}

impl<'a> OwnHeaders<'a> {
    fn new(body: &'a [u8], dictionary: &'a Dictionary) -> Self {
        let mut keys: Vec<Key> = (dictionary.keys.iter())
            .map(|key| Key { bytes: key.len(), shared_bytes: 0, seen: 0 })
            .collect();
        let mut shared_bytes = 0;
        for shared in &dictionary.shared {
            let key = &mut keys[shared.key as usize];
            key.shared_bytes = key.bytes + shared.value.len();
            shared_bytes += key.shared_bytes;
        }
        OwnHeaders { body, dictionary, keys, shared_bytes }
    }

    /// Checks `count` own headers of the event at `index`, and that with those it shares it stays
    /// within the limits.
    fn check(&mut self, reader: &mut Reader<'_>, index: u32, count: u64) -> Result<(), BlockError> {
        let fault = |field| move |fault: Fault| fault.at(Place::event(field, index));
        let mut headers = self.dictionary.shared.len();
        let mut bytes = self.shared_bytes;
        for _ in 0..count {
            let place = Place::event("header key", index);
            let id = reader.varint().map_err(fault("header key"))?;
            let keys = self.keys.len() as u64;
            let known = usize::try_from(id).ok().and_then(|id| self.keys.get_mut(id));
            let key = known.ok_or(BlockError::UnknownKey { place, index: id, keys })?;
            if key.seen == index + 1 {
                let key = self.dictionary.keys[id as usize].text(self.body).to_owned();
                return Err(BlockError::DuplicateKey { place, key });
            }
            key.seen = index + 1;
            let length = reader.varint().map_err(fault("header value length"))?;
            if length > HEADER_VALUE_BYTES_MAX as u64 {
                let limit = HEADER_VALUE_BYTES_MAX as u64;
                return Err(over("header value length", index, length, limit));
            }
            let value = reader.take(length).map_err(fault("header value"))?;
            if from_utf8(value).is_err() {
                return Err(BlockError::Utf8 { place: Place::event("header value", index) });
            }
            // An own header takes the place of the shared one under its key.
            headers += usize::from(key.shared_bytes == 0);
            bytes = bytes - key.shared_bytes + key.bytes + value.len();
        }
        if headers > HEADERS_MAX {
            return Err(over("header count", index, headers as u64, HEADERS_MAX as u64));
        }
        if bytes > HEADER_BYTES_MAX {
            return Err(over("headers", index, bytes as u64, HEADER_BYTES_MAX as u64));
        }
        Ok(())
    }
}

#[cold]
fn over(field: &'static str, event: u32, value: u64, limit: u64) -> BlockError {
    BlockError::Limit { place: Place::event(field, event), value, limit }
}
