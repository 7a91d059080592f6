//! The entries in memory: what raft-rs reads. Durability is the journal's.

use std::collections::VecDeque;
use std::sync::Arc;

use protobuf::Message as _;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Result, Storage, StorageError};
use server_cluster::codec::encode_snapshot;

use crate::limits::{ENTRIES_KEPT, ENTRIES_KEPT_BYTES};
use crate::shared::Shared;

/// An index and its term.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) index: u64,
    pub(crate) term: u64,
}

/// The log since some entry, in memory.
pub(crate) struct Entries {
    pub(crate) hard_state: HardState,
    /// As of `applied`.
    pub(crate) conf_state: ConfState,
    /// The last entry that the state has.
    pub(crate) applied: Place,
    /// The entry before the first here.
    base: Place,
    entries: VecDeque<Entry>,
    bytes: usize,
    shared: Arc<Shared>,
}

impl Entries {
    /// An empty log behind a snapshot.
    pub(crate) fn new(base: Place, conf_state: ConfState, shared: Arc<Shared>) -> Entries {
        let hard_state = HardState::default();
        let (entries, bytes) = (VecDeque::new(), 0);
        Entries { hard_state, conf_state, applied: base, base, entries, bytes, shared }
    }

    /// Puts entries at the end; the first may replace one, and all that followed it.
    pub(crate) fn append(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first() else { return };
        while self.last().index >= first.index && !self.entries.is_empty() {
            self.bytes -= self.entries.pop_back().map_or(0, |entry| weigh(&entry));
        }
        assert_eq!(self.last().index + 1, first.index, "entries follow on each other");
        self.bytes += entries.iter().map(weigh).sum::<usize>();
        self.entries.extend(entries);
    }

    /// Begins anew behind a snapshot that was received.
    pub(crate) fn restart(&mut self, base: Place, conf_state: ConfState) {
        self.entries.clear();
        self.bytes = 0;
        self.base = base;
        self.applied = base;
        self.conf_state = conf_state;
    }

    /// Forgets entries up to `index`, but for a tail that peers may still want.
    pub(crate) fn compact(&mut self, index: u64) {
        while let Some(first) = self.entries.front()
            && first.index <= index
        {
            let tail = index - first.index;
            if tail < ENTRIES_KEPT as u64 && self.bytes <= ENTRIES_KEPT_BYTES {
                break;
            }
            self.base = Place { index: first.index, term: first.term };
            self.bytes -= weigh(first);
            self.entries.pop_front();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn last(&self) -> Place {
        let last = self.entries.back();
        last.map_or(self.base, |entry| Place { index: entry.index, term: entry.term })
    }

    fn at(&self, index: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(index.checked_sub(self.base.index + 1)?).ok()?)
    }
}

fn weigh(entry: &Entry) -> usize {
    entry.data.len() + 64
}

impl Storage for Entries {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        if low <= self.base.index {
            return Err(Error::Store(StorageError::Compacted));
        }
        if high > self.last().index + 1 {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let max_size = max_size.into().unwrap_or(u64::MAX);
        let mut size = 0;
        let mut found = Vec::new();
        for entry in (low..high).map_while(|index| self.at(index)) {
            size += u64::from(entry.compute_size());
            if size > max_size && !found.is_empty() {
                break;
            }
            found.push(entry.clone());
        }
        Ok(found)
    }

    fn term(&self, index: u64) -> Result<u64> {
        if index == self.base.index {
            return Ok(self.base.term);
        }
        if index < self.base.index {
            return Err(Error::Store(StorageError::Compacted));
        }
        self.at(index).map(|entry| entry.term).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.base.index + 1)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last().index)
    }

    /// The state as it is now: small enough to be sent whole.
    fn snapshot(&self, request_index: u64, _to: u64) -> Result<Snapshot> {
        if self.applied.index < request_index {
            return Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        let data = self.shared.read(encode_snapshot).into();
        let mut snapshot = Snapshot { data, ..Snapshot::default() };
        let metadata = snapshot.mut_metadata();
        metadata.index = self.applied.index;
        metadata.term = self.applied.term;
        metadata.set_conf_state(self.conf_state.clone());
        Ok(snapshot)
    }
}
