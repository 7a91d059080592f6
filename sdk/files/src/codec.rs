//! How bytes are compressed.

mod hadoop;
mod zlib;

use std::io::{BufRead, Error, Read, Write as _};

use bytes::Bytes;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

pub(crate) use zlib::Zlib;

/// A codec with its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// None.
    None,
    /// Gzip, 1 to 9.
    Gzip(u32),
    /// Zstandard, 1 to 19.
    Zstd(i32),
    /// Bzip2, 1 to 9.
    Bzip2(u32),
    /// Zlib, 1 to 9: what Hadoop calls deflate.
    Deflate(u32),
    /// Snappy in Hadoop's frame.
    Snappy,
    /// LZ4 in Hadoop's frame.
    Lz4,
}

/// One block of bzip2 at level 1.
const BZIP2_BLOCK_BYTES: usize = 100_000;

impl Codec {
    /// As a sink's spec says.
    pub fn new(spec: sdk_config::OutputCodec) -> Codec {
        use sdk_config::OutputCodec as Spec;
        match spec {
            Spec::None => Codec::None,
            Spec::Gzip(gzip) => Codec::Gzip(gzip.level.clamp(1, 9)),
            Spec::Zstd(zstd) => Codec::Zstd(i32::try_from(zstd.level.clamp(1, 19)).unwrap_or(19)),
            Spec::Bzip2(bzip2) => Codec::Bzip2(bzip2.level.clamp(1, 9)),
            Spec::Deflate(deflate) => Codec::Deflate(deflate.level.clamp(1, 9)),
            Spec::Snappy => Codec::Snappy,
            Spec::Lz4 => Codec::Lz4,
        }
    }

    /// The codec that the end of a file's name tells.
    pub fn of_name(name: &str) -> Codec {
        match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
            "gz" => Codec::Gzip(6),
            "zst" => Codec::Zstd(3),
            "bz2" => Codec::Bzip2(9),
            "deflate" => Codec::Deflate(6),
            "snappy" => Codec::Snappy,
            "lz4" => Codec::Lz4,
            _ => Codec::None,
        }
    }

    /// Compresses `raw` to a whole of its own: a member of gzip, a frame of zstd, a stream of bzip2 or
    /// zlib, blocks of Hadoop's.
    ///
    /// A file is a chain of those, as Flume's are, which every reader of these formats takes, but
    /// those of zlib: see [`Zlib`]. So an open file needs no encoder, whose memory would be megabytes
    /// each, and no state outlives a chunk.
    pub fn encode(self, raw: Bytes) -> Result<Bytes, Error> {
        let room = || Vec::with_capacity(raw.len() / 2);
        match self {
            Codec::None => Ok(raw),
            Codec::Gzip(level) => {
                let mut encoder = GzEncoder::new(room(), flate2::Compression::new(level));
                encoder.write_all(&raw)?;
                Ok(encoder.finish()?.into())
            }
            Codec::Zstd(level) => Ok(zstd::bulk::compress(&raw, level)?.into()),
            Codec::Bzip2(level) => {
                // A block has no more than there is, and what is beyond costs memory alone.
                let enough = raw.len().div_ceil(BZIP2_BLOCK_BYTES).max(1);
                let level = level.min(u32::try_from(enough).unwrap_or(9));
                let level = bzip2::Compression::new(level);
                let mut encoder = bzip2::write::BzEncoder::new(room(), level);
                encoder.write_all(&raw)?;
                Ok(encoder.finish()?.into())
            }
            Codec::Deflate(level) => {
                let mut encoder = ZlibEncoder::new(room(), flate2::Compression::new(level));
                encoder.write_all(&raw)?;
                Ok(encoder.finish()?.into())
            }
            Codec::Snappy | Codec::Lz4 => hadoop::encode(self, &raw),
        }
    }

    /// How many bytes make a good chunk: enough for the codec to find its repetitions in, little
    /// enough not to hold a worker up, and still in the processor's cache when it is written (chunks
    /// of a MiB cost half as much again).
    pub fn chunk_bytes_max(self) -> usize {
        match self {
            Codec::None | Codec::Zstd(_) => 512 << 10,
            _ => 256 << 10,
        }
    }

    /// Hadoop's class for it. `None` for none.
    pub fn hadoop_class(self) -> Option<&'static str> {
        match self {
            Codec::None => None,
            Codec::Gzip(_) => Some("org.apache.hadoop.io.compress.GzipCodec"),
            Codec::Zstd(_) => Some("org.apache.hadoop.io.compress.ZStandardCodec"),
            Codec::Bzip2(_) => Some("org.apache.hadoop.io.compress.BZip2Codec"),
            Codec::Deflate(_) => Some("org.apache.hadoop.io.compress.DefaultCodec"),
            Codec::Snappy => Some("org.apache.hadoop.io.compress.SnappyCodec"),
            Codec::Lz4 => Some("org.apache.hadoop.io.compress.Lz4Codec"),
        }
    }

    /// The codec of one of Hadoop's classes.
    pub fn of_hadoop_class(class: &str) -> Option<Codec> {
        let all = [
            Codec::Gzip(6),
            Codec::Zstd(3),
            Codec::Bzip2(9),
            Codec::Deflate(6),
            Codec::Snappy,
            Codec::Lz4,
        ];
        all.into_iter().find(|codec| codec.hadoop_class() == Some(class))
    }

    /// Decompresses everything in `input`, a chain of whole streams or one.
    pub fn decoder<'a>(self, input: impl BufRead + 'a) -> Result<Box<dyn Read + 'a>, Error> {
        Ok(match self {
            Codec::None => Box::new(input),
            Codec::Gzip(_) => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
            Codec::Zstd(_) => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
            Codec::Bzip2(_) => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
            Codec::Deflate(_) => Box::new(flate2::bufread::ZlibDecoder::new(input)),
            Codec::Snappy | Codec::Lz4 => Box::new(hadoop::BlockReader::new(self, input)),
        })
    }
}

/// Deflate without a frame, as Avro has it.
pub(crate) fn raw_deflate(raw: &[u8]) -> Result<Vec<u8>, Error> {
    let mut encoder = DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(raw)?;
    encoder.finish()
}
