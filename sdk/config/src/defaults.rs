//! What runs when nothing is configured.

use std::collections::BTreeMap;

use crate::{
    ChannelSpec, CollectorSource, DurableChannel, FilesSink, FlowSpec, SinkSpec, SourceSpec,
};

/// A node's file with every key and its default, explained. Reading it gives what a node without a
/// file runs.
pub fn annotated_defaults() -> &'static str {
    include_str!("defaults/node.toml")
}

/// The same for an agent, around an example that tails a web log.
pub fn annotated_agent_defaults() -> &'static str {
    include_str!("defaults/agent.toml")
}

/// The flow `default` of a node without a configuration file: what arrives goes through one durable
/// channel into `<files_dir>/default/%Y-%m-%d/%H%M/`.
///
/// `files_dir` is a directory as it is, not a template: a `%` in it is kept.
pub fn default_flow(files_dir: &str) -> FlowSpec {
    let source =
        CollectorSource { channels: vec!["main".to_owned()], ..CollectorSource::default() };
    let path =
        format!("{}/default/%Y-%m-%d/%H%M/", files_dir.trim_end_matches('/').replace('%', "%%"));
    let sink = FilesSink { channel: "main".to_owned(), path, ..FilesSink::default() };
    let channel = ChannelSpec::Durable(DurableChannel::default());
    FlowSpec {
        sources: BTreeMap::from([("ingest".to_owned(), SourceSpec::Collector(source))]),
        channels: BTreeMap::from([("main".to_owned(), channel)]),
        sinks: BTreeMap::from([("files".to_owned(), SinkSpec::Files(Box::new(sink)))]),
        ..FlowSpec::default()
    }
}
