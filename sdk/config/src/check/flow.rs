//! A flow as a whole.

use std::collections::BTreeSet;

use super::{Checker, Place};
use crate::mistake::KeyPath;
use crate::{ChannelSpec, FlowSpec, SelectorSpec, SourceSpec};

/// Shards of a flow at most.
const SHARDS_MAX: u32 = 1024;
/// Replicas of a shard at most.
const REPLICAS_MAX: u32 = 16;
/// Channels of a flow at most: sets of them are bits of one word.
const CHANNELS_MAX: usize = 64;
/// Sources, interceptors, sinks or groups of a flow at most.
const COMPONENTS_MAX: usize = 256;
/// Characters of a name at most.
const NAME_MAX: usize = 64;

impl Checker {
    pub(crate) fn flow(&mut self, name: &str, flow: &FlowSpec) {
        let path = KeyPath::root("flow").key(name);
        self.name(&path, name);
        self.in_range(path.key("shards"), flow.shards, SHARDS_MAX);
        self.in_range(path.key("replicas"), flow.replicas, REPLICAS_MAX);
        self.count(&path, "channels", flow.channels.len(), CHANNELS_MAX);
        for (kind, count) in [
            ("sources", flow.sources.len()),
            ("interceptors", flow.interceptors.len()),
            ("sinks", flow.sinks.len()),
            ("groups", flow.groups.len()),
        ] {
            self.count(&path, kind, count, COMPONENTS_MAX);
        }
        self.names(&path.key("sources"), flow.sources.keys());
        self.names(&path.key("interceptors"), flow.interceptors.keys());
        self.names(&path.key("channels"), flow.channels.keys());
        self.names(&path.key("sinks"), flow.sinks.keys());
        self.names(&path.key("groups"), flow.groups.keys());
        if flow.sources.is_empty() {
            let help = match self.place {
                Place::Agent => "write `[flow.NAME.sources.log]` with `type = \"taildir\"`",
                _ => "write `[flow.NAME.sources.ingest]` with `type = \"collector\"`",
            };
            self.required(&path, "sources", help);
        }
        if flow.channels.is_empty() {
            let help = "write `[flow.NAME.channels.main]` with `type = \"durable\"`";
            self.required(&path, "channels", help);
        }
        for (name, source) in &flow.sources {
            self.source(&path, &path.key("sources").key(name), flow, source);
        }
        for (name, interceptor) in &flow.interceptors {
            self.interceptor(&path.key("interceptors").key(name), interceptor);
        }
        for (name, channel) in &flow.channels {
            self.channel(&path.key("channels").key(name), channel);
        }
        for (name, sink) in &flow.sinks {
            self.sink(&path, &path.key("sinks").key(name), flow, sink);
        }
        self.groups(&path, flow);
        self.one_collector_source(&path, flow);
        self.nothing_idle(&path, flow);
    }

    fn channel(&mut self, path: &KeyPath, channel: &ChannelSpec) {
        match channel {
            ChannelSpec::Durable(channel) => {
                if let Some(capacity) = channel.capacity {
                    self.positive(path.key("capacity"), capacity.bytes());
                }
                if let Some(span) = channel.log_span {
                    self.positive(path.key("log_span"), span.bytes());
                }
            }
            ChannelSpec::Memory(channel) => {
                self.positive(path.key("capacity"), channel.capacity.bytes());
            }
        }
    }

    fn in_range(&mut self, path: KeyPath, value: u32, max: u32) {
        if value == 0 || value > max {
            self.refuse(path, value, format!("1 to {max}"));
        }
    }

    fn count(&mut self, flow: &KeyPath, kind: &str, count: usize, max: usize) {
        if count > max {
            self.error(flow.key(kind), format!("there are {count} {kind}"))
                .help(format!("a flow has at most {max}"));
        }
    }

    fn names<'a>(&mut self, path: &KeyPath, names: impl IntoIterator<Item = &'a String>) {
        for name in names {
            self.name(&path.key(name), name);
        }
    }

    /// Names stand in paths, metrics and commands.
    fn name(&mut self, path: &KeyPath, name: &str) {
        let inner = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let begins = name.chars().next().is_some_and(|first| first.is_ascii_alphanumeric());
        if !begins || name.len() > NAME_MAX || !name.chars().all(inner) {
            self.error(path.clone(), format!("{name:?} cannot be a name")).at_key().help(format!(
                "a name has 1 to {NAME_MAX} letters, digits, `_`, `-` and `.`, and begins with a \
                 letter or digit"
            ));
        }
    }

    fn one_collector_source(&mut self, path: &KeyPath, flow: &FlowSpec) {
        let collector = |source: &&SourceSpec| matches!(source, SourceSpec::Collector(_));
        let names = flow.sources.iter().filter(|(_, source)| collector(source));
        let names: Vec<&String> = names.map(|(name, _)| name).collect();
        for name in names.iter().skip(1) {
            let sources = path.key("sources");
            self.error(
                sources.key(name),
                format!("`{}` receives what producers send to this flow already", names[0]),
            )
            .at_key()
            .help("a flow has one source `collector`; give the other events a flow of their own")
            .about(sources.key(names[0]));
        }
    }

    /// Parts that are there and take no part. They say nothing new while anything is wrong, since a
    /// mistake elsewhere may be why.
    fn nothing_idle(&mut self, path: &KeyPath, flow: &FlowSpec) {
        let fed: BTreeSet<&String> = flow.sources.values().flat_map(|s| s.channels()).collect();
        let drained: BTreeSet<&str> = flow.sinks.values().map(|sink| sink.channel()).collect();
        for name in flow.channels.keys() {
            let channel = path.key("channels").key(name);
            if !fed.contains(name) {
                self.warn(channel.clone(), format!("no source puts into the channel `{name}`"))
                    .at_key()
                    .minor()
                    .help("name it in `channels` of a source, or remove it");
            }
            if !drained.contains(name.as_str()) {
                self.warn(channel, format!("no sink takes from the channel `{name}`"))
                    .at_key()
                    .minor()
                    .help(
                        "it fills up, and then its sources are refused: add a sink, or remove it",
                    );
            }
        }
        let used: BTreeSet<&String> =
            flow.sources.values().flat_map(|s| s.interceptors()).collect();
        for name in flow.interceptors.keys().filter(|name| !used.contains(name)) {
            let interceptor = path.key("interceptors").key(name);
            self.warn(interceptor, format!("no source uses the interceptor `{name}`"))
                .at_key()
                .minor()
                .help("name it in `interceptors` of a source, or remove it");
        }
        self.weak_acknowledgement(path, flow);
    }

    fn weak_acknowledgement(&mut self, path: &KeyPath, flow: &FlowSpec) {
        let durable = flow.channels.values().any(ChannelSpec::is_durable);
        for (name, source) in &flow.sources {
            let optional: &[String] = match source.selector() {
                SelectorSpec::Replicating(selector) => &selector.optional,
                SelectorSpec::Multiplexing(_) => continue,
            };
            for (at, channel) in source.channels().iter().enumerate() {
                let memory = flow.channels.get(channel).is_some_and(|c| !c.is_durable());
                if durable && memory && !optional.contains(channel) {
                    let list = path.key("sources").key(name).key("channels");
                    self.warn(
                        list.index(at),
                        format!("the memory channel `{channel}` is required"),
                    )
                    .minor()
                    .help(
                        "the flow then acknowledges at the level `received`, whatever its other \
                         channels are; a selector can make it optional",
                    );
                }
            }
        }
    }
}
