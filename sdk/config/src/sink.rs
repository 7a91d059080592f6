//! What a sink of a flow is told.

mod collector;
mod files;

use serde::{Deserialize, Serialize};

pub use self::collector::{AckLevel, CollectorSink, OnExpired, WireCodec};
pub use self::files::{
    AvroCodec, AvroEventSerializer, Bzip2Codec, DeflateCodec, FileType, FilesSink, GzipCodec,
    HeaderAndTextSerializer, JsonSerializer, OutputCodec, Round, RoundUnit, SequenceCompression,
    SequenceFile, Serializer, TextSerializer, WriteFormat, ZstdCodec,
};

/// One `[flow.F.sinks.S]` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkSpec {
    /// Files in time-rounded directories, exactly once.
    Files(Box<FilesSink>),
    /// The log of the process, for looking.
    Logger(LoggerSink),
    /// Nowhere.
    Null(NullSink),
    /// Nodes of a collector cluster.
    Collector(Box<CollectorSink>),
}

impl SinkSpec {
    /// The channel this sink takes from.
    pub fn channel(&self) -> &str {
        match self {
            SinkSpec::Files(sink) => &sink.channel,
            SinkSpec::Logger(sink) => &sink.channel,
            SinkSpec::Null(sink) => &sink.channel,
            SinkSpec::Collector(sink) => &sink.channel,
        }
    }

    /// The word after `type =`.
    pub fn type_name(&self) -> &'static str {
        match self {
            SinkSpec::Files(_) => "files",
            SinkSpec::Logger(_) => "logger",
            SinkSpec::Null(_) => "null",
            SinkSpec::Collector(_) => "collector",
        }
    }

    /// Whether it writes files, and so has a ledger.
    pub fn is_files(&self) -> bool {
        matches!(self, SinkSpec::Files(_))
    }
}

/// `type = "logger"`: one line of the process's log per event, headers and the first bytes of the
/// body as hex and text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoggerSink {
    /// The channel this sink takes from. Required.
    pub channel: String,
    /// How many bytes of a body are shown.
    pub max_bytes_to_log: u32,
}

impl Default for LoggerSink {
    fn default() -> LoggerSink {
        LoggerSink { channel: String::new(), max_bytes_to_log: 16 }
    }
}

/// `type = "null"`: takes everything and keeps nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NullSink {
    /// The channel this sink takes from. Required.
    pub channel: String,
    /// A line in the log each time this many events are gone; 0 = never.
    pub log_every_n_events: u64,
}

impl Default for NullSink {
    fn default() -> NullSink {
        NullSink { channel: String::new(), log_every_n_events: 10_000 }
    }
}
