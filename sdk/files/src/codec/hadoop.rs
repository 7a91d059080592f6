//! Hadoop's frame for codecs that have none of their own (`BlockCompressorStream`).
//!
//! ```text
//!  block = length of the bytes (u32, big-endian) { length compressed (u32, big-endian), compressed }…
//! ```

use std::io::{Error, ErrorKind, Read};

use bytes::{BufMut as _, Bytes, BytesMut};

use super::Codec;

/// Bytes in one block. Readers give it a buffer of 256 KiB, and so much of it is left for what cannot
/// be compressed.
const BLOCK_BYTES: usize = 128 << 10;

/// No length that is read may be larger: other writers' blocks are 256 KiB.
const READ_BYTES_MAX: usize = 16 << 20;

/// Whole blocks with all of `raw`; an empty one, which is the end of a file, for nothing.
pub(super) fn encode(codec: Codec, raw: &[u8]) -> Result<Bytes, Error> {
    let mut out = BytesMut::with_capacity(raw.len() / 2 + 16);
    if raw.is_empty() {
        out.put_u32(0);
    }
    let mut snappy = snap::raw::Encoder::new();
    let mut room = Vec::new();
    for block in raw.chunks(BLOCK_BYTES) {
        let length = match codec {
            Codec::Snappy => {
                room.resize(snap::raw::max_compress_len(block.len()), 0);
                snappy.compress(block, &mut room).map_err(Error::other)?
            }
            _ => {
                room.resize(lz4_flex::block::get_maximum_output_size(block.len()), 0);
                lz4_flex::block::compress_into(block, &mut room).map_err(Error::other)?
            }
        };
        out.put_u32(length_of(block.len())?);
        out.put_u32(length_of(length)?);
        out.put_slice(&room[..length]);
    }
    Ok(out.freeze())
}

fn length_of(length: usize) -> Result<u32, Error> {
    u32::try_from(length).map_err(Error::other)
}

/// Reads such blocks to the end of the input.
pub(super) struct BlockReader<R> {
    codec: Codec,
    input: R,
    /// What the present block still has to give.
    left: usize,
    stored: Vec<u8>,
    raw: Vec<u8>,
    at: usize,
}

impl<R: Read> BlockReader<R> {
    pub(super) fn new(codec: Codec, input: R) -> BlockReader<R> {
        BlockReader { codec, input, left: 0, stored: Vec::new(), raw: Vec::new(), at: 0 }
    }

    /// The next compressed piece. False at the end.
    fn refill(&mut self) -> Result<bool, Error> {
        self.raw.clear();
        self.at = 0;
        if self.left == 0 {
            match self.length()? {
                Some(length) if length > 0 => self.left = length,
                _ => return Ok(false),
            }
        }
        let length = self.length()?.ok_or(ErrorKind::UnexpectedEof)?;
        self.stored.resize(length, 0);
        self.input.read_exact(&mut self.stored)?;
        let most = self.left;
        match self.codec {
            Codec::Snappy => {
                let length = snap::raw::decompress_len(&self.stored).map_err(Error::other)?;
                if length > most {
                    return Err(broken("a block has more than it says"));
                }
                self.raw.resize(length, 0);
                let mut decoder = snap::raw::Decoder::new();
                decoder.decompress(&self.stored, &mut self.raw).map_err(Error::other)?;
            }
            _ => {
                self.raw.resize(most, 0);
                let length = lz4_flex::block::decompress_into(&self.stored, &mut self.raw);
                self.raw.truncate(length.map_err(Error::other)?);
            }
        }
        if self.raw.is_empty() {
            return Err(broken("a block has less than it says"));
        }
        self.left -= self.raw.len();
        Ok(true)
    }

    /// A length; `None` if the input ends before it.
    fn length(&mut self) -> Result<Option<usize>, Error> {
        let mut bytes = [0; 4];
        let mut have = 0;
        while have < bytes.len() {
            match self.input.read(&mut bytes[have..])? {
                0 if have == 0 => return Ok(None),
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => have += read,
            }
        }
        match usize::try_from(u32::from_be_bytes(bytes)) {
            Ok(length) if length <= READ_BYTES_MAX => Ok(Some(length)),
            _ => Err(broken("a block is too long")),
        }
    }
}

impl<R: Read> Read for BlockReader<R> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        if self.at == self.raw.len() && (out.is_empty() || !self.refill()?) {
            return Ok(0);
        }
        let length = out.len().min(self.raw.len() - self.at);
        out[..length].copy_from_slice(&self.raw[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

fn broken(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}
