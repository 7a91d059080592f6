//! From text to configuration.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::check::{Checker, Place};
use crate::diagnostics::Diagnostics;
use crate::document::Document;
use crate::mistake::{KeyPath, Mistake};
use crate::{AgentConfig, FlowSpec, NodeConfig};

/// A configuration that can be used, and what should be said about it all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed<T> {
    /// The configuration.
    pub value: T,
    /// Warnings only.
    pub warnings: Diagnostics,
}

/// Where `${env:NAME}` gets its value: the variable's, or `None` if there is none.
pub type Resolve<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The variables of this process.
pub fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Reads a node's file: `[node]` and the flows that seed an empty cluster. Needs no network and
/// looks at no file. On error every mistake is in the answer, warnings among them.
pub fn parse_node(
    text: &str,
    file_name: &str,
    env: Resolve<'_>,
) -> Result<Parsed<NodeConfig>, Diagnostics> {
    parse(text, file_name, &[], env, |config: &NodeConfig, _| {
        let mut checker = Checker::new(Place::Node);
        checker.node(&config.node);
        checker.flows(&config.flows);
        checker.mistakes
    })
}

/// Reads an agent's file: `[agent]` and its flows. Otherwise as [`parse_node`].
pub fn parse_agent(
    text: &str,
    file_name: &str,
    env: Resolve<'_>,
) -> Result<Parsed<AgentConfig>, Diagnostics> {
    parse(text, file_name, &[], env, |config: &AgentConfig, document| {
        let mut checker = Checker::new(Place::Agent);
        checker.agent(&config.agent);
        checker.flows(&config.flows);
        for name in config.flows.keys() {
            for key in ["shards", "replicas"] {
                let path = KeyPath::root("flow").key(name).key(key);
                if document.has(&path) {
                    checker
                        .warn(path, format!("`{key}` means nothing on an agent"))
                        .at_key()
                        .help("remove it");
                }
            }
        }
        checker.mistakes
    })
}

/// Reads the `[flow.*]` tables of a file, of a node's or an agent's too, for `flows apply`. Paths
/// must be absolute, since they are the same for every node. Otherwise as [`parse_node`].
pub fn parse_flows(
    text: &str,
    file_name: &str,
    env: Resolve<'_>,
) -> Result<Parsed<BTreeMap<String, FlowSpec>>, Diagnostics> {
    /// A file of which only the flows are read.
    #[derive(Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct FlowsFile {
        flow: BTreeMap<String, FlowSpec>,
    }
    let parsed = parse(text, file_name, &["node", "agent"], env, |file: &FlowsFile, _| {
        let mut checker = Checker::new(Place::Cluster);
        checker.flows(&file.flow);
        checker.mistakes
    })?;
    Ok(Parsed { value: parsed.value.flow, warnings: parsed.warnings })
}

fn parse<T: DeserializeOwned + Default>(
    text: &str,
    file_name: &str,
    others: &[&str],
    env: Resolve<'_>,
    check: impl Fn(&T, &Document) -> Vec<Mistake>,
) -> Result<Parsed<T>, Diagnostics> {
    let (mut document, readable) = Document::parse(text);
    document.leave_out(others);
    document.expand(env);
    let value: T = document.read();
    let checks = if readable { check(&value, &document) } else { Vec::new() };
    let diagnostics = Diagnostics::new(file_name, text, document.finish(checks));
    match diagnostics.errors() {
        0 => Ok(Parsed { value, warnings: diagnostics }),
        _ => Err(diagnostics),
    }
}
