//! What a shard is opened with.

use std::sync::Arc;

use sdk_event::{Level, Lineage};
use sdk_flow::Clock;
use sdk_wal::Log;

use crate::capacity::Capacity;
use crate::metrics::ChannelMetrics;
use crate::recent::{RECENT_BYTES, RecentMemory};

/// Bytes of a shard's records between two checkpoints, while the admission table is small.
pub const CHECKPOINT_BYTES: u64 = 16 << 20;

/// What a shard is opened with.
pub struct ShardOptions {
    /// The lineage, new.
    pub lineage: Lineage,
    /// The flow's name, for metrics.
    pub flow: String,
    /// What a receipt promises.
    pub level: Level,
    /// The flow's channels.
    pub channels: Vec<ChannelOptions>,
    /// The log. `None` for a flow that has memory channels alone: nothing survives then.
    pub log: Option<Log>,
    /// Put times and idle producers go by its wall clock.
    pub clock: Arc<dyn Clock>,
    /// Take a producer's word where its memory may be in a lineage that is not
    /// sealed yet.
    pub trust_producers: bool,
    /// Bytes of records between two checkpoints at least, and a sixteenth of the
    /// most: a larger table is written less often.
    pub checkpoint_bytes: u64,
    /// Memory for recent records, which shards may have together.
    pub recent: Arc<RecentMemory>,
    /// Readers read the disk on their caller's thread: for simulation.
    pub inline_reads: bool,
    /// What is counted.
    pub metrics: ChannelMetrics,
}

/// One of a flow's channels.
#[derive(Debug, Clone)]
pub struct ChannelOptions {
    /// Its number in this lineage.
    pub number: u8,
    /// Where its puts are.
    pub kind: ChannelKind,
    /// Its room, shared by all shards and lineages of the flow on this node.
    pub capacity: Arc<Capacity>,
}

/// Where a channel's puts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelKind {
    /// In the log.
    Durable,
    /// In memory.
    Memory,
}

impl ShardOptions {
    /// The defaults, for a shard that promises `level`.
    #[must_use]
    pub fn new(lineage: Lineage, level: Level, log: Option<Log>, clock: Arc<dyn Clock>) -> Self {
        ShardOptions {
            lineage,
            flow: lineage.flow.to_string(),
            level,
            channels: Vec::new(),
            log,
            clock,
            trust_producers: false,
            checkpoint_bytes: CHECKPOINT_BYTES,
            recent: Arc::new(RecentMemory::new(RECENT_BYTES)),
            inline_reads: false,
            metrics: ChannelMetrics::default(),
        }
    }
}
