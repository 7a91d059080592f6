//! Sink groups.

use std::collections::BTreeMap;

use super::Checker;
use crate::mistake::KeyPath;
use crate::{FlowSpec, GroupSpec, SinkSpec};

impl Checker {
    pub(super) fn groups(&mut self, flow: &KeyPath, spec: &FlowSpec) {
        let mut owner: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, group) in &spec.groups {
            let path = flow.key("groups").key(name);
            self.group(flow, &path, spec, group);
            for (at, sink) in group.sinks().into_iter().enumerate() {
                match owner.insert(sink, name) {
                    Some(first) if first != name => {
                        self.error(
                            member(&path, group, at, sink),
                            format!("the sink `{sink}` is in the group `{first}` already"),
                        )
                        .help("a sink is in one group: two cursors would deliver everything twice")
                        .about(flow.key("groups").key(first));
                    }
                    _ => {}
                }
            }
        }
        self.competing(flow, spec, &owner);
    }

    fn group(&mut self, flow: &KeyPath, path: &KeyPath, spec: &FlowSpec, group: &GroupSpec) {
        let names = group.sinks();
        if names.is_empty() {
            let help = match group {
                GroupSpec::Failover(_) => "write `sinks = { first = 10, second = 5 }`",
                _ => "write `sinks = [\"first\", \"second\"]`",
            };
            self.required(path, "sinks", help);
            return;
        }
        let kind = ("sink", "sinks");
        match group {
            GroupSpec::Failover(group) => {
                for sink in group.sinks.keys() {
                    self.reference(path.key("sinks").key(sink), sink, flow, kind, &spec.sinks);
                }
                let mut priorities: BTreeMap<i64, &str> = BTreeMap::new();
                for (sink, priority) in &group.sinks {
                    if let Some(other) = priorities.insert(*priority, sink) {
                        self.error(
                            path.key("sinks").key(sink),
                            format!("`{other}` and `{sink}` have the same priority {priority}"),
                        )
                        .help("give each its own; the highest goes first");
                    }
                }
                if names.len() < 2 {
                    self.warn(path.key("sinks"), "there is nothing to fail over to")
                        .minor()
                        .help("name a second sink with a lower priority");
                }
            }
            GroupSpec::LoadBalance(group) => {
                self.references(&path.key("sinks"), &group.sinks, flow, kind, &spec.sinks);
                if names.len() < 2 {
                    self.error(path.key("sinks"), "one sink shares no load")
                        .help("`load_balance` has at least two sinks");
                }
            }
            GroupSpec::Default(group) => {
                self.references(&path.key("sinks"), &group.sinks, flow, kind, &spec.sinks);
            }
        }
        if group.max_penalty().is_zero() {
            self.error(path.key("max_penalty"), "`max_penalty` must be more than 0")
                .help("a failed sink would be tried again without pause");
        }
        self.same_channel(flow, path, spec, group);
    }

    /// A group has one cursor, so all its sinks read one channel, and a ledger only if all write
    /// files.
    fn same_channel(&mut self, flow: &KeyPath, path: &KeyPath, spec: &FlowSpec, group: &GroupSpec) {
        let members: Vec<(usize, &str, &SinkSpec)> = group
            .sinks()
            .into_iter()
            .enumerate()
            .filter_map(|(at, name)| Some((at, name, spec.sinks.get(name)?)))
            .collect();
        // The odd ones out are to blame.
        let files = members.iter().filter(|(_, _, sink)| sink.is_files()).count() * 2;
        let files = files >= members.len();
        let usual = |sink: &SinkSpec| sink.is_files() == files;
        let Some((_, first, first_sink)) = members.iter().find(|(_, _, sink)| usual(sink)) else {
            return;
        };
        let sinks = flow.key("sinks");
        for (at, name, sink) in &members {
            let known = |sink: &SinkSpec| spec.channels.contains_key(sink.channel());
            if !usual(sink) {
                let (one, other) = (kind(first, first_sink), kind(name, sink));
                self.error(
                    member(path, group, *at, name),
                    format!("{one} and {other} cannot share a group"),
                )
                .help("files are written exactly once by a ledger, which other sinks have not")
                .about(sinks.key(first))
                .about(sinks.key(name));
            } else if sink.channel() != first_sink.channel() && known(sink) && known(first_sink) {
                let (one, other) = (first_sink.channel(), sink.channel());
                self.error(
                    member(path, group, *at, name),
                    format!("`{first}` takes from the channel `{one}`, `{name}` from `{other}`"),
                )
                .help("the sinks of a group take from one channel")
                .about(sinks.key(first).key("channel"))
                .about(sinks.key(name).key("channel"));
            }
        }
    }

    /// Sinks outside any group: those of one channel compete.
    fn competing(&mut self, flow: &KeyPath, spec: &FlowSpec, owner: &BTreeMap<&str, &str>) {
        let mut by_channel: BTreeMap<&str, Vec<(&String, &SinkSpec)>> = BTreeMap::new();
        for (name, sink) in &spec.sinks {
            if !owner.contains_key(name.as_str()) && !sink.channel().is_empty() {
                by_channel.entry(sink.channel()).or_default().push((name, sink));
            }
        }
        for (channel, sinks) in by_channel {
            let (first, first_sink) = sinks[0];
            let group = if sinks.len() == 1 { first.as_str() } else { channel };
            if let Some(taken) = spec.groups.get_key_value(group) {
                let why = match sinks.len() {
                    1 => "the sink of that name is a group by itself",
                    _ => "the sinks of the channel of that name are a group",
                };
                let path = flow.key("groups").key(taken.0);
                self.error(path, format!("the group `{group}` needs another name"))
                    .at_key()
                    .help(why);
            }
            for (name, sink) in &sinks[1..] {
                let path = flow.key("sinks").key(name);
                if sink.is_files() != first_sink.is_files() {
                    self.error(
                        path.key("channel"),
                        format!(
                            "{} and {} cannot share a channel like this",
                            kind(first, first_sink),
                            kind(name, sink)
                        ),
                    )
                    .help(format!(
                        "sinks of one channel compete; a group of its own gives `{name}` every \
                         event: `[{}]` with `type = \"default\"` and `sinks = [\"{name}\"]`",
                        flow.key("groups").key(&format!("{name}-only"))
                    ))
                    .about(flow.key("sinks").key(first))
                    .about(path.key("type"));
                } else {
                    self.warn(
                        path.key("channel"),
                        format!("`{first}` and `{name}` compete: each event goes to one of them"),
                    )
                    .minor()
                    .help(
                        "say so with a group, or give each a group or a channel of its own if \
                         both should have every event",
                    );
                }
            }
        }
    }
}

fn kind(name: &str, sink: &SinkSpec) -> String {
    format!("`{name}` (`{}`)", sink.type_name())
}

fn member(group_path: &KeyPath, group: &GroupSpec, at: usize, sink: &str) -> KeyPath {
    let sinks = group_path.key("sinks");
    match group {
        GroupSpec::Failover(_) => sinks.key(sink),
        _ => sinks.index(at),
    }
}
