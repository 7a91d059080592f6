//! What an agent is told: `[agent]` and its flow.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{AccessSpec, Address, ByteSize, DurationText, FlowSpec, LogSettings, TlsSettings};

/// An agent's configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentConfig {
    /// The agent itself.
    pub agent: AgentSettings,
    /// What it runs, usually one flow from `taildir` through a durable channel to `collector`.
    #[serde(rename = "flow")]
    pub flows: BTreeMap<String, FlowSpec>,
}

/// The `[agent]` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentSettings {
    /// Where the agent keeps its spool, its positions and its dead letters.
    pub data_dir: String,
    /// Where `/metrics` and `/health` are served.
    pub admin: Address,
    /// Whether an address that other machines reach may be served without TLS.
    pub insecure: bool,
    /// How connections to the admin port are encrypted. `None` = not at all.
    pub tls: Option<TlsSettings>,
    /// Who may see the pages, by name. Empty = whoever can connect.
    pub access: BTreeMap<String, AccessSpec>,
    /// How long an orderly stop may take.
    pub shutdown_timeout: DurationText,
    /// Recent blocks kept in memory, so that a sink that keeps up never reads the disk.
    pub cache: ByteSize,
    /// The spool: what its durable channels are kept in.
    pub log: LogSettings,
}

impl Default for AgentSettings {
    fn default() -> AgentSettings {
        AgentSettings {
            data_dir: "./collector-agent".to_owned(),
            admin: Address::new("127.0.0.1", 7403),
            insecure: false,
            tls: None,
            access: BTreeMap::new(),
            shutdown_timeout: DurationText::from_secs(30),
            cache: ByteSize::mib(16),
            log: LogSettings::default(),
        }
    }
}
