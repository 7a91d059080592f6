//! `type = "files"`: files in time-rounded directories, exactly once.

mod format;

use serde::{Deserialize, Serialize};

use crate::{ByteSize, DurationText};

pub use format::{
    AvroCodec, AvroEventSerializer, Bzip2Codec, DeflateCodec, FileType, GzipCodec,
    HeaderAndTextSerializer, JsonSerializer, OutputCodec, SequenceCompression, SequenceFile,
    Serializer, TextSerializer, WriteFormat, ZstdCodec,
};

/// Flume's HDFS sink, on HDFS or a local disk. Which directory and file an event goes to depends on
/// the event alone, never on the clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilesSink {
    /// The channel this sink takes from. Required.
    pub channel: String,
    /// The directory, with escapes: `%Y`, `%{header}`, `%[localhost]`. Its literal beginning, at
    /// least two components, is the root under which staging lives. Required.
    pub path: String,
    /// What file names begin with; escapes are expanded.
    pub file_prefix: String,
    /// What file names end with, dot included, before the format's extension; no escapes.
    pub file_suffix: String,
    /// Flume's; means nothing here, since unfinished files live in staging.
    pub in_use_prefix: Option<String>,
    /// Flume's; means nothing here, since unfinished files live in staging.
    pub in_use_suffix: Option<String>,
    /// A file is rolled this long after the put time of its first event; 0 = never for this reason.
    pub roll_interval: DurationText,
    /// A file is rolled when its events' bodies reach this size; 0 = never for this reason.
    pub roll_size: ByteSize,
    /// A file is rolled at this many events; 0 = never for this reason.
    pub roll_count: u64,
    /// A file without a new event for this long is rolled; 0 = never for this reason.
    pub idle_timeout: DurationText,
    /// Rounds the timestamp down before the path is rendered.
    pub round: Option<Round>,
    /// The IANA time zone of rounding and of the path's escapes.
    pub time_zone: String,
    /// Flume's file type; `None` = what the codec says, a compressed or a plain stream.
    pub file_type: Option<FileType>,
    /// How an event is written.
    pub serializer: Serializer,
    /// How files are compressed.
    pub codec: OutputCodec,
    /// How many files may be open at once; the others are built from the log when they roll.
    /// `None` = 1,024 on a local disk, 32 on HDFS.
    pub max_open_files: Option<u32>,
    /// On HDFS: how many copies of each block. `None` = as `dfs.replication` says.
    pub replication: Option<u32>,
    /// On HDFS: the size of blocks. `None` = one block holds a whole file.
    pub block_size: Option<ByteSize>,
    /// How many directories may be made each minute; beyond it a bucket waits.
    pub new_directories_per_minute: u32,
    /// Whether an event without timestamp is a dead letter; otherwise its put time stands in.
    pub require_timestamp: bool,
    /// An event whose timestamp is further ahead of its put time is a dead letter; 0 = no bound.
    pub future_limit: DurationText,
    /// An event whose timestamp is further behind its put time is a dead letter; 0 = no bound: it
    /// goes to a new file in the old directory, and is counted.
    pub late_limit: DurationText,
    /// How many bytes are taken from the channel at once.
    pub batch_bytes: ByteSize,
}

impl Default for FilesSink {
    fn default() -> FilesSink {
        FilesSink {
            channel: String::new(),
            path: String::new(),
            file_prefix: "events".to_owned(),
            file_suffix: String::new(),
            in_use_prefix: None,
            in_use_suffix: None,
            roll_interval: DurationText::from_secs(30),
            roll_size: ByteSize::mib(128),
            roll_count: 0,
            idle_timeout: DurationText::ZERO,
            round: None,
            time_zone: "UTC".to_owned(),
            file_type: None,
            serializer: Serializer::default(),
            codec: OutputCodec::None,
            max_open_files: None,
            replication: None,
            block_size: None,
            new_directories_per_minute: 256,
            require_timestamp: false,
            future_limit: DurationText::from_secs(600),
            late_limit: DurationText::ZERO,
            batch_bytes: ByteSize::mib(1),
        }
    }
}

impl FilesSink {
    /// The SequenceFile that its files are, if they are such.
    pub fn sequence_file(&self) -> Option<SequenceFile> {
        match self.file_type {
            Some(FileType::SequenceFile(sequence)) => Some(sequence),
            Some(FileType::DataStream | FileType::CompressedStream) | None => None,
        }
    }

    /// The extension that file names get behind the suffix, dot included. As in Hadoop a SequenceFile
    /// has none: it says itself what it is.
    pub fn extension(&self) -> &'static str {
        match (self.sequence_file(), self.serializer) {
            (Some(_), _) => "",
            (None, Serializer::AvroEvent(_)) => ".avro",
            (None, _) => self.codec.extension(),
        }
    }
}

/// `round = { value = 10, unit = "minute" }`: 11:54:34 becomes 11:50:00.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Round {
    /// 1 to 60 seconds or minutes, 1 to 24 hours.
    pub value: u32,
    /// The unit; smaller fields become zero.
    pub unit: RoundUnit,
}

impl Default for Round {
    fn default() -> Round {
        Round { value: 1, unit: RoundUnit::Second }
    }
}

/// What a timestamp is rounded down to a multiple of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoundUnit {
    /// Seconds.
    #[default]
    Second,
    /// Minutes.
    Minute,
    /// Hours of the day.
    Hour,
}
