//! The latest records of a shard as they were put, so that a reader that keeps up
//! neither reads the disk nor checks a block again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use sdk_flow::{Dropped, Part};
use smallvec::SmallVec;

/// Memory for recent records of one shard. The blocks in it are the same memory
/// that the log holds on to.
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

/// The end of a lineage, without gaps.
pub(crate) struct Recent {
    bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    records: VecDeque<Arc<RecentRecord>>,
    bytes: usize,
}

impl Recent {
    pub(crate) fn new(bytes_max: usize) -> Recent {
        Recent { bytes_max, state: Mutex::default() }
    }

    pub(crate) fn push(&self, record: RecentRecord) {
        let mut state = self.lock();
        state.bytes += record.memory();
        state.records.push_back(Arc::new(record));
        while state.bytes > self.bytes_max {
            let Some(oldest) = state.records.pop_front() else { break };
            state.bytes -= oldest.memory();
        }
    }

    /// Forgets what was not stored after all.
    pub(crate) fn truncate(&self, end: u64) {
        let mut state = self.lock();
        while state.records.back().is_some_and(|last| last.end() > end) {
            let last = state.records.pop_back().expect("seen above");
            state.bytes -= last.memory();
        }
    }

    /// The records from the one that holds `offset` on, below `limit`, up to about
    /// `bytes_max`. Empty if they are no longer here.
    pub(crate) fn from(&self, offset: u64, limit: u64, bytes_max: usize) -> Vec<Arc<RecentRecord>> {
        let state = self.lock();
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the lock is held")
    }
}
