//! A whole flow: from sources through channels to sinks.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    BalanceSelector, ChannelSpec, DurationText, GroupSpec, InterceptorSpec, MAX_PENALTY, SinkSpec,
    SourceSpec,
};

/// One `[flow.F]` table. Data only: what it means is built elsewhere. Components are ordered by
/// name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowSpec {
    /// Into how many shards its events are divided, 1 to 1,024. Never changed: another number is a
    /// new flow.
    pub shards: u32,
    /// On how many nodes each event is stored, or on all if there are fewer.
    pub replicas: u32,
    /// Where events come from.
    pub sources: BTreeMap<String, SourceSpec>,
    /// What sources do to events.
    pub interceptors: BTreeMap<String, InterceptorSpec>,
    /// Where events wait, at most 64.
    pub channels: BTreeMap<String, ChannelSpec>,
    /// Where events go.
    pub sinks: BTreeMap<String, SinkSpec>,
    /// Sinks that share one cursor.
    pub groups: BTreeMap<String, GroupSpec>,
}

impl Default for FlowSpec {
    fn default() -> FlowSpec {
        FlowSpec {
            shards: 8,
            replicas: 3,
            sources: BTreeMap::new(),
            interceptors: BTreeMap::new(),
            channels: BTreeMap::new(),
            sinks: BTreeMap::new(),
            groups: BTreeMap::new(),
        }
    }
}

/// How the members of a sink group share the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// They compete.
    Default,
    /// The highest priority that works.
    Failover,
    /// In turn.
    LoadBalance {
        /// Whose turn it is.
        selector: BalanceSelector,
        /// Whether a failed sink is left out until its penalty is over.
        backoff: bool,
    },
}

/// A sink group as it runs: one cursor in one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkGroup {
    /// Its name, unique within the flow.
    pub name: String,
    /// The channel it reads.
    pub channel: String,
    /// How its members share the work.
    pub policy: Policy,
    /// The longest penalty of a failed member.
    pub max_penalty: DurationText,
    /// Names and priorities, the highest priority first; 0 outside failover.
    pub members: Vec<(String, i64)>,
}

impl FlowSpec {
    /// Every sink group of the flow, by name. A sink outside any group is a group of one that has
    /// its name; several such sinks of one channel compete in one group that has the channel's name.
    pub fn sink_groups(&self) -> Vec<SinkGroup> {
        let mut groups: Vec<SinkGroup> = Vec::new();
        let mut grouped: BTreeSet<&str> = BTreeSet::new();
        for (name, group) in &self.groups {
            let mut members: Vec<(String, i64)> = match group {
                GroupSpec::Failover(group) => {
                    group.sinks.iter().map(|(sink, priority)| (sink.clone(), *priority)).collect()
                }
                _ => group.sinks().into_iter().map(|sink| (sink.to_owned(), 0)).collect(),
            };
            members.sort_by_key(|(_, priority)| std::cmp::Reverse(*priority));
            grouped.extend(group.sinks());
            let policy = match group {
                GroupSpec::Default(_) => Policy::Default,
                GroupSpec::Failover(_) => Policy::Failover,
                GroupSpec::LoadBalance(group) => {
                    Policy::LoadBalance { selector: group.selector, backoff: group.backoff }
                }
            };
            let first = members.first().and_then(|(sink, _)| self.sinks.get(sink));
            let channel = first.map(SinkSpec::channel).unwrap_or_default().to_owned();
            let max_penalty = group.max_penalty();
            groups.push(SinkGroup { name: name.clone(), channel, policy, max_penalty, members });
        }
        for (channel, sinks) in self.ungrouped(&grouped) {
            groups.push(SinkGroup {
                name: if sinks.len() == 1 { sinks[0] } else { channel }.to_owned(),
                channel: channel.to_owned(),
                policy: Policy::Default,
                max_penalty: MAX_PENALTY,
                members: sinks.into_iter().map(|sink| (sink.to_owned(), 0)).collect(),
            });
        }
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        groups
    }

    /// Puts `base`, the absolute path of a directory, before every relative path of a file sink, so
    /// that the flow means the same wherever it is read.
    pub fn resolve_paths(&mut self, base: &str) {
        for sink in self.sinks.values_mut() {
            if let SinkSpec::Files(files) = sink {
                let path = files.path.as_str();
                if !path.is_empty() && !path.starts_with('/') && !path.contains("://") {
                    let path = path.strip_prefix("./").unwrap_or(path);
                    // The base is text, not a template.
                    let base = base.trim_end_matches('/').replace('%', "%%");
                    files.path = format!("{base}/{path}");
                }
            }
        }
    }

    fn ungrouped<'a>(&'a self, grouped: &BTreeSet<&str>) -> BTreeMap<&'a str, Vec<&'a str>> {
        let mut ungrouped: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, sink) in &self.sinks {
            if !grouped.contains(name.as_str()) {
                ungrouped.entry(sink.channel()).or_default().push(name);
            }
        }
        ungrouped
    }
}
