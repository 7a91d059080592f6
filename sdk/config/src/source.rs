//! What a source of a flow is told.

mod taildir;

use serde::{Deserialize, Serialize};

pub use self::taildir::{Multiline, MultilineWhat, OverLong, StartAt, TaildirSource};
use crate::SelectorSpec;

/// One `[flow.F.sources.S]` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceSpec {
    /// Events that SDKs and agents send over gRPC.
    Collector(CollectorSource),
    /// Lines of files as they grow.
    Taildir(TaildirSource),
    /// Numbers counting up, for tries.
    Seq(SeqSource),
}

impl SourceSpec {
    /// The channels this source puts into, in the order written.
    pub fn channels(&self) -> &[String] {
        match self {
            SourceSpec::Collector(source) => &source.channels,
            SourceSpec::Taildir(source) => &source.channels,
            SourceSpec::Seq(source) => &source.channels,
        }
    }

    /// The interceptors its events pass, in this order.
    pub fn interceptors(&self) -> &[String] {
        match self {
            SourceSpec::Collector(source) => &source.interceptors,
            SourceSpec::Taildir(source) => &source.interceptors,
            SourceSpec::Seq(source) => &source.interceptors,
        }
    }

    /// Which of the channels an event goes into.
    pub fn selector(&self) -> &SelectorSpec {
        match self {
            SourceSpec::Collector(source) => &source.selector,
            SourceSpec::Taildir(source) => &source.selector,
            SourceSpec::Seq(source) => &source.selector,
        }
    }

    /// The word after `type =`.
    pub fn type_name(&self) -> &'static str {
        match self {
            SourceSpec::Collector(_) => "collector",
            SourceSpec::Taildir(_) => "taildir",
            SourceSpec::Seq(_) => "seq",
        }
    }
}

/// `type = "collector"`: what arrives at the node's ingest port under the flow's name. A flow has at
/// most one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CollectorSource {
    /// The channels this source puts into. Required.
    pub channels: Vec<String>,
    /// The interceptors its events pass, in this order.
    pub interceptors: Vec<String>,
    /// Which of the channels an event goes into.
    pub selector: SelectorSpec,
}

/// `type = "seq"`: bodies `0`, `1`, `2`, … without headers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SeqSource {
    /// The channels this source puts into. Required.
    pub channels: Vec<String>,
    /// The interceptors its events pass, in this order.
    pub interceptors: Vec<String>,
    /// Which of the channels an event goes into.
    pub selector: SelectorSpec,
    /// Events put at once.
    pub batch_size: u32,
    /// How many events there are in all; 0 counts on for ever.
    pub total_events: u64,
}

impl Default for SeqSource {
    fn default() -> SeqSource {
        SeqSource {
            channels: Vec::new(),
            interceptors: Vec::new(),
            selector: SelectorSpec::default(),
            batch_size: 1,
            total_events: 0,
        }
    }
}
