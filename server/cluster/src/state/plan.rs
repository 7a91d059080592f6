//! What of a flow's spec the state has to know.

use std::collections::BTreeMap;

use sdk_config::{DurationText, FlowSpec, MAX_PENALTY};
use serde::{Deserialize, Serialize};

/// What of a spec the state has to know, as the proposer has read it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// How many shards.
    pub shards: u32,
    /// The channels: name, and whether it is durable.
    pub channels: BTreeMap<String, bool>,
    /// The sinks: name and longest penalty in milliseconds.
    pub sinks: BTreeMap<String, u64>,
    /// The groups; a sink outside any group is a group of its own name.
    pub groups: BTreeMap<String, PlannedGroup>,
}

/// A group in a [`Plan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedGroup {
    /// The channel its sinks read.
    pub channel: String,
    /// Its sinks by name.
    pub sinks: Vec<String>,
}

impl Plan {
    /// The plan of a spec, and the spec as the JSON that stands in the state.
    pub fn of(spec: &FlowSpec) -> (Plan, String) {
        let mut plan = Plan { shards: spec.shards, ..Plan::default() };
        let channels = spec.channels.iter();
        plan.channels = channels.map(|(name, it)| (name.clone(), it.is_durable())).collect();
        let longest =
            |longest: DurationText| u64::try_from(longest.get().as_millis()).unwrap_or(u64::MAX);
        let sinks = spec.sinks.keys();
        plan.sinks = sinks.map(|sink| (sink.clone(), longest(MAX_PENALTY))).collect();
        for group in spec.sink_groups() {
            let sinks: Vec<String> = group.members.into_iter().map(|(sink, _)| sink).collect();
            for sink in &sinks {
                plan.sinks.insert(sink.clone(), longest(group.max_penalty));
            }
            plan.groups.insert(group.name, PlannedGroup { channel: group.channel, sinks });
        }
        let json = serde_json::to_string(spec).expect("a spec is plain data with names as keys");
        (plan, json)
    }
}
