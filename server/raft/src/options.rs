//! What a Raft node is started with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sdk_flow::{Clock, Entropy, SystemClock, SystemEntropy};
use sdk_wal::{RealStorage, Storage};
use server_cluster::NodeId;

use crate::transport::{NoPeers, Transport};

/// In the build with fail points the step `snapshot` must not be too rare to be reached.
const SNAPSHOT_ENTRIES: u64 = if cfg!(failpoints) { 20 } else { 10_000 };

/// What a Raft node is started with. [`RaftOptions::new`] is a cluster of one on this machine.
#[derive(Clone)]
pub struct RaftOptions {
    /// Its directory: the log in `log`, the snapshots in `snapshots`.
    pub dir: PathBuf,
    /// The disk.
    pub storage: Arc<dyn Storage>,
    /// This node's number, at least 1.
    pub node: NodeId,
    /// Who votes in a cluster that begins here, as its first entry: the same list on each of them.
    /// Counts only when the directory is empty; `None` then waits for a leader to send what there is.
    pub bootstrap: Option<Vec<NodeId>>,
    /// The way to the other nodes.
    pub transport: Arc<dyn Transport>,
    /// The clock that ticks are counted with.
    pub clock: Arc<dyn Clock>,
    /// Where ids of segments come from.
    pub entropy: Arc<dyn Entropy>,
    /// What the log may use of the disk.
    pub quota_bytes: u64,
    /// The length of a segment of the log; counts only when the directory is made.
    pub segment_bytes: u32,
    /// Bytes set aside so that a full disk can recover.
    pub reserve_bytes: u64,
    /// The unit of Raft's time.
    pub tick: Duration,
    /// A follower that hears nothing for this many ticks, or up to twice as many, asks for votes. At
    /// least ten times the p99 of an fsync.
    pub election_ticks: usize,
    /// A leader is heard at least every this many ticks.
    pub heartbeat_ticks: usize,
    /// A snapshot is taken after so many entries.
    pub snapshot_entries: u64,
    /// Or after so many bytes of them.
    pub snapshot_bytes: u64,
    /// How long a proposal waits for its answer before it is unknown what became of it.
    pub propose_timeout: Duration,
    /// Whether the node has threads. Without, nothing happens until [`crate::Driver::turn`].
    pub threads: bool,
}

impl RaftOptions {
    /// The defaults, on this machine's disk, for a cluster that begins with this node alone.
    pub fn new(dir: impl Into<PathBuf>, node: NodeId) -> RaftOptions {
        RaftOptions {
            dir: dir.into(),
            storage: Arc::new(RealStorage),
            node,
            bootstrap: Some(vec![node]),
            transport: Arc::new(NoPeers),
            clock: Arc::new(SystemClock::new()),
            entropy: Arc::new(SystemEntropy),
            quota_bytes: 1 << 30,
            segment_bytes: 16 << 20,
            reserve_bytes: 8 << 20,
            tick: Duration::from_millis(100),
            election_ticks: 20,
            heartbeat_ticks: 2,
            snapshot_entries: SNAPSHOT_ENTRIES,
            snapshot_bytes: 32 << 20,
            propose_timeout: Duration::from_secs(10),
            threads: true,
        }
    }
}
