//! Which of a source's channels an event goes into.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `selector = { type = … }` of a source. Without one an event goes into every channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SelectorSpec {
    /// Into every channel.
    Replicating(ReplicatingSelector),
    /// By the value of a header.
    Multiplexing(MultiplexingSelector),
}

impl SelectorSpec {
    /// The word after `type =`.
    pub fn type_name(&self) -> &'static str {
        match self {
            SelectorSpec::Replicating(_) => "replicating",
            SelectorSpec::Multiplexing(_) => "multiplexing",
        }
    }
}

impl Default for SelectorSpec {
    fn default() -> SelectorSpec {
        SelectorSpec::Replicating(ReplicatingSelector::default())
    }
}

/// `type = "replicating"`: every channel except the optional ones is required.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplicatingSelector {
    /// Channels that are left out, and counted, when they are full.
    pub optional: Vec<String>,
}

/// `type = "multiplexing"`: the value of a header names the channels. Values match exactly; an event
/// without the header, with an empty one or with a value that has no mapping goes to `default`. A
/// channel that is both required and optional for an event is required.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MultiplexingSelector {
    /// The header that decides.
    pub header: String,
    /// Required channels for each value of the header.
    pub mapping: BTreeMap<String, Vec<String>>,
    /// Required channels for every other event. Empty: such events are dropped and counted.
    pub default: Vec<String>,
    /// Optional channels for every event.
    pub optional: Vec<String>,
    /// Further optional channels for each value of the header.
    pub optional_mapping: BTreeMap<String, Vec<String>>,
}

impl Default for MultiplexingSelector {
    fn default() -> MultiplexingSelector {
        MultiplexingSelector {
            header: "flume.selector.header".to_owned(),
            mapping: BTreeMap::new(),
            default: Vec::new(),
            optional: Vec::new(),
            optional_mapping: BTreeMap::new(),
        }
    }
}
