//! What all jobs of a drain work with.

use std::sync::Arc;
use std::time::Duration;

use sdk_event::Lineage;
use sdk_flow::{Channel, ChannelReader, Clock, Entropy, Penalties, ReadError};

use super::memory::DrainMemory;
use crate::archive::Archive;
use crate::format::{Encoder, Format};
use crate::fs::FileSystems;
use crate::ledger::Ledger;
use crate::name::Names;
use crate::sink::FileSink;
use crate::staged::Deadlines;

/// Opens readers of the drained lineage: one to follow it, others to build files from it.
pub trait Readers: Send + Sync + 'static {
    /// A reader that stands at `from`.
    fn reader(&self, from: u64) -> Result<Box<dyn ChannelReader>, ReadError>;
}

/// The readers of one lineage of a channel.
pub struct ChannelReaders {
    /// The channel.
    pub channel: Arc<dyn Channel>,
    /// The lineage.
    pub lineage: Lineage,
}

impl Readers for ChannelReaders {
    fn reader(&self, from: u64) -> Result<Box<dyn ChannelReader>, ReadError> {
        self.channel.reader(self.lineage, from)
    }
}

/// How a group chooses among its file sinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preference {
    /// The first that works, in the order of the members: failover, with priorities sorted.
    Order,
    /// Whole lineages are spread over the members; each goes on to the next when its own fails.
    Spread,
}

/// What a drain works with.
#[derive(Clone)]
pub struct DrainOptions {
    /// The channel's name, for the list of final files.
    pub channel: Arc<str>,
    /// The group's name, for that, for logs and status.
    pub group: Arc<str>,
    /// Cluster, flow and lineage.
    pub names: Names,
    /// The file sinks of the group; at least one. The highest priority first.
    pub members: Vec<Arc<FileSink>>,
    /// How one of them is chosen.
    pub preference: Preference,
    /// The group's ledger in this lineage.
    pub ledger: Arc<dyn Ledger>,
    /// The lineage.
    pub readers: Arc<dyn Readers>,
    /// For roots that none of the members has any more.
    pub file_systems: Arc<dyn FileSystems>,
    /// Who of the members is out.
    pub penalties: Arc<dyn Penalties>,
    /// This node's list of final files.
    pub archive: Option<Arc<Archive>>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// What all drains of the process may hold in memory.
    pub memory: Arc<DrainMemory>,
    /// Bounds.
    pub limits: DrainLimits,
}

/// The bounds of one drain.
#[derive(Debug, Clone, Copy)]
pub struct DrainLimits {
    /// How long calls of the file system may take.
    pub deadlines: Deadlines,
    /// Bytes of events held in memory for files, if the drain's part of [`DrainOptions::memory`] is
    /// no less. Beyond it those least recently used are written out or forgotten, to be built from
    /// the log.
    pub buffer_bytes: usize,
    /// Buckets with something to remember. At it nothing more is read until some are done.
    pub buckets: usize,
    /// How long files are finished after being told to stop.
    pub stop_grace: Duration,
    /// The longest pause between two tries of anything.
    pub pause_max: Duration,
}

impl Default for DrainLimits {
    fn default() -> DrainLimits {
        DrainLimits {
            deadlines: Deadlines::default(),
            buffer_bytes: 32 << 20,
            buckets: 32_768,
            stop_grace: Duration::from_secs(25),
            pause_max: Duration::from_secs(30),
        }
    }
}

/// What the jobs of one token share.
pub(crate) struct Shared {
    pub(crate) options: DrainOptions,
    pub(crate) token: u64,
}

impl Shared {
    pub(crate) fn sink(&self, member: usize) -> &Arc<FileSink> {
        &self.options.members[member]
    }

    pub(crate) fn deadlines(&self) -> Deadlines {
        self.options.limits.deadlines
    }

    pub(crate) fn now(&self) -> Duration {
        self.options.clock.monotonic()
    }

    /// What turns events into the bytes of the file that begins with `first`.
    pub(crate) fn encoder(&self, format: Format, member: usize, first: u64) -> Encoder {
        Encoder::new(format, self.options.names.marker(self.sink(member).number(), first))
    }

    /// The token's own staging directory for a member.
    pub(crate) fn staging(&self, member: usize) -> String {
        let sink = self.sink(member);
        self.options.names.token_staging(sink.layout().root(), sink.number(), self.token)
    }
}
