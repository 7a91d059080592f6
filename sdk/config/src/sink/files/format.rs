//! What a file is made of: its type, its serializer, its codec.

use serde::{Deserialize, Serialize};

/// Flume's file types: `file_type = "sequence_file"`, or with settings
/// `file_type = { type = "sequence_file", write_format = "text" }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileType {
    /// What the serializer writes.
    DataStream,
    /// The same, through the codec.
    CompressedStream,
    /// Hadoop's SequenceFile; with a codec compressed. The serializer is not used.
    SequenceFile(SequenceFile),
}

/// `type = "sequence_file"`: the key is the event's timestamp, the value its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SequenceFile {
    /// What the values are.
    pub write_format: WriteFormat,
    /// What is compressed at once, if there is a codec.
    pub compression: SequenceCompression,
}

/// The class of a SequenceFile's values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteFormat {
    /// `BytesWritable`.
    #[default]
    Writable,
    /// `Text`; whether the body is UTF-8 is not checked.
    Text,
}

/// What a SequenceFile compresses at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SequenceCompression {
    /// Many records: keys together, values together.
    #[default]
    Block,
    /// The value of each record.
    Record,
}

/// How an event is written into a file: `serializer = "json"`, or with settings
/// `serializer = { type = "json", ids = true }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Serializer {
    /// The body.
    Text(TextSerializer),
    /// One JSON object per line.
    Json(JsonSerializer),
    /// The headers as `{k=v, k2=v2}`, a blank, the body.
    HeaderAndText(HeaderAndTextSerializer),
    /// An Avro container of Flume's events: a map of headers, and the body.
    AvroEvent(AvroEventSerializer),
}

impl Default for Serializer {
    fn default() -> Serializer {
        Serializer::Text(TextSerializer::default())
    }
}

/// `type = "text"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextSerializer {
    /// Whether a newline follows each body.
    pub append_newline: bool,
}

impl Default for TextSerializer {
    fn default() -> TextSerializer {
        TextSerializer { append_newline: true }
    }
}

/// `type = "json"`: `{"timestamp", "headers", "body"}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JsonSerializer {
    /// Whether each line has the event's `"id"`, which `audit --deep` then checks one by one.
    pub ids: bool,
}

/// `type = "header_and_text"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderAndTextSerializer {
    /// Whether a newline follows each body.
    pub append_newline: bool,
}

impl Default for HeaderAndTextSerializer {
    fn default() -> HeaderAndTextSerializer {
        HeaderAndTextSerializer { append_newline: true }
    }
}

/// `type = "avro_event"`; `.avro`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AvroEventSerializer {
    /// How the container's blocks are compressed.
    pub compression_codec: AvroCodec,
}

/// The codecs of Avro containers, by Avro's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AvroCodec {
    /// None.
    #[default]
    Null,
    /// Deflate, without zlib's frame.
    Deflate,
    /// Snappy, with a checksum.
    Snappy,
    /// Bzip2.
    Bzip2,
    /// Zstandard.
    Zstandard,
}

/// How files are compressed: `codec = "zstd"`, or with settings
/// `codec = { type = "zstd", level = 9 }`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputCodec {
    /// Not at all.
    #[default]
    None,
    /// Gzip; `.gz`.
    Gzip(GzipCodec),
    /// Zstandard; `.zst`.
    Zstd(ZstdCodec),
    /// Bzip2; `.bz2`.
    Bzip2(Bzip2Codec),
    /// Zlib, Hadoop's default codec; `.deflate`.
    Deflate(DeflateCodec),
    /// Snappy as Hadoop frames it; `.snappy`.
    Snappy,
    /// LZ4 as Hadoop frames it; `.lz4`.
    Lz4,
}

impl OutputCodec {
    /// The extension that file names get behind the suffix, dot included.
    pub fn extension(self) -> &'static str {
        match self {
            OutputCodec::None => "",
            OutputCodec::Gzip(_) => ".gz",
            OutputCodec::Zstd(_) => ".zst",
            OutputCodec::Bzip2(_) => ".bz2",
            OutputCodec::Deflate(_) => ".deflate",
            OutputCodec::Snappy => ".snappy",
            OutputCodec::Lz4 => ".lz4",
        }
    }
}

/// `type = "gzip"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GzipCodec {
    /// 1 (fast) to 9 (small).
    pub level: u32,
}

impl Default for GzipCodec {
    fn default() -> GzipCodec {
        GzipCodec { level: 6 }
    }
}

/// `type = "zstd"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ZstdCodec {
    /// 1 (fast) to 19 (small).
    pub level: u32,
}

impl Default for ZstdCodec {
    fn default() -> ZstdCodec {
        ZstdCodec { level: 3 }
    }
}

/// `type = "bzip2"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bzip2Codec {
    /// 1 (little memory) to 9 (small).
    pub level: u32,
}

impl Default for Bzip2Codec {
    fn default() -> Bzip2Codec {
        Bzip2Codec { level: 9 }
    }
}

/// `type = "deflate"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeflateCodec {
    /// 1 (fast) to 9 (small).
    pub level: u32,
}

impl Default for DeflateCodec {
    fn default() -> DeflateCodec {
        DeflateCodec { level: 6 }
    }
}
