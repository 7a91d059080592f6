//! Configuration as data: what a node, an agent and a flow are told.
//!
//! A [`FlowSpec`] is read from TOML, kept in the cluster's replicated state (it serializes to JSON
//! and back) and built into running parts elsewhere. Keys are Flume's in snake_case, values carry
//! their units, every key has a default unless its text says "required".

mod address;
mod agent;
mod channel;
mod defaults;
mod duration;
mod flow;
mod group;
mod interceptor;
pub mod ledger;
mod node;
mod replacement;
mod selector;
mod sink;
mod size;
mod source;
mod template;

pub use address::{Address, AddressError};
pub use agent::{AgentConfig, AgentSettings};
pub use channel::{ChannelSpec, DurableChannel, MemoryChannel};
pub use defaults::default_flow;
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
pub use node::{ArchiveSettings, Limits, LogSettings, NodeConfig, NodeSettings, RaftSettings};
pub use replacement::{Replacement, ReplacementError, ReplacementPiece};
pub use selector::{MultiplexingSelector, ReplicatingSelector, SelectorSpec};
pub use sink::{
    AckLevel, CollectorSink, FilesSink, GzipCodec, HeaderAndTextSerializer, JsonSerializer,
    LoggerSink, NullSink, OnExpired, OutputCodec, Round, RoundUnit, Serializer, SinkSpec,
    TextSerializer, WireCodec, ZstdCodec,
};
pub use size::{ByteSize, SizeError};
pub use source::{
    CollectorSource, Multiline, MultilineWhat, OverLong, SeqSource, SourceSpec, StartAt,
    TaildirSource,
};
pub use template::{HostEscape, Piece, TIME_ESCAPES, Template, TemplateError, TimeEscape};
