//! How the bytes of a file are compressed.

use std::io::{Error, Write as _};

use bytes::Bytes;
use flate2::write::GzEncoder;

/// A codec with its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// None.
    None,
    /// Gzip, 1 to 9.
    Gzip(u32),
    /// Zstandard, 1 to 19.
    Zstd(i32),
}

impl Codec {
    /// As a sink's spec says.
    pub fn new(spec: sdk_config::OutputCodec) -> Codec {
        match spec {
            sdk_config::OutputCodec::None => Codec::None,
            sdk_config::OutputCodec::Gzip(gzip) => Codec::Gzip(gzip.level.clamp(1, 9)),
            sdk_config::OutputCodec::Zstd(zstd) => {
                Codec::Zstd(i32::try_from(zstd.level.clamp(1, 19)).unwrap_or(19))
            }
        }
    }

    /// Compresses `raw` to a member (gzip) or frame (zstd) of its own.
    ///
    /// A file is a chain of those, as Flume's are, which every reader of these formats takes. So an
    /// open file needs no encoder, whose memory would be megabytes each, and no state outlives a
    /// chunk. Nothing becomes an empty member: a file of no bytes is no gzip file.
    pub fn encode(self, raw: Bytes) -> Result<Bytes, Error> {
        match self {
            Codec::None => Ok(raw),
            Codec::Gzip(level) => {
                let room = Vec::with_capacity(raw.len() / 2);
                let mut encoder = GzEncoder::new(room, flate2::Compression::new(level));
                encoder.write_all(&raw)?;
                Ok(encoder.finish()?.into())
            }
            Codec::Zstd(level) => Ok(zstd::bulk::compress(&raw, level)?.into()),
        }
    }

    /// How many bytes make a good chunk: enough for the codec to find its repetitions in, little
    /// enough not to hold a worker up, and still in the processor's cache when it is written (chunks
    /// of a MiB cost half as much again).
    pub fn chunk_bytes_max(self) -> usize {
        match self {
            Codec::None | Codec::Gzip(_) => 256 << 10,
            Codec::Zstd(_) => 512 << 10,
        }
    }
}
