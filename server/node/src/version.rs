//! One version of a flow's spec, as its lineages on this node use it.

use sdk_channel::Capacity;
use sdk_config::{ChannelSpec, FlowSpec, Policy, SelectorSpec, SinkSpec, SourceSpec};
use sdk_event::Level;
use sdk_flow::{BuildError, ChannelNumbers, ChannelProcessor, Environment};
use server_cluster::state::{Plan, PlannedGroup, SpecVersion};
use server_cluster::{FlowId, GroupNumber};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A flow's spec with the numbers the cluster has given to its parts.
pub(crate) struct Version {
    pub(crate) flow: FlowId,
    pub(crate) flow_name: Arc<str>,
    pub(crate) number: u32,
    pub(crate) spec: FlowSpec,
    pub(crate) channels: Vec<VersionChannel>,
    pub(crate) groups: Vec<VersionGroup>,
    /// Interceptors and selector of the source that producers send to, if it has one.
    pub(crate) ingest: Option<Arc<ChannelProcessor>>,
    /// Those of the sources that run on the node, by name.
    pub(crate) sources: BTreeMap<String, Arc<ChannelProcessor>>,
}

/// A channel of a version.
#[derive(Debug, Clone)]
pub(crate) struct VersionChannel {
    pub(crate) name: Arc<str>,
    /// Its number in every lineage of this version.
    pub(crate) number: u8,
    pub(crate) durable: bool,
    /// Some source puts into it and does not call it optional.
    pub(crate) required: bool,
    pub(crate) capacity: Arc<Capacity>,
}

/// A sink group of a version.
#[derive(Debug, Clone)]
pub(crate) struct VersionGroup {
    pub(crate) number: GroupNumber,
    pub(crate) name: Arc<str>,
    /// The number of its channel.
    pub(crate) channel: u8,
    pub(crate) durable: bool,
    pub(crate) policy: Policy,
    pub(crate) members: Vec<VersionSink>,
}

impl VersionGroup {
    /// Whether what it delivers is files, which the ledger knows one by one.
    pub(crate) fn writes_files(&self) -> bool {
        self.members.iter().all(|member| matches!(member.spec, SinkSpec::Files(_)))
    }
}

/// A sink of a group.
#[derive(Debug, Clone)]
pub(crate) struct VersionSink {
    pub(crate) name: Arc<str>,
    /// Never used again within the flow.
    pub(crate) number: u32,
    pub(crate) priority: i64,
    pub(crate) spec: SinkSpec,
}

/// Why a version cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VersionError {
    /// The cluster has a spec that this program cannot read.
    #[error("flow {flow} has a spec that this release cannot read")]
    Spec {
        flow: String,
        #[source]
        error: serde_json::Error,
    },
    /// A source's interceptors or selector.
    #[error("flow {flow}: source {source_name} cannot be built")]
    Source {
        flow: String,
        source_name: String,
        #[source]
        error: BuildError,
    },
}

impl Version {
    /// Builds what the cluster knows as version `number` of a flow.
    pub(crate) fn build(
        flow: FlowId,
        flow_name: &str,
        number: u32,
        version: &SpecVersion,
        capacities: &mut Capacities,
        environment: &Environment,
    ) -> Result<Self, VersionError> {
        let spec: FlowSpec = serde_json::from_str(&version.spec)
            .map_err(|error| VersionError::Spec { flow: flow_name.to_owned(), error })?;
        let numbers = ChannelNumbers::of(&spec);
        let required = required_channels(&spec);
        let channels = spec.channels.iter().map(|(name, channel)| VersionChannel {
            name: name.as_str().into(),
            number: numbers.number(name).unwrap_or(u8::MAX),
            durable: channel.is_durable(),
            required: required.contains(name),
            capacity: capacities.of(flow, name, channel),
        });
        let channels: Vec<VersionChannel> = channels.collect();
        let groups = spec.sink_groups().into_iter().filter_map(|group| {
            let known = version.groups.get(&group.name)?;
            let members = group.members.iter().filter_map(|(name, priority)| {
                Some(VersionSink {
                    name: name.as_str().into(),
                    number: version.sinks.get(name)?.number,
                    priority: *priority,
                    spec: spec.sinks.get(name)?.clone(),
                })
            });
            Some(VersionGroup {
                number: known.number,
                name: group.name.as_str().into(),
                channel: numbers.number(&group.channel)?,
                durable: known.durable,
                policy: group.policy,
                members: members.collect(),
            })
        });
        let groups = groups.collect();
        let processor = |name: &str, source: &SourceSpec| {
            ChannelProcessor::build(source, &spec, environment).map(Arc::new).map_err(|error| {
                VersionError::Source {
                    flow: flow_name.to_owned(),
                    source_name: name.to_owned(),
                    error,
                }
            })
        };
        let (mut ingest, mut sources) = (None, BTreeMap::new());
        for (name, source) in &spec.sources {
            let built = processor(name, source)?;
            match source {
                SourceSpec::Collector(_) => ingest = Some(built),
                _ => drop(sources.insert(name.clone(), built)),
            }
        }
        let flow_name = flow_name.into();
        Ok(Self { flow, flow_name, number, spec, channels, groups, ingest, sources })
    }

    /// What a receipt of this flow promises on one node.
    pub(crate) fn level(&self) -> Level {
        let memory = self.channels.iter().any(|channel| channel.required && !channel.durable);
        if memory { Level::Received } else { Level::Local }
    }

    /// A group by its number.
    pub(crate) fn group(&self, number: GroupNumber) -> Option<&VersionGroup> {
        self.groups.iter().find(|group| group.number == number)
    }

    /// Whether any channel is kept in the log.
    pub(crate) fn has_log(&self) -> bool {
        self.channels.iter().any(|channel| channel.durable)
    }
}

/// The room of each channel, shared by all its shards, lineages and versions on this node.
pub(crate) struct Capacities {
    known: BTreeMap<(FlowId, String), (ChannelSpec, Arc<Capacity>)>,
    /// What a channel without limits of its own may take: the log's quota.
    quota_bytes: u64,
}

impl Capacities {
    /// None known yet.
    pub(crate) fn new(quota_bytes: u64) -> Self {
        Self { known: BTreeMap::new(), quota_bytes }
    }

    fn of(&mut self, flow: FlowId, name: &str, spec: &ChannelSpec) -> Arc<Capacity> {
        let key = (flow, name.to_owned());
        if let Some((known, capacity)) = self.known.get(&key)
            && known == spec
        {
            return Arc::clone(capacity);
        }
        let (bytes_max, span_max) = match spec {
            ChannelSpec::Durable(channel) => (
                channel.capacity.map_or(self.quota_bytes, u64::from),
                channel.log_span.map_or(u64::MAX, u64::from),
            ),
            ChannelSpec::Memory(channel) => (channel.capacity.into(), u64::MAX),
        };
        let capacity = Capacity::new(name, bytes_max, span_max);
        self.known.insert(key, (spec.clone(), Arc::clone(&capacity)));
        capacity
    }
}

/// What of a spec the cluster has to know.
pub(crate) fn plan(spec: &FlowSpec) -> Plan {
    let groups = spec.sink_groups();
    let max_penalty = |sink: &str| {
        let group = groups.iter().find(|group| group.members.iter().any(|(name, _)| name == sink));
        let longest: std::time::Duration =
            group.map_or(sdk_config::MAX_PENALTY, |group| group.max_penalty).into();
        u64::try_from(longest.as_millis()).unwrap_or(u64::MAX)
    };
    Plan {
        shards: spec.shards,
        channels: spec
            .channels
            .iter()
            .map(|(name, channel)| (name.clone(), channel.is_durable()))
            .collect(),
        sinks: spec.sinks.keys().map(|name| (name.clone(), max_penalty(name))).collect(),
        groups: groups
            .iter()
            .map(|group| {
                let sinks = group.members.iter().map(|(name, _)| name.clone()).collect();
                (group.name.clone(), PlannedGroup { channel: group.channel.clone(), sinks })
            })
            .collect(),
    }
}

/// Channels that some source puts into and does not call optional.
fn required_channels(spec: &FlowSpec) -> BTreeSet<String> {
    let mut required = BTreeSet::new();
    for source in spec.sources.values() {
        match source.selector() {
            SelectorSpec::Replicating(selector) => {
                let names = source.channels().iter();
                required.extend(names.filter(|name| !selector.optional.contains(name)).cloned());
            }
            SelectorSpec::Multiplexing(selector) => {
                required.extend(selector.mapping.values().flatten().cloned());
                required.extend(selector.default.iter().cloned());
            }
        }
    }
    required
}
