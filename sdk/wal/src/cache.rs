//! Recent records in memory, so that a reader that keeps up never reads the disk.

use crate::body::Body;
use crate::entry::LogRecord;
use bytes::Bytes;
use foldhash::{HashMap, HashMapExt};
use sdk_event::Lineage;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a record takes beside its body, about.
const RECORD_OVERHEAD_BYTES: usize = 192;

/// Bodies up to this length are copied: a short slice may keep a long buffer alive.
const COPIED_BYTES_MAX: usize = 4 << 10;

/// Recent records, by lineage; the oldest of all go first.
pub(crate) struct Cache {
    bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bytes: usize,
    /// The lineages in the order in which their records came.
    order: VecDeque<Lineage>,
    lineages: HashMap<Lineage, VecDeque<LogRecord>>,
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let state = State { lineages: HashMap::new(), ..State::default() };
        Self { bytes_max, state: Mutex::new(state) }
    }

    /// Adds records, each the next one of its lineage.
    pub(crate) fn extend(&self, records: impl Iterator<Item = LogRecord>) {
        if self.bytes_max == 0 {
            return;
        }
        let mut state = self.lock();
        for mut record in records {
            if record.body.len() <= COPIED_BYTES_MAX {
                record.body = compact(&record.body);
            }
            state.push(record);
        }
        state.shrink(self.bytes_max);
    }

    /// Adds to `records` those from the one that holds `offset` on, until they have `bytes_max` bytes.
    pub(crate) fn read(
        &self,
        lineage: &Lineage,
        offset: u64,
        end: u64,
        bytes_max: usize,
        records: &mut VecDeque<LogRecord>,
    ) {
        let state = self.lock();
        let Some(held) = state.lineages.get(lineage) else { return };
        let first = held.partition_point(|record| record.end() <= offset);
        if held.get(first).is_none_or(|record| record.first_offset > offset) {
            return;
        }
        let mut bytes = 0;
        for record in held.range(first..).take_while(|record| record.first_offset < end) {
            if bytes > 0 && bytes + record.body.len() > bytes_max {
                return;
            }
            bytes += record.body.len().max(1);
            records.push_back(record.clone());
        }
    }

    /// Drops what a lineage has from `offset` on.
    pub(crate) fn cut(&self, lineage: &Lineage, offset: u64) {
        let mut state = self.lock();
        let state = &mut *state;
        let Some(held) = state.lineages.get_mut(lineage) else { return };
        while held.back().is_some_and(|record| record.end() > offset) {
            state.bytes -= held.pop_back().map_or(0, |record| cost(&record));
        }
        // The order keeps a name too many, which is skipped when its turn comes.
    }

    /// Drops a lineage.
    pub(crate) fn forget(&self, lineage: &Lineage) {
        let mut state = self.lock();
        let held = state.lineages.remove(lineage).unwrap_or_default();
        state.bytes -= held.iter().map(cost).sum::<usize>();
        state.order.retain(|other| other != lineage);
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, record: LogRecord) {
        self.bytes += cost(&record);
        self.order.push_back(record.lineage);
        let held = self.lineages.entry(record.lineage).or_default();
        if held.back().is_some_and(|last| last.end() != record.first_offset) {
            // A lineage that began anew after a cut: what is held no longer leads up to it.
            self.bytes -= held.drain(..).map(|record| cost(&record)).sum::<usize>();
        }
        held.push_back(record);
    }

    fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max
            && let Some(lineage) = self.order.pop_front()
        {
            let Some(held) = self.lineages.get_mut(&lineage) else { continue };
            self.bytes -= held.pop_front().map_or(0, |record| cost(&record));
            if held.is_empty() {
                self.lineages.remove(&lineage);
            }
        }
        if self.lineages.is_empty() {
            self.order.clear();
        }
    }
}

fn cost(record: &LogRecord) -> usize {
    record.body.len() + RECORD_OVERHEAD_BYTES
}

fn compact(body: &Body) -> Body {
    let mut bytes = Vec::with_capacity(body.len());
    body.chunks().iter().for_each(|chunk| bytes.extend_from_slice(chunk));
    Body::from(Bytes::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(flow: u64, first_offset: u64) -> LogRecord {
        LogRecord {
            lineage: Lineage { flow, shard: 0, epoch: 0 },
            kind: 1,
            first_offset,
            count: 2,
            put_time_ms: 0,
            body: Body::from(vec![0; 1000]),
        }
    }

    fn offsets(cache: &Cache, flow: u64, from: u64, bytes_max: usize) -> Vec<u64> {
        let mut records = VecDeque::new();
        let lineage = Lineage { flow, shard: 0, epoch: 0 };
        cache.read(&lineage, from, 1000, bytes_max, &mut records);
        records.iter().map(|record| record.first_offset).collect()
    }

    #[test]
    fn keeps_the_latest_of_all_lineages() {
        let cache = Cache::new(5 * (1000 + RECORD_OVERHEAD_BYTES));
        for offset in [0, 2, 4] {
            cache.extend([record(1, offset), record(2, offset)].into_iter());
        }
        assert_eq!(offsets(&cache, 1, 0, 9000), [0_u64; 0], "the oldest is gone");
        assert_eq!(offsets(&cache, 1, 3, 9000), [2, 4]);
        assert_eq!(offsets(&cache, 2, 0, 9000), [0, 2, 4]);
        assert_eq!(offsets(&cache, 2, 0, 2000), [0, 2]);
        assert_eq!(offsets(&cache, 2, 6, 9000), [0_u64; 0]);
        let two = Lineage { flow: 2, shard: 0, epoch: 0 };
        cache.cut(&two, 3);
        assert_eq!(offsets(&cache, 2, 0, 9000), [0]);
        cache.forget(&two);
        cache.extend((6..100).step_by(2).map(|offset| record(1, offset)));
        assert_eq!(offsets(&cache, 1, 90, 9000), [90, 92, 94, 96, 98]);
        cache.forget(&Lineage { flow: 1, shard: 0, epoch: 0 });
        assert_eq!(cache.bytes(), 0);
    }
}
