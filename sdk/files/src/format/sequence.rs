//! Hadoop's SequenceFiles, as Flume writes them.
//!
//! ```text
//!  file   = "SEQ" 6, key class, value class, compressed?, by block?, codec class?, no metadata, marker, …
//!  record = length (i32), length of the key (i32), key, value
//!  block  = sync, records (vint), { length (vint), bytes } of: key lengths, keys, value lengths, values
//!  sync   = -1 (i32), marker
//! ```

use std::io::{BufRead, Cursor, Error, ErrorKind, Read};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use sdk_config::{SequenceCompression, WriteFormat};
use sdk_event::EventRef;

use super::vint::{put_vlong, vlong, vlong_bytes};
use super::{Sequence, SyncMarker};
use crate::codec::Codec;

/// What a SequenceFile begins with.
pub(crate) const MAGIC: &[u8; 4] = b"SEQ\x06";

const KEY_CLASS: &str = "org.apache.hadoop.io.LongWritable";
const BYTES_CLASS: &str = "org.apache.hadoop.io.BytesWritable";
const TEXT_CLASS: &str = "org.apache.hadoop.io.Text";

/// The length that no record has: a marker follows.
const SYNC: i32 = -1;

/// Length and length of the key, before the key.
const RECORD_BYTES: usize = 8;

/// A `LongWritable`.
const KEY_BYTES: usize = 8;

/// No part of a file that is read is larger.
const READ_BYTES_MAX: usize = 256 << 20;

/// What a file begins with.
pub(super) fn header(sequence: Sequence, marker: &SyncMarker, out: &mut BytesMut) {
    let class = sequence.codec.hadoop_class();
    out.put_slice(MAGIC);
    put_text(KEY_CLASS, out);
    put_text(if sequence.values == WriteFormat::Text { TEXT_CLASS } else { BYTES_CLASS }, out);
    out.put_u8(u8::from(class.is_some()));
    out.put_u8(u8::from(class.is_some() && sequence.compression == SequenceCompression::Block));
    if let Some(class) = class {
        put_text(class, out);
    }
    out.put_u32(0);
    out.put_slice(marker);
}

/// Appends one record: the event's time, or when it was put if it has none, and its body.
pub(crate) fn write_record(
    event: &EventRef<'_>,
    put_time_ms: i64,
    values: WriteFormat,
    out: &mut BytesMut,
) {
    let body = event.body();
    // Bodies are far shorter than any of these lengths can say.
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    let head = match values {
        WriteFormat::Text => vlong_bytes(body.len() as u64),
        WriteFormat::Writable => 4,
    };
    out.reserve(RECORD_BYTES + KEY_BYTES + head + body.len());
    out.put_u32(length(KEY_BYTES + head + body.len()));
    out.put_u32(length(KEY_BYTES));
    out.put_i64(event.timestamp_ms().unwrap_or(put_time_ms));
    match values {
        WriteFormat::Text => put_vlong(body.len() as u64, out),
        WriteFormat::Writable => out.put_u32(length(body.len())),
    }
    out.put_slice(body);
}

/// What is stored for the records in `raw`. Right after the header no marker is needed, but in front
/// of a block one always stands.
pub(super) fn chunk(
    sequence: Sequence,
    raw: Bytes,
    first: bool,
    marker: &SyncMarker,
    out: &mut BytesMut,
) -> Result<(), Error> {
    let by_block =
        sequence.codec != Codec::None && sequence.compression == SequenceCompression::Block;
    if by_block || !first {
        out.put_i32(SYNC);
        out.put_slice(marker);
    }
    if by_block {
        return block(sequence.codec, raw, out);
    }
    if sequence.codec == Codec::None {
        out.put_slice(&raw);
        return Ok(());
    }
    let mut rest = raw;
    while !rest.is_empty() {
        let (key, value) = split_record(&mut rest)?;
        let value = sequence.codec.encode(value)?;
        out.put_u32(u32::try_from(KEY_BYTES + value.len()).map_err(Error::other)?);
        out.put_u32(u32::try_from(KEY_BYTES).map_err(Error::other)?);
        out.put_slice(&key);
        out.put_slice(&value);
    }
    Ok(())
}

fn block(codec: Codec, raw: Bytes, out: &mut BytesMut) -> Result<(), Error> {
    let (mut key_lengths, mut keys) = (BytesMut::new(), BytesMut::new());
    let (mut value_lengths, mut values) = (BytesMut::new(), BytesMut::with_capacity(raw.len()));
    let mut records = 0;
    let mut rest = raw;
    while !rest.is_empty() {
        let (key, value) = split_record(&mut rest)?;
        put_vlong(key.len() as u64, &mut key_lengths);
        keys.put_slice(&key);
        put_vlong(value.len() as u64, &mut value_lengths);
        values.put_slice(&value);
        records += 1;
    }
    put_vlong(records, out);
    for part in [key_lengths, keys, value_lengths, values] {
        let stored = codec.encode(part.freeze())?;
        put_vlong(stored.len() as u64, out);
        out.put_slice(&stored);
    }
    Ok(())
}

/// Key and value of the record that `rest` begins with; `rest` is then what follows it.
fn split_record(rest: &mut Bytes) -> Result<(Bytes, Bytes), Error> {
    let cut = || broken("a record is cut off");
    if rest.len() < RECORD_BYTES {
        return Err(cut());
    }
    let (length, key) = (size(rest.get_u32())?, size(rest.get_u32())?);
    if key > length || length > rest.len() {
        return Err(cut());
    }
    let mut record = rest.split_to(length);
    let key = record.split_to(key);
    Ok((key, record))
}

fn put_text(text: &str, out: &mut BytesMut) {
    put_vlong(text.len() as u64, out);
    out.put_slice(text.as_bytes());
}

/// Reads such a file back.
pub(crate) struct SequenceReader<R> {
    input: R,
    values: WriteFormat,
    codec: Codec,
    by_block: bool,
    marker: SyncMarker,
    lengths: Cursor<Vec<u8>>,
    block: Cursor<Vec<u8>>,
}

impl<R: BufRead> SequenceReader<R> {
    pub(crate) fn new(mut input: R) -> Result<SequenceReader<R>, Error> {
        let mut magic = [0; 4];
        input.read_exact(&mut magic)?;
        if magic != *MAGIC {
            return Err(broken("it is no SequenceFile of version 6"));
        }
        if text(&mut input)? != KEY_CLASS {
            return Err(broken("its keys are no times"));
        }
        let values = match text(&mut input)?.as_str() {
            BYTES_CLASS => WriteFormat::Writable,
            TEXT_CLASS => WriteFormat::Text,
            _ => return Err(broken("its values are no bodies")),
        };
        let mut flags = [0; 2];
        input.read_exact(&mut flags)?;
        let codec = match flags[0] {
            0 => Codec::None,
            _ => Codec::of_hadoop_class(&text(&mut input)?)
                .ok_or_else(|| broken("its codec is not known here"))?,
        };
        let mut metadata = [0; 4];
        input.read_exact(&mut metadata)?;
        for _ in 0..2 * u64::from(u32::from_be_bytes(metadata)) {
            text(&mut input)?;
        }
        let mut marker = [0; 16];
        input.read_exact(&mut marker)?;
        let by_block = flags[1] != 0;
        let (lengths, block) = (Cursor::default(), Cursor::default());
        Ok(SequenceReader { input, values, codec, by_block, marker, lengths, block })
    }

    /// Puts the next record's body into `record`. False at the end.
    pub(crate) fn next(&mut self, record: &mut Vec<u8>) -> Result<bool, Error> {
        if self.by_block { self.next_of_block(record) } else { self.next_record(record) }
    }

    fn next_record(&mut self, record: &mut Vec<u8>) -> Result<bool, Error> {
        let length = loop {
            if self.input.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.number()? {
                SYNC => self.pass_marker()?,
                length => break size(length.cast_unsigned())?,
            }
        };
        let key = size(self.number()?.cast_unsigned())?;
        let value = length.checked_sub(key).ok_or_else(|| broken("a record is too short"))?;
        read(&mut self.input, key)?;
        let value = read(&mut self.input, value)?;
        self.take(&self.decode(value)?, record)?;
        Ok(true)
    }

    fn next_of_block(&mut self, record: &mut Vec<u8>) -> Result<bool, Error> {
        while self.lengths.get_ref().len() as u64 == self.lengths.position() {
            if self.input.fill_buf()?.is_empty() {
                return Ok(false);
            }
            if self.number()? != SYNC {
                return Err(broken("a block does not begin with a marker"));
            }
            self.pass_marker()?;
            vlong(&mut self.input)?;
            let mut parts = Vec::with_capacity(4);
            for _ in 0..4 {
                let length = usize::try_from(vlong(&mut self.input)?).map_err(Error::other)?;
                let part = read(&mut self.input, length)?;
                parts.push(self.decode(part)?);
            }
            self.block = Cursor::new(parts.pop().unwrap_or_default());
            self.lengths = Cursor::new(parts.pop().unwrap_or_default());
        }
        let length = usize::try_from(vlong(&mut self.lengths)?).map_err(Error::other)?;
        let value = read(&mut self.block, length)?;
        self.take(&value, record)?;
        Ok(true)
    }

    /// The body in a value.
    fn take(&self, mut value: &[u8], record: &mut Vec<u8>) -> Result<(), Error> {
        let length = match self.values {
            WriteFormat::Text => vlong(&mut value)?,
            WriteFormat::Writable => {
                let mut length = [0; 4];
                value.read_exact(&mut length)?;
                u64::from(u32::from_be_bytes(length))
            }
        };
        if length != value.len() as u64 {
            return Err(broken("a value has another length than it says"));
        }
        record.extend_from_slice(value);
        Ok(())
    }

    fn decode(&self, stored: Vec<u8>) -> Result<Vec<u8>, Error> {
        if self.codec == Codec::None {
            return Ok(stored);
        }
        let mut raw = Vec::new();
        let decoder = self.codec.decoder(&stored[..])?;
        decoder.take(READ_BYTES_MAX as u64).read_to_end(&mut raw)?;
        Ok(raw)
    }

    fn number(&mut self) -> Result<i32, Error> {
        let mut bytes = [0; 4];
        self.input.read_exact(&mut bytes)?;
        Ok(i32::from_be_bytes(bytes))
    }

    fn pass_marker(&mut self) -> Result<(), Error> {
        let mut marker = [0; 16];
        self.input.read_exact(&mut marker)?;
        if marker == self.marker { Ok(()) } else { Err(broken("a marker is not the file's")) }
    }
}

fn text(input: &mut impl Read) -> Result<String, Error> {
    let length = usize::try_from(vlong(input)?).map_err(Error::other)?;
    String::from_utf8(read(input, length)?).map_err(Error::other)
}

fn read(input: &mut impl Read, length: usize) -> Result<Vec<u8>, Error> {
    if length > READ_BYTES_MAX {
        return Err(broken("a length is out of bounds"));
    }
    let mut bytes = Vec::new();
    input.take(length as u64).read_to_end(&mut bytes)?;
    if bytes.len() < length { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

fn size(length: u32) -> Result<usize, Error> {
    usize::try_from(length).map_err(Error::other)
}

fn broken(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}
