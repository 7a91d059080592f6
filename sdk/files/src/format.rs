//! What a file is made of, besides events: `FORMATS.md` has it to the byte.

mod avro;
mod sequence;
mod vint;

use std::io::Error;

use bytes::{Bytes, BytesMut};
use sdk_config::{FilesSink, SequenceCompression, WriteFormat};

use crate::codec::{Codec, Zlib};

pub use avro::AvroCodec;
pub(crate) use avro::{AvroReader, MAGIC as AVRO_MAGIC, write_event};
pub(crate) use sequence::{MAGIC as SEQUENCE_MAGIC, SequenceReader, write_record};

/// How the files of a sink are made from what its serializer writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A stream, compressed or not.
    Stream(Codec),
    /// An Avro container; the serializer writes its records.
    Avro(AvroCodec),
    /// A SequenceFile; the serializer writes its records.
    Sequence(Sequence),
}

/// A kind of SequenceFile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sequence {
    /// The class of the values.
    pub values: WriteFormat,
    /// Not [`Codec::None`] if anything is compressed.
    pub codec: Codec,
    /// What is compressed at once.
    pub compression: SequenceCompression,
}

/// What stands between the parts of a container, so that a reader can begin in its middle.
pub type SyncMarker = [u8; 16];

impl Format {
    /// As a sink's spec says.
    pub fn new(spec: &FilesSink) -> Format {
        let codec = Codec::new(spec.codec);
        match (spec.sequence_file(), spec.serializer) {
            (Some(sequence), _) => Format::Sequence(Sequence {
                values: sequence.write_format,
                codec,
                compression: sequence.compression,
            }),
            (None, sdk_config::Serializer::AvroEvent(avro)) => {
                Format::Avro(AvroCodec::new(avro.compression_codec))
            }
            (None, _) => Format::Stream(codec),
        }
    }

    /// Whether a chunk is stored as it is.
    pub(crate) fn is_plain(self) -> bool {
        self == Format::Stream(Codec::None)
    }

    /// How many bytes of events make a good chunk, which in a container is a block.
    pub fn chunk_bytes_max(self) -> usize {
        match self {
            Format::Stream(codec) => codec.chunk_bytes_max(),
            Format::Avro(codec) => codec.chunk_bytes_max(),
            Format::Sequence(sequence) => sequence.codec.chunk_bytes_max(),
        }
    }
}

/// The bytes of one file, chunk by chunk.
#[derive(Debug, Clone)]
pub struct Encoder {
    format: Format,
    marker: SyncMarker,
    begun: bool,
    zlib: Zlib,
}

impl Encoder {
    /// Of a file whose marker, should it have one, is `marker`.
    pub fn new(format: Format, marker: SyncMarker) -> Encoder {
        Encoder { format, marker, begun: false, zlib: Zlib::new() }
    }

    /// Whether a chunk is stored as it is.
    pub fn is_plain(&self) -> bool {
        self.format.is_plain()
    }

    /// What is stored for a chunk of whole events, with all that the file begins with before the
    /// first.
    pub fn encode(&mut self, raw: Bytes) -> Result<Bytes, Error> {
        let first = !std::mem::replace(&mut self.begun, true);
        match self.format {
            Format::Stream(Codec::Deflate(level)) => self.zlib.encode(&raw, level),
            Format::Stream(codec) => codec.encode(raw),
            Format::Avro(codec) => {
                let mut out = BytesMut::with_capacity(raw.len() + 256);
                if first {
                    avro::header(codec, &self.marker, &mut out);
                }
                avro::block(codec, &raw, &self.marker, &mut out)?;
                Ok(out.freeze())
            }
            Format::Sequence(sequence) => {
                let mut out = BytesMut::with_capacity(raw.len() + 256);
                if first {
                    sequence::header(sequence, &self.marker, &mut out);
                }
                sequence::chunk(sequence, raw, first, &self.marker, &mut out)?;
                Ok(out.freeze())
            }
        }
    }

    /// What is stored at the end. Events of no bytes at all are a whole stream of nothing: a file of
    /// no bytes is no gzip file.
    pub fn finish(&mut self) -> Result<Bytes, Error> {
        let first = !std::mem::replace(&mut self.begun, true);
        match self.format {
            Format::Stream(Codec::Deflate(_)) => Ok(self.zlib.finish()),
            Format::Stream(codec) if first => codec.encode(Bytes::new()),
            Format::Stream(_) => Ok(Bytes::new()),
            Format::Avro(codec) => {
                let mut out = BytesMut::new();
                if first {
                    avro::header(codec, &self.marker, &mut out);
                }
                Ok(out.freeze())
            }
            Format::Sequence(sequence) => {
                let mut out = BytesMut::new();
                if first {
                    sequence::header(sequence, &self.marker, &mut out);
                }
                Ok(out.freeze())
            }
        }
    }
}
