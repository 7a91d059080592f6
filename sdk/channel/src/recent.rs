//! The latest records of the shards as they were put, so that a reader that keeps up
//! neither reads the disk nor checks a block again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use sdk_flow::{Dropped, Part};
use smallvec::SmallVec;

/// Memory for recent records of a shard that has its own. The blocks in it are the same
/// memory that the log holds on to.
pub const RECENT_BYTES: usize = 8 << 20;

/// Records without blocks still take this much.
const ITEM_BYTES: usize = 160;

/// One record of the shard.
#[derive(Debug, Clone)]
pub(crate) struct RecentRecord {
    pub(crate) first_offset: u64,
    pub(crate) count: u32,
    pub(crate) put_time_ms: i64,
    /// A cursor's commit, which no other cursor has to follow.
    pub(crate) quiet: bool,
    pub(crate) parts: SmallVec<[Part; 1]>,
    pub(crate) dropped: Vec<Dropped>,
}

impl RecentRecord {
    pub(crate) fn end(&self) -> u64 {
        self.first_offset + u64::from(self.count)
    }

    fn memory(&self) -> usize {
        let blocks = self.parts.iter().map(|part| part.block.memory_bytes());
        ITEM_BYTES + blocks.sum::<usize>()
    }
}

/// Memory for the recent records of many shards; the oldest of all go first.
///
/// One bound for all: a busy shard may use what idle ones leave.
#[derive(Debug)]
pub struct RecentMemory {
    bytes_max: usize,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    bytes: usize,
    /// Whose records came, in their order. After a [`Recent::truncate`] there are names too many,
    /// which cost their shard a record before its time.
    order: VecDeque<Weak<Mutex<State>>>,
}

impl RecentMemory {
    /// Room for about `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> RecentMemory {
        RecentMemory { bytes_max, used: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        self.used.lock().expect("no panic while the lock is held")
    }
}

impl Used {
    fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max
            && let Some(shard) = self.order.pop_front()
        {
            let Some(shard) = shard.upgrade() else { continue };
            let oldest = lock(&shard).records.pop_front();
            self.bytes -= oldest.map_or(0, |record| record.memory());
        }
    }
}

/// The end of a lineage, without gaps.
pub(crate) struct Recent {
    memory: Arc<RecentMemory>,
    /// Locked after the memory's, never before it.
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    records: VecDeque<Arc<RecentRecord>>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("no panic while the lock is held")
}

impl Recent {
    pub(crate) fn new(memory: Arc<RecentMemory>) -> Recent {
        Recent { memory, state: Arc::default() }
    }

    pub(crate) fn push(&self, record: RecentRecord) {
        let mut used = self.memory.lock();
        used.bytes += record.memory();
        lock(&self.state).records.push_back(Arc::new(record));
        used.order.push_back(Arc::downgrade(&self.state));
        used.shrink(self.memory.bytes_max);
    }

    /// Forgets what was not stored after all.
    pub(crate) fn truncate(&self, end: u64) {
        let mut used = self.memory.lock();
        let mut state = lock(&self.state);
        while state.records.back().is_some_and(|last| last.end() > end) {
            let last = state.records.pop_back().expect("seen above");
            used.bytes -= last.memory();
        }
    }

    /// The records from the one that holds `offset` on, below `limit`, up to about
    /// `bytes_max`. Empty if they are no longer here.
    pub(crate) fn from(&self, offset: u64, limit: u64, bytes_max: usize) -> Vec<Arc<RecentRecord>> {
        let state = lock(&self.state);
        let at = state.records.partition_point(|record| record.end() <= offset);
        if state.records.get(at).is_none_or(|record| record.first_offset > offset) {
            return Vec::new();
        }
        let mut bytes = 0;
        let below = state.records.range(at..).take_while(|record| record.end() <= limit);
        let enough = below.take_while(|record| {
            let more = bytes < bytes_max.max(1);
            bytes += record.memory();
            more
        });
        enough.cloned().collect()
    }
}

impl Drop for Recent {
    fn drop(&mut self) {
        let mut used = self.memory.lock();
        let state = lock(&self.state);
        used.bytes -= state.records.iter().map(|record| record.memory()).sum::<usize>();
        let mine = Arc::downgrade(&self.state);
        used.order.retain(|shard| !shard.ptr_eq(&mine));
    }
}
