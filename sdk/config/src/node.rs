//! What a node is told: `[node]` and the flows that seed an empty cluster.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{AccessSpec, Address, ByteSize, DurationText, FlowSpec, TlsSettings, default_flow};

/// A node's configuration file. The default has no flow: [`NodeConfig::without_file`] has one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// The node itself.
    pub node: NodeSettings,
    /// The flows an empty cluster begins with. Afterwards `flows apply` is the only way to change
    /// them.
    #[serde(rename = "flow")]
    pub flows: BTreeMap<String, FlowSpec>,
}

impl NodeConfig {
    /// What a node without a configuration file runs: the flow `default` into files under
    /// `files_dir`.
    pub fn without_file(data_dir: &str, files_dir: &str) -> NodeConfig {
        let flows = BTreeMap::from([("default".to_owned(), default_flow(files_dir))]);
        let node = NodeSettings { data_dir: data_dir.to_owned(), ..NodeSettings::default() };
        NodeConfig { node, flows }
    }
}

/// The `[node]` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeSettings {
    /// Where the node keeps its log, its Raft state and its view.
    pub data_dir: String,
    /// Where producers connect.
    pub ingest: Address,
    /// Where the other nodes connect.
    pub peer: Address,
    /// Where operators connect: admin gRPC and HTTP.
    pub admin: Address,
    /// Whether addresses that other machines reach may be served without TLS.
    pub insecure: bool,
    /// How connections are encrypted. `None` = not at all.
    pub tls: Option<TlsSettings>,
    /// Who may do what, by name. Empty = whoever can connect may do everything.
    pub access: BTreeMap<String, AccessSpec>,
    /// How long an orderly stop may take.
    pub shutdown_timeout: DurationText,
    /// Recent blocks kept in memory, so that a sink that keeps up never reads the disk.
    pub cache: ByteSize,
    /// The event log.
    pub log: LogSettings,
    /// The Raft log.
    pub raft: RaftSettings,
    /// The node's list of the files it has finished.
    pub archive: ArchiveSettings,
    /// How HDFS is reached.
    pub hdfs: HdfsSettings,
    /// What callers may ask of the node.
    pub limits: Limits,
}

impl Default for NodeSettings {
    fn default() -> NodeSettings {
        NodeSettings {
            data_dir: "./collector-data".to_owned(),
            ingest: Address::new("127.0.0.1", 7400),
            peer: Address::new("127.0.0.1", 7401),
            admin: Address::new("127.0.0.1", 7402),
            insecure: false,
            tls: None,
            access: BTreeMap::new(),
            shutdown_timeout: DurationText::from_secs(30),
            cache: ByteSize::mib(64),
            log: LogSettings::default(),
            raft: RaftSettings::default(),
            archive: ArchiveSettings::default(),
            hdfs: HdfsSettings::default(),
            limits: Limits::default(),
        }
    }
}

/// The `[node.log]` table (an agent's `[agent.log]`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// How much of the disk it may take. `None` = the smaller of 50 GiB and half of what is free,
    /// fixed when the data directory is made.
    pub quota: Option<ByteSize>,
    /// The size of a segment file.
    pub segment: ByteSize,
    /// How much of the disk stays free whatever the quota says.
    pub free_min: ByteSize,
    /// Percent of the quota from which `status` warns.
    pub warn_percent: u32,
    /// Percent of the quota from which ingest is refused.
    pub stop_ingest_percent: u32,
    /// Percent of the quota from which only sinks may write.
    pub sinks_only_percent: u32,
}

impl Default for LogSettings {
    fn default() -> LogSettings {
        LogSettings {
            quota: None,
            segment: ByteSize::mib(64),
            free_min: ByteSize::gib(1),
            warn_percent: 70,
            stop_ingest_percent: 85,
            sinks_only_percent: 95,
        }
    }
}

/// The `[node.raft]` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RaftSettings {
    /// How much of the disk the Raft log may take.
    pub quota: ByteSize,
}

impl Default for RaftSettings {
    fn default() -> RaftSettings {
        RaftSettings { quota: ByteSize::gib(1) }
    }
}

/// The `[node.archive]` table: `audit --deep` compares files against it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ArchiveSettings {
    /// How long a file stays listed.
    pub keep: DurationText,
    /// How large the list may become; the oldest go first.
    pub bytes: ByteSize,
}

impl Default for ArchiveSettings {
    fn default() -> ArchiveSettings {
        ArchiveSettings { keep: DurationText::from_secs(30 * 86_400), bytes: ByteSize::gib(1) }
    }
}

/// The `[node.hdfs]` table: what Hadoop's own files do not say. One node is one user there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HdfsSettings {
    /// Where `core-site.xml` and `hdfs-site.xml` are. `None` = where `HADOOP_CONF_DIR` says.
    pub conf_dir: Option<String>,
    /// Whom the node is without Kerberos. `None` = whom `HADOOP_USER_NAME` says.
    pub user: Option<String>,
    /// Whom the node is with Kerberos. `None` = whom the ticket cache says.
    pub kerberos_principal: Option<String>,
    /// The file with the keys for that. `None` = somebody else keeps the ticket cache fresh.
    pub kerberos_keytab: Option<String>,
}

/// The `[node.limits]` table. At a limit callers get `RESOURCE_EXHAUSTED` with a delay. The limits
/// of a block and an event belong to the format and are not settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of one session that are received and not yet stored.
    pub session_in_flight: ByteSize,
    /// Memory of everything that is received and not yet stored, unread and unfinished messages
    /// included; at it sockets are not read.
    pub ingest_memory: ByteSize,
    /// Open connections.
    pub connections: u32,
    /// Streams of one connection.
    pub streams_per_connection: u32,
    /// A stream on which nothing is unanswered and nothing arrives for this long is closed.
    pub idle_stream: DurationText,
    /// Producers remembered per shard; beyond it the one longest idle, at least an hour, is forgotten.
    pub producers_per_shard: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            session_in_flight: ByteSize::mib(8),
            ingest_memory: ByteSize::mib(256),
            connections: 16_384,
            streams_per_connection: 64,
            idle_stream: DurationText::from_secs(60),
            producers_per_shard: 100_000,
        }
    }
}
