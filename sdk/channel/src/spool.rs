//! A flow's channels on one machine, without a cluster: the agent's spool.

mod cursor;
mod recovery;

pub use recovery::{Recovered, Undelivered};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use sdk_event::{Level, Lineage};
use sdk_flow::{
    Channel, ChannelReader, Clock, Cursor, Entropy, Put, PutError, ReadError, Receipt, SourceStart,
};
use sdk_wal::{Log, View};

use crate::capacity::Capacity;
use crate::channel::unknown_lineage;
use crate::facts::NamedChannel;
use crate::metrics::ChannelMetrics;
use crate::recover::RecoverError;
use crate::sealed::SealedLineage;
use crate::shard::{CHECKPOINT_BYTES, ChannelKind, Shard, ShardError};
use cursor::SpoolCursor;

/// What a spool is opened with.
pub struct SpoolOptions {
    /// The log; other flows may use it too.
    pub log: Log,
    /// Where the table of producers goes that does not fit in memory.
    pub view: Option<Arc<dyn View>>,
    /// The flow's number in this log, always the same.
    pub flow: u64,
    /// The flow's name, for metrics.
    pub name: String,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The flow's channels, in the order of their numbers.
    pub channels: Vec<SpoolChannelOptions>,
    /// Bytes of records between two checkpoints at least.
    pub checkpoint_bytes: u64,
    /// Readers read the disk on their caller's thread: for simulation.
    pub inline_reads: bool,
    /// What is counted.
    pub metrics: ChannelMetrics,
}

/// One channel of a spool.
pub struct SpoolChannelOptions {
    /// In the log or in memory.
    pub kind: ChannelKind,
    /// Its room, and by that its name.
    pub capacity: Arc<Capacity>,
    /// The sink groups that drain it, each with a cursor of its own.
    pub groups: Vec<String>,
}

impl SpoolOptions {
    /// The defaults.
    #[must_use]
    pub fn new(log: Log, flow: u64, name: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        SpoolOptions {
            log,
            view: None,
            flow,
            name: name.into(),
            clock,
            channels: Vec::new(),
            checkpoint_bytes: CHECKPOINT_BYTES,
            inline_reads: false,
            metrics: ChannelMetrics::default(),
        }
    }
}

/// Why a spool did not open.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The log could not be read back.
    #[error("the spool could not be read back")]
    Recover(#[source] RecoverError),
    /// The next lineage could not be opened.
    #[error("the spool could not be opened for writing")]
    Open(#[source] ShardError),
}

/// A flow's channels on one machine, kept in a log of the machine's own.
///
/// Every start opens the next lineage; the ones before it are drained first, in
/// their order. Cursors, the sources' ids and their positions are records in the
/// same log, so a process that is killed between any two of them goes on exactly
/// where it was: no line is read twice under new ids, none is lost.
///
/// A sink group drains [`Spool::lineages`] one after the other, each with the
/// reader of its channel from the floor of its cursor, until the reader ends.
#[derive(Clone)]
pub struct Spool {
    inner: Arc<Inner>,
}

struct Inner {
    shard: Arc<Shard>,
    channels: Vec<NamedChannel>,
    kinds: Vec<ChannelKind>,
    /// Earlier lineages with something left to deliver, oldest first.
    sealed: Mutex<Vec<Arc<Earlier>>>,
    /// Where each sink group stands, by lineage, channel number and group.
    floors: Mutex<BTreeMap<(Lineage, u8, String), u64>>,
}

/// An earlier lineage, with the channels as they were numbered then.
struct Earlier {
    lineage: Arc<SealedLineage>,
    channels: Vec<NamedChannel>,
}

impl Spool {
    /// Recovers what the log has of the flow and opens its next lineage.
    ///
    /// # Errors
    /// See [`SpoolError`].
    pub async fn open(options: SpoolOptions) -> Result<(Spool, Recovered), SpoolError> {
        recovery::open(options).await
    }

    /// The shard behind: limits, totals, the lineage that puts go to.
    #[must_use]
    pub fn shard(&self) -> &Arc<Shard> {
        &self.inner.shard
    }

    /// A channel by its name.
    #[must_use]
    pub fn channel(&self, name: &str) -> Option<SpoolChannel> {
        let known = self.inner.channels.iter().any(|channel| channel.name == name);
        known.then(|| SpoolChannel { inner: Arc::clone(&self.inner), name: name.to_owned() })
    }

    /// The lineages that a sink group has to drain, in this order. The last is the
    /// one being written: its reader does not end.
    #[must_use]
    pub fn lineages(&self, channel: &str, group: &str) -> Vec<Lineage> {
        let inner = &self.inner;
        let sealed = inner.sealed().clone();
        let earlier = sealed.into_iter().filter(|earlier| {
            number_of(&earlier.channels, channel, group).is_some_and(|number| {
                inner.group_floor(earlier.lineage.lineage(), number, group) < earlier.lineage.end()
            })
        });
        let earlier = earlier.map(|earlier| earlier.lineage.lineage());
        earlier.chain(std::iter::once(inner.shard.lineage())).collect()
    }

    /// A sink group's cursor in one lineage. `None` if the group, the channel or
    /// the lineage is not known.
    #[must_use]
    pub fn cursor(&self, channel: &str, group: &str, lineage: Lineage) -> Option<Arc<dyn Cursor>> {
        let number = number_of(&self.inner.channels_of(lineage)?, channel, group)?;
        let inner = Arc::clone(&self.inner);
        Some(Arc::new(SpoolCursor { inner, lineage, number, group: group.to_owned() }))
    }

    /// Where a source begins, under ids that are its own for as long as the spool
    /// lives. One start for each source and process.
    ///
    /// # Errors
    /// See [`PutError`].
    pub async fn start_source(
        &self,
        name: &str,
        entropy: &dyn Entropy,
    ) -> Result<SourceStart, PutError> {
        self.inner.shard.start_source(name, entropy).await
    }

    /// What is stored and not yet delivered by every group of a channel, in bytes
    /// of blocks.
    #[must_use]
    pub fn backlog_bytes(&self, channel: &str) -> Option<u64> {
        let number = self.inner.channels.iter().find(|known| known.name == channel)?.number;
        self.inner.shard.capacity(number).map(|capacity| capacity.used())
    }

    /// Gives up what earlier lineages hold for channels and groups that the flow no
    /// longer has. Returns how many cursors that moved to their end.
    ///
    /// # Errors
    /// See [`PutError`].
    pub async fn discard_orphans(&self) -> Result<usize, PutError> {
        let mut moved = 0;
        // Not in the loop's head, where the lock would be held throughout.
        let sealed = self.inner.sealed().clone();
        for earlier in sealed {
            let lineage = earlier.lineage.lineage();
            let end = earlier.lineage.end();
            for channel in &earlier.channels {
                for group in &channel.groups {
                    let orphan = number_of(&self.inner.channels, &channel.name, group).is_none();
                    let floor = self.inner.group_floor(lineage, channel.number, group);
                    if orphan && floor < end {
                        self.inner.move_cursor(lineage, channel.number, group, end).await?;
                        moved += 1;
                    }
                }
            }
        }
        Ok(moved)
    }

    /// Takes no more puts, waits for those in flight, and ends every reader.
    pub async fn stop(&self) {
        self.inner.shard.stop().await;
        self.inner.shard.close();
        self.inner.sealed().iter().for_each(|earlier| earlier.lineage.close());
    }
}

/// One channel of a spool.
#[derive(Clone)]
pub struct SpoolChannel {
    inner: Arc<Inner>,
    name: String,
}

#[async_trait]
impl Channel for SpoolChannel {
    async fn put(&self, put: Put) -> Result<Receipt, PutError> {
        self.inner.shard.put(put).await
    }

    fn reader(&self, lineage: Lineage, from: u64) -> Result<Box<dyn ChannelReader>, ReadError> {
        let unknown = || unknown_lineage(lineage);
        let channels = self.inner.channels_of(lineage).ok_or_else(unknown)?;
        let channel = channels.iter().find(|channel| channel.name == self.name);
        let number = channel.ok_or_else(unknown)?.number;
        if lineage == self.inner.shard.lineage() {
            return self.inner.shard.reader(number, from);
        }
        let sealed = self.inner.sealed();
        let earlier = sealed.iter().find(|earlier| earlier.lineage.lineage() == lineage);
        earlier.ok_or_else(unknown)?.lineage.reader(number, from)
    }
}

impl Inner {
    fn sealed(&self) -> MutexGuard<'_, Vec<Arc<Earlier>>> {
        self.sealed.lock().expect("no panic while the lock is held")
    }

    fn channels_of(&self, lineage: Lineage) -> Option<Vec<NamedChannel>> {
        if lineage == self.shard.lineage() {
            return Some(self.channels.clone());
        }
        let sealed = self.sealed();
        let earlier = sealed.iter().find(|earlier| earlier.lineage.lineage() == lineage)?;
        Some(earlier.channels.clone())
    }

    fn group_floor(&self, lineage: Lineage, channel: u8, group: &str) -> u64 {
        let floors = self.floors.lock().expect("no panic while the lock is held");
        floors.get(&(lineage, channel, group.to_owned())).copied().unwrap_or(0)
    }
}

/// The number of a channel that a group drains.
fn number_of(channels: &[NamedChannel], name: &str, group: &str) -> Option<u8> {
    let channel = channels.iter().find(|channel| channel.name == name)?;
    channel.groups.iter().any(|known| known == group).then_some(channel.number)
}

/// What a spool of one machine promises: its own log.
const LEVEL: Level = Level::Local;
