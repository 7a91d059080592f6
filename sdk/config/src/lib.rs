//! Configuration as data: what a node, an agent and a flow are told.
//!
//! A [`FlowSpec`] is read from TOML, kept in the cluster's replicated state (it serializes to JSON
//! and back) and built into running parts elsewhere. Keys are Flume's in snake_case, values carry
//! their units, every key has a default unless its text says "required".

mod address;
mod agent;
mod channel;
mod check;
mod defaults;
mod diagnostics;
mod document;
mod duration;
mod flow;
mod group;
mod hints;
mod interceptor;
pub mod ledger;
mod mask;
mod mistake;
mod nearest;
mod node;
mod parse;
mod replacement;
mod security;
mod selector;
mod sink;
mod size;
mod source;
mod template;
mod time_pattern;
mod write;

pub use address::{Address, AddressError};
pub use agent::{AgentConfig, AgentSettings};
pub use channel::{ChannelSpec, DurableChannel, MemoryChannel};
pub use check::{Place, check_flow};
pub use defaults::{annotated_agent_defaults, annotated_defaults, default_flow};
pub use diagnostics::{Diagnostic, Diagnostics};
pub use duration::{DurationError, DurationText};
pub use flow::{FlowSpec, Policy, SinkGroup};
pub use group::{
    BalanceSelector, DefaultGroup, FailoverGroup, GroupSpec, LoadBalanceGroup, MAX_PENALTY,
};
pub use interceptor::{
    ExtractorSerializer, ExtractorSerializers, HostInterceptor, InterceptorSpec,
    RegexExtractorInterceptor, RegexFilterInterceptor, RemoveHeaderInterceptor,
    SearchReplaceInterceptor, SerializerType, StaticInterceptor, TimestampInterceptor,
};
pub use mistake::{KeyPath, Mistake, Severity, Step};
pub use node::{
    ArchiveSettings, HdfsSettings, Limits, LogSettings, NodeConfig, NodeSettings, RaftSettings,
};
pub use parse::{Parsed, Resolve, parse_agent, parse_flows, parse_node, process_env};
pub use replacement::{Replacement, ReplacementError, ReplacementPiece};
pub use security::{AccessSpec, AdminAccess, ClientCertificate, Port, TlsSettings};
pub use selector::{MultiplexingSelector, ReplicatingSelector, SelectorSpec};
pub use sink::{
    AckLevel, AvroCodec, AvroEventSerializer, Bzip2Codec, CollectorSink, DeflateCodec, FileType,
    FilesSink, GzipCodec, HeaderAndTextSerializer, JsonSerializer, LoggerSink, NullSink, OnExpired,
    OutputCodec, Round, RoundUnit, SequenceCompression, SequenceFile, Serializer, SinkSpec,
    TextSerializer, WireCodec, WriteFormat, ZstdCodec,
};
pub use size::{ByteSize, SizeError};
pub use source::{
    CollectorSource, Multiline, MultilineWhat, OverLong, SeqSource, SourceSpec, StartAt,
    TaildirSource,
};
pub use template::{HostEscape, Piece, TIME_ESCAPES, Template, TemplateError, TimeEscape};
pub use time_pattern::{TimePattern, TimePatternError, is_time_zone};
pub use write::flows_to_toml;
