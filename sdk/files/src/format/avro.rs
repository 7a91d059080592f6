//! Avro containers of Flume's events.
//!
//! ```text
//!  file   = "Obj" 1, metadata (map of bytes), marker, block…
//!  block  = events (long), length (long), the events, compressed, marker
//!  event  = headers (map of strings), body (bytes)
//! ```

use std::io::{BufRead, Error, ErrorKind, Read};

use bytes::{BufMut as _, Bytes, BytesMut};
use sdk_event::EventRef;

use super::SyncMarker;
use super::vint::{long, put_long};
use crate::codec::{Codec, raw_deflate};

/// What an Avro container begins with.
pub(crate) const MAGIC: &[u8; 4] = b"Obj\x01";

/// Flume's, to the byte.
const SCHEMA: &str = concat!(
    r#"{"type":"record","name":"Event","fields":[{"name":"headers","type":"#,
    r#"{"type":"map","values":"string"}},{"name":"body","type":"bytes"}]}"#
);

/// The header that Flume has an event's time in.
const TIMESTAMP: &str = "timestamp";

/// No part of a file that is read is larger.
const READ_BYTES_MAX: i64 = 256 << 20;

/// How the blocks of a container are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AvroCodec {
    /// Not at all.
    Null,
    /// Deflate without a frame.
    Deflate,
    /// Snappy, and a CRC-32 of what was compressed.
    Snappy,
    /// Bzip2.
    Bzip2,
    /// Zstandard.
    Zstandard,
}

impl AvroCodec {
    /// As a serializer's spec says.
    pub fn new(spec: sdk_config::AvroCodec) -> AvroCodec {
        match spec {
            sdk_config::AvroCodec::Null => AvroCodec::Null,
            sdk_config::AvroCodec::Deflate => AvroCodec::Deflate,
            sdk_config::AvroCodec::Snappy => AvroCodec::Snappy,
            sdk_config::AvroCodec::Bzip2 => AvroCodec::Bzip2,
            sdk_config::AvroCodec::Zstandard => AvroCodec::Zstandard,
        }
    }

    /// Avro's name for it.
    pub fn name(self) -> &'static str {
        match self {
            AvroCodec::Null => "null",
            AvroCodec::Deflate => "deflate",
            AvroCodec::Snappy => "snappy",
            AvroCodec::Bzip2 => "bzip2",
            AvroCodec::Zstandard => "zstandard",
        }
    }

    pub(super) fn chunk_bytes_max(self) -> usize {
        self.frame().unwrap_or(Codec::None).chunk_bytes_max()
    }

    fn of_name(name: &[u8]) -> Option<AvroCodec> {
        use AvroCodec::{Bzip2, Deflate, Null, Snappy, Zstandard};
        let all = [Null, Deflate, Snappy, Bzip2, Zstandard];
        all.into_iter().find(|codec| codec.name().as_bytes() == name)
    }

    /// Our codec whose streams are what is stored.
    fn frame(self) -> Option<Codec> {
        match self {
            AvroCodec::Bzip2 => Some(Codec::Bzip2(9)),
            AvroCodec::Zstandard => Some(Codec::Zstd(3)),
            AvroCodec::Null | AvroCodec::Deflate | AvroCodec::Snappy => None,
        }
    }

    fn encode(self, raw: &Bytes) -> Result<Bytes, Error> {
        match self {
            AvroCodec::Deflate => Ok(raw_deflate(raw)?.into()),
            AvroCodec::Snappy => {
                let mut stored = snap::raw::Encoder::new().compress_vec(raw)?;
                stored.extend_from_slice(&crc32(raw).to_be_bytes());
                Ok(stored.into())
            }
            _ => self.frame().unwrap_or(Codec::None).encode(raw.clone()),
        }
    }

    fn decode(self, stored: Vec<u8>) -> Result<Vec<u8>, Error> {
        let mut raw = Vec::new();
        match self {
            AvroCodec::Null => return Ok(stored),
            AvroCodec::Deflate => {
                bounded(flate2::bufread::DeflateDecoder::new(&stored[..])).read_to_end(&mut raw)?;
            }
            AvroCodec::Snappy => {
                let (stored, crc) =
                    stored.split_last_chunk::<4>().ok_or(ErrorKind::UnexpectedEof)?;
                let length = snap::raw::decompress_len(stored).map_err(Error::other)?;
                length_of(i64::try_from(length).unwrap_or(i64::MAX))?;
                raw = snap::raw::Decoder::new().decompress_vec(stored).map_err(Error::other)?;
                if crc32(&raw) != u32::from_be_bytes(*crc) {
                    return Err(broken("a block's checksum is wrong"));
                }
            }
            AvroCodec::Bzip2 | AvroCodec::Zstandard => {
                let frame = self.frame().unwrap_or(Codec::None);
                bounded(frame.decoder(&stored[..])?).read_to_end(&mut raw)?;
            }
        }
        Ok(raw)
    }
}

/// What a file begins with.
pub(super) fn header(codec: AvroCodec, marker: &SyncMarker, out: &mut BytesMut) {
    out.put_slice(MAGIC);
    put_long(2, out);
    for (key, value) in [("avro.schema", SCHEMA), ("avro.codec", codec.name())] {
        put_bytes(key.as_bytes(), out);
        put_bytes(value.as_bytes(), out);
    }
    put_long(0, out);
    out.put_slice(marker);
}

/// A block of the events in `raw`.
pub(super) fn block(
    codec: AvroCodec,
    raw: &Bytes,
    marker: &SyncMarker,
    out: &mut BytesMut,
) -> Result<(), Error> {
    let mut events = 0;
    let mut rest = &raw[..];
    while !rest.is_empty() {
        body(&mut rest)?;
        events += 1;
    }
    let stored = codec.encode(raw)?;
    put_long(events, out);
    put_bytes(&stored, out);
    out.put_slice(marker);
    Ok(())
}

/// Appends one event. Its time stands among the headers, as in Flume.
pub(crate) fn write_event(event: &EventRef<'_>, out: &mut BytesMut) {
    let time = event.timestamp_ms().filter(|_| event.header(TIMESTAMP).is_none());
    let headers = event.headers().count() + usize::from(time.is_some());
    if headers > 0 {
        put_long(i64::try_from(headers).unwrap_or(i64::MAX), out);
        for (key, value) in event.headers() {
            put_bytes(key.as_bytes(), out);
            put_bytes(value.as_bytes(), out);
        }
        if let Some(time) = time {
            put_bytes(TIMESTAMP.as_bytes(), out);
            put_bytes(time.to_string().as_bytes(), out);
        }
    }
    put_long(0, out);
    put_bytes(event.body(), out);
}

#[inline]
fn put_bytes(bytes: &[u8], out: &mut BytesMut) {
    put_long(i64::try_from(bytes.len()).unwrap_or(i64::MAX), out);
    out.put_slice(bytes);
}

/// The body of the event that `rest` begins with; `rest` is then what follows it.
fn body<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Error> {
    loop {
        let headers = long(rest)?;
        if headers == 0 {
            return take(rest);
        }
        if headers < 0 {
            // The length of the headers, for those who would pass over them.
            long(rest)?;
        }
        for _ in 0..headers.unsigned_abs() {
            take(rest)?;
            take(rest)?;
        }
    }
}

fn take<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Error> {
    let length = length_of(long(rest)?)?;
    let (bytes, after) = rest.split_at_checked(length).ok_or(ErrorKind::UnexpectedEof)?;
    *rest = after;
    Ok(bytes)
}

/// Reads a container back.
pub(crate) struct AvroReader<R> {
    input: R,
    codec: AvroCodec,
    marker: SyncMarker,
    block: Vec<u8>,
    at: usize,
}

impl<R: BufRead> AvroReader<R> {
    pub(crate) fn new(mut input: R) -> Result<AvroReader<R>, Error> {
        let mut magic = [0; 4];
        input.read_exact(&mut magic)?;
        if magic != *MAGIC {
            return Err(broken("it is no Avro container of version 1"));
        }
        let mut codec = AvroCodec::Null;
        loop {
            let entries = long(&mut input)?;
            if entries == 0 {
                break;
            }
            if entries < 0 {
                long(&mut input)?;
            }
            for _ in 0..entries.unsigned_abs() {
                let key = bytes(&mut input)?;
                let value = bytes(&mut input)?;
                if key == b"avro.codec" {
                    let known = AvroCodec::of_name(&value);
                    codec = known.ok_or_else(|| broken("its codec is not known here"))?;
                }
            }
        }
        let mut marker = [0; 16];
        input.read_exact(&mut marker)?;
        Ok(AvroReader { input, codec, marker, block: Vec::new(), at: 0 })
    }

    /// Puts the next event's body into `record`. False at the end.
    pub(crate) fn next(&mut self, record: &mut Vec<u8>) -> Result<bool, Error> {
        while self.at == self.block.len() {
            if self.input.fill_buf()?.is_empty() {
                return Ok(false);
            }
            long(&mut self.input)?;
            let stored = bytes(&mut self.input)?;
            let mut marker = [0; 16];
            self.input.read_exact(&mut marker)?;
            if marker != self.marker {
                return Err(broken("a block does not end with the file's marker"));
            }
            self.block = self.codec.decode(stored)?;
            self.at = 0;
        }
        let mut rest = &self.block[self.at..];
        record.extend_from_slice(body(&mut rest)?);
        self.at = self.block.len() - rest.len();
        Ok(true)
    }
}

fn bytes(input: &mut impl Read) -> Result<Vec<u8>, Error> {
    let length = length_of(long(input)?)?;
    let mut bytes = Vec::new();
    input.take(length as u64).read_to_end(&mut bytes)?;
    if bytes.len() < length { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

fn length_of(length: i64) -> Result<usize, Error> {
    match usize::try_from(length) {
        Ok(bytes) if length <= READ_BYTES_MAX => Ok(bytes),
        _ => Err(broken("a length is out of bounds")),
    }
}

fn bounded(input: impl Read) -> impl Read {
    input.take(READ_BYTES_MAX.unsigned_abs())
}

/// The CRC-32 of zlib.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn broken(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}
