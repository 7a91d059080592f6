//! The `[node]` and `[agent]` tables.

use super::Checker;
use super::security::Door;
use crate::mistake::KeyPath;
use crate::{
    Address, AgentSettings, ByteSize, HdfsSettings, Limits, LogSettings, NodeSettings, Port,
};

/// The smallest segment file.
const SEGMENT_MIN: ByteSize = ByteSize::mib(1);
/// The largest segment file.
const SEGMENT_MAX: ByteSize = ByteSize::gib(1);
/// What segments are written in.
const PAGE: ByteSize = ByteSize::kib(4);
/// Fewer segments leave no room to recycle.
const SEGMENTS_MIN: u64 = 4;
/// The largest block, as its format has it.
const BLOCK_BYTES_MAX: ByteSize = ByteSize::mib(4);

impl Checker {
    pub(crate) fn node(&mut self, node: &NodeSettings) {
        let path = KeyPath::root("node");
        self.data_dir(&path, &node.data_dir);
        let door = Door { insecure: node.insecure, tls: node.tls.as_ref(), access: &node.access };
        let addresses = [("ingest", &node.ingest), ("peer", &node.peer), ("admin", &node.admin)];
        let ports = [Port::Ingest, Port::Peer, Port::Admin];
        for (at, (key, address)) in addresses.into_iter().enumerate() {
            self.listen(path.key(key), address, ports[at], &door);
            let same = |(_, other): &&(&str, &Address)| *other == address && address.port != 0;
            if let Some((other, _)) = addresses[..at].iter().find(same) {
                self.error(path.key(key), format!("`{key}` and `{other}` have the same address"))
                    .help("give each a port of its own")
                    .about(path.key(other));
            }
        }
        if let Some(tls) = door.tls {
            self.tls(&path.key("tls"), tls);
        }
        self.access(&path.key("access"), &door);
        self.positive(path.key("shutdown_timeout"), node.shutdown_timeout.millis());
        self.log(&path.key("log"), &node.log);
        let least = ByteSize(SEGMENT_MIN.bytes() * SEGMENTS_MIN);
        if node.raft.quota < least {
            self.refuse(
                path.key("raft").key("quota"),
                node.raft.quota,
                format!("at least {least}"),
            );
        }
        self.hdfs(&path.key("hdfs"), &node.hdfs);
        self.limits(&path.key("limits"), &node.limits);
    }

    fn hdfs(&mut self, path: &KeyPath, hdfs: &HdfsSettings) {
        if hdfs.kerberos_keytab.is_some() && hdfs.kerberos_principal.is_none() {
            self.error(path.key("kerberos_keytab"), "a keytab holds the keys of several users")
                .help("write `kerberos_principal = \"collector/host@REALM\"` as well");
        }
        for (key, value) in [
            ("conf_dir", &hdfs.conf_dir),
            ("user", &hdfs.user),
            ("kerberos_principal", &hdfs.kerberos_principal),
            ("kerberos_keytab", &hdfs.kerberos_keytab),
        ] {
            if value.as_ref().is_some_and(String::is_empty) {
                self.error(path.key(key), format!("`{key}` is empty"))
                    .help("remove it, for what Hadoop's programs do");
            }
        }
    }

    pub(crate) fn agent(&mut self, agent: &AgentSettings) {
        let path = KeyPath::root("agent");
        self.data_dir(&path, &agent.data_dir);
        let door =
            Door { insecure: agent.insecure, tls: agent.tls.as_ref(), access: &agent.access };
        self.listen(path.key("admin"), &agent.admin, Port::Admin, &door);
        if let Some(tls) = door.tls {
            self.tls(&path.key("tls"), tls);
        }
        self.access(&path.key("access"), &door);
        self.positive(path.key("shutdown_timeout"), agent.shutdown_timeout.millis());
        self.log(&path.key("log"), &agent.log);
    }

    fn data_dir(&mut self, path: &KeyPath, data_dir: &str) {
        if data_dir.is_empty() {
            self.required(path, "data_dir", "write `data_dir = \"/var/lib/collector\"`");
        } else if data_dir.starts_with("~/") {
            self.error(path.key("data_dir"), "`~` is not expanded").help("write `${env:HOME}`");
        } else if let Some((scheme, _)) = data_dir.split_once("://") {
            self.error(path.key("data_dir"), format!("`{scheme}://` is no path on a local disk"))
                .help("what must survive this process stands on a disk of this machine; only the `path` of a files sink may be `hdfs://…`");
        }
    }

    fn log(&mut self, path: &KeyPath, log: &LogSettings) {
        let segment = log.segment;
        if segment < SEGMENT_MIN || segment > SEGMENT_MAX {
            self.refuse(path.key("segment"), segment, format!("{SEGMENT_MIN} to {SEGMENT_MAX}"));
        } else if !segment.bytes().is_multiple_of(PAGE.bytes()) {
            self.refuse(path.key("segment"), segment, format!("a multiple of {PAGE}"));
        }
        let least = ByteSize(segment.bytes().saturating_mul(SEGMENTS_MIN));
        if let Some(quota) = log.quota.filter(|quota| *quota < least) {
            let allowed = format!("at least {SEGMENTS_MIN} segments, {least}");
            self.refuse(path.key("quota"), quota, allowed).about(path.key("segment"));
        }
        let marks = [
            ("warn_percent", log.warn_percent),
            ("stop_ingest_percent", log.stop_ingest_percent),
            ("sinks_only_percent", log.sinks_only_percent),
        ];
        for (key, percent) in marks {
            if percent == 0 || percent > 100 {
                self.refuse(path.key(key), percent, "1 to 100");
            }
        }
        for pair in marks.windows(2) {
            if pair[0].1 >= pair[1].1 {
                let (low, high) = (pair[0].0, pair[1].0);
                self.error(
                    path.key(high),
                    format!("`{high}` ({}) is not above `{low}` ({})", pair[1].1, pair[0].1),
                )
                .help("the marks rise: warn, stop ingest, sinks only")
                .about(path.key(low));
            }
        }
    }

    fn limits(&mut self, path: &KeyPath, limits: &Limits) {
        self.positive(path.key("connections"), limits.connections.into());
        let streams = limits.streams_per_connection;
        self.positive(path.key("streams_per_connection"), streams.into());
        self.positive(path.key("idle_stream"), limits.idle_stream.millis());
        self.positive(path.key("producers_per_shard"), limits.producers_per_shard.into());
        let session = limits.session_in_flight;
        self.positive(path.key("session_in_flight"), session.bytes());
        if !session.is_zero() && session < BLOCK_BYTES_MAX {
            self.warn(
                path.key("session_in_flight"),
                format!(
                    "a block of more than {session} goes alone: nothing else is in flight beside it"
                ),
            )
            .help(format!("a block has up to {BLOCK_BYTES_MAX}"));
        }
        if limits.ingest_memory < session {
            self.error(path.key("ingest_memory"), "less than `session_in_flight`")
                .help(format!("at least one session's {session}"))
                .about(path.key("session_in_flight"));
        }
    }
}
