//! The Raft log on the disk: records in a log of its own.
//!
//! A record holds entries and the hard state that goes with them. Records are numbered; the number is
//! the offset in the log. Reading them in order gives the log back: the first entry of a record
//! replaces what stood at its index and after.

mod record;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use raft::eraftpb::{Entry, HardState};
use sdk_event::Lineage;
use sdk_wal::{AppendError, Appended, Log, LogOptions, LogReadError, Purpose};
use tracing::warn;

pub(crate) use self::record::Record;
use crate::entries::{Entries, Place};
use crate::error::OpenError;
use crate::options::RaftOptions;

/// The log holds nothing else.
const LINEAGE: Lineage = Lineage { flow: 0, shard: 0, epoch: 1 };
const RECORD: u8 = 1;
/// Recent records are read by nobody: the entries are in memory.
const CACHE_BYTES: usize = 0;

/// Where a record stands.
struct Written {
    offset: u64,
    /// The last entry in it; 0 if it has none.
    last_index: u64,
    /// Whether it is known to be on the disk.
    durable: bool,
}

/// The log, and what is known of its records.
pub(crate) struct Journal {
    log: Log,
    threads: bool,
    next: u64,
    written: VecDeque<Written>,
    /// Of the newest durable record.
    durable_state: HardState,
}

impl Journal {
    /// Opens the log. Reads nothing yet.
    pub(crate) fn open(options: &RaftOptions) -> Result<Journal, OpenError> {
        let (clock, entropy) = (Arc::clone(&options.clock), Arc::clone(&options.entropy));
        let dir = options.dir.join("log");
        let (log, recovery) = Log::open(LogOptions {
            storage: Arc::clone(&options.storage),
            quota_bytes: Some(options.quota_bytes),
            segment_bytes: options.segment_bytes,
            reserve_bytes: options.reserve_bytes,
            cache_bytes: CACHE_BYTES,
            threads: options.threads,
            kind_name: |_| "raft",
            monotonic: Arc::new(move || clock.monotonic()),
            random: Arc::new(move || entropy.next_u64()),
            ..LogOptions::new(dir)
        })?;
        if recovery.records_cut > 0 {
            warn!(records = recovery.records_cut, "raft records of an unfinished flush were cut");
        }
        let threads = options.threads;
        let (written, durable_state) = (VecDeque::new(), HardState::default());
        Ok(Journal { log, threads, next: 0, written, durable_state })
    }

    /// Whether nothing was ever written.
    pub(crate) fn is_empty(&self) -> bool {
        self.log.end(LINEAGE) == 0
    }

    /// Reads the records from offset `from` on into `entries`, which stand behind a snapshot.
    pub(crate) fn replay(
        &mut self,
        from: u64,
        snapshot_state: HardState,
        entries: &mut Entries,
        dir: &Path,
    ) -> Result<(), OpenError> {
        let damaged = |reason: String| OpenError::Damaged { dir: dir.to_owned(), reason };
        let base = entries.last();
        self.next = self.log.end(LINEAGE);
        if self.next < from {
            let end = self.next;
            return Err(damaged(format!("the log ends at record {end}, the snapshot at {from}")));
        }
        self.durable_state = snapshot_state;
        let mut reader = self.log.reader(LINEAGE, from);
        while let Some(record) = reader.next().map_err(|error| damaged(unreadable(&error)))? {
            let bytes = record.body.to_bytes();
            let Record { hard_state, entries: read } = Record::decode(&bytes)
                .map_err(|source| OpenError::Format { path: dir.join("log"), source })?;
            let last_index = read.last().map_or(0, |entry| entry.index);
            let offset = record.first_offset;
            self.written.push_back(Written { offset, last_index, durable: true });
            self.durable_state = hard_state;
            // Behind a snapshot, an entry of a term before the snapshot's was replaced: the record that
            // did so may have nothing else that is needed. With it a node would seem to have less than
            // it has, and vote for one that lacks what is committed.
            let follows = |entry: &Entry| entry.index > base.index && entry.term >= base.term;
            let news: Vec<Entry> = read.into_iter().filter(follows).collect();
            if let Some(first) = news.first()
                && first.index > entries.last().index + 1
            {
                let last = entries.last().index;
                return Err(damaged(format!(
                    "entry {} follows entry {last} in record {offset}",
                    first.index
                )));
            }
            entries.append(news);
        }
        let last = entries.last();
        let state = &mut entries.hard_state;
        *state = self.durable_state.clone();
        // Commits alone are not written. What the snapshot has is committed; the rest will be again.
        state.commit = state.commit.clamp(base.index, last.index);
        if state.term < base.term {
            // Behind a snapshot of a later term, in which this node has not voted.
            state.term = base.term;
            state.vote = raft::INVALID_ID;
        }
        Ok(())
    }

    /// Appends a record. Of the errors, `Full` means: again later, from this record on.
    pub(crate) fn append(&mut self, body: Bytes, last_index: u64) -> Result<Pending, AppendError> {
        let offset = self.next;
        let appended = self.log.append(sdk_wal::Entry {
            lineage: LINEAGE,
            kind: RECORD,
            purpose: Purpose::Drain,
            first_offset: offset,
            count: 1,
            put_time_ms: 0,
            identity: None,
            body: body.into(),
        })?;
        self.next += 1;
        self.written.push_back(Written { offset, last_index, durable: false });
        Ok(Pending { offset, appended })
    }

    /// The record at `offset` is on the disk.
    pub(crate) fn durable(&mut self, offset: u64, hard_state: &HardState) {
        if let Some(written) = self.written.iter_mut().find(|written| written.offset == offset) {
            written.durable = true;
            self.durable_state = hard_state.clone();
        }
    }

    /// The record at `offset` was not written, and none after it: they will be appended again.
    pub(crate) fn refused(&mut self, offset: u64) {
        self.next = offset;
        self.written.retain(|written| written.offset < offset);
    }

    /// The offset from which on a restart has to read when it has a snapshot of everything up to
    /// `index`: whatever is not durable yet is included.
    pub(crate) fn needed_after(&self, index: u64) -> u64 {
        let needed = |written: &&Written| !written.durable || written.last_index > index;
        self.written.iter().find(needed).map_or(self.next, |written| written.offset)
    }

    /// The hard state that is on the disk.
    pub(crate) fn durable_state(&self) -> &HardState {
        &self.durable_state
    }

    /// Frees what lies below `offset`, but for the last record: a log with a snapshot and no record
    /// is one that somebody has emptied.
    pub(crate) fn cut(&mut self, offset: u64) {
        let offset = offset.min(self.next.saturating_sub(1));
        while self.written.front().is_some_and(|written| written.offset < offset) {
            self.written.pop_front();
        }
        self.log.raise_floor(LINEAGE, offset);
    }

    /// Whether it writes by itself.
    pub(crate) fn has_threads(&self) -> bool {
        self.threads
    }

    /// Without threads: writes what waits.
    pub(crate) fn drive(&self) {
        self.log.drive();
    }

    /// Writes what waits and gives the directory up, also if there are handles left.
    pub(crate) fn stop(&self) {
        self.log.clone().stop();
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }
}

/// A record on its way to the disk.
pub(crate) struct Pending {
    pub(crate) offset: u64,
    pub(crate) appended: Appended,
}

fn unreadable(error: &LogReadError) -> String {
    match error {
        LogReadError::Missing { from, next } => {
            format!("the log begins at record {next}, record {from} is needed")
        }
        other => other.to_string(),
    }
}

/// The last entry that a record brings, for [`Journal::append`].
pub(crate) fn last_index(record: &Record) -> u64 {
    record.entries.last().map_or(0, |entry| entry.index)
}

/// A place as a snapshot's metadata has it.
impl From<&raft::eraftpb::SnapshotMetadata> for Place {
    fn from(metadata: &raft::eraftpb::SnapshotMetadata) -> Place {
        Place { index: metadata.index, term: metadata.term }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sdk_wal::FaultyStorage;

    fn record(index: u64) -> Record {
        let hard_state = HardState { term: 2, vote: 1, ..HardState::default() };
        let entries = (index > 0).then(|| Entry { term: 2, index, ..Entry::default() });
        Record { hard_state, entries: entries.into_iter().collect() }
    }

    fn options() -> RaftOptions {
        RaftOptions {
            storage: Arc::new(FaultyStorage::new(1)),
            quota_bytes: 4 << 20,
            segment_bytes: 64 << 10,
            reserve_bytes: 4 << 10,
            threads: false,
            ..RaftOptions::new("/raft", 1)
        }
    }

    fn append(journal: &mut Journal, record: &Record) -> u64 {
        journal.append(record.encode().into(), last_index(record)).unwrap().offset
    }

    /// A restart from a snapshot must not look for records that a power cut may still take away.
    #[test]
    fn what_is_not_durable_is_needed_whatever_the_snapshot_has() {
        let mut journal = Journal::open(&options()).unwrap();
        for index in [5, 6, 0] {
            append(&mut journal, &record(index));
        }
        let state = HardState { term: 2, ..HardState::default() };
        assert_eq!(journal.needed_after(6), 0);
        journal.durable(0, &state);
        journal.durable(1, &state);
        // The last one has no entry, but a vote.
        assert_eq!((journal.needed_after(6), journal.needed_after(5)), (2, 1));
        journal.durable(2, &state);
        assert_eq!((journal.needed_after(6), journal.needed_after(4)), (3, 0));
        assert_eq!(journal.durable_state(), &state);
    }

    /// The last entries of a deposed leader lie behind a snapshot of a later term: replaced by entries
    /// that the snapshot has, or passed over because it came from the new leader.
    #[test]
    fn what_was_replaced_before_a_snapshot_stays_replaced() {
        let options = options();
        let mut journal = Journal::open(&options).unwrap();
        let entries = |term, indexes: std::ops::RangeInclusive<u64>| Record {
            hard_state: HardState { term, vote: 1, ..HardState::default() },
            entries: indexes.map(|index| Entry { term, index, ..Entry::default() }).collect(),
        };
        for record in [entries(2, 90..=100), entries(3, 95..=96), entries(3, 97..=97)] {
            append(&mut journal, &record);
        }
        journal.drive();
        let shared = Arc::new(crate::shared::Shared::new(server_cluster::State::new(), 96));
        for (base, last) in [(96, 97), (97, 97), (98, 98)] {
            let base = Place { index: base, term: 3 };
            let from = journal.needed_after(base.index);
            assert_eq!(from, 0);
            let mut entries = Entries::new(base, Default::default(), Arc::clone(&shared));
            journal.replay(from, HardState::default(), &mut entries, &options.dir).unwrap();
            assert_eq!(entries.last(), Place { index: last, term: 3 });
        }
    }
}
