//! Records that can no longer be read, and what is still known of them.

use crate::flush::DirectoryEntry;
use sdk_event::{EventId, Lineage};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Ranges listed; more are counted only.
const LISTED_MAX: usize = 10_000;

/// Offsets that the log holds and cannot read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The lineage.
    pub lineage: Lineage,
    /// The first offset lost.
    pub from: u64,
    /// The offset after the last one lost.
    pub to: u64,
    /// What the record was, unless that is lost too.
    pub kind: Option<u8>,
    /// The id of its first event, if it had one and that is known.
    pub identity: Option<EventId>,
    /// The number of the segment it is in.
    pub segment: u64,
    /// Why it cannot be read.
    pub reason: Arc<str>,
}

impl Quarantined {
    pub(crate) fn record(segment: u64, entry: &DirectoryEntry, reason: &str) -> Self {
        Self {
            lineage: entry.lineage,
            from: entry.first_offset,
            to: entry.end(),
            kind: Some(entry.kind),
            identity: entry.identity,
            segment,
            reason: reason.into(),
        }
    }
}

/// The list of them.
#[derive(Default)]
pub(crate) struct Quarantine {
    listed: Mutex<BTreeMap<(Lineage, u64), Quarantined>>,
}

impl Quarantine {
    /// Lists a range; `false` if it was listed already.
    pub(crate) fn add(&self, quarantined: Quarantined) -> bool {
        let mut listed = self.lock();
        let key = (quarantined.lineage, quarantined.from);
        if listed.contains_key(&key) {
            return false;
        }
        if listed.len() < LISTED_MAX {
            listed.insert(key, quarantined);
        }
        true
    }

    /// Takes a range off the list: a good copy of it is in the log now.
    pub(crate) fn remove(&self, lineage: &Lineage, from: u64) {
        self.lock().remove(&(*lineage, from));
    }

    /// Takes off the list what nobody can ask for any more.
    pub(crate) fn retain(&self, keep: impl Fn(&Quarantined) -> bool) {
        self.lock().retain(|_, quarantined| keep(quarantined));
    }

    /// The list.
    pub(crate) fn list(&self) -> Vec<Quarantined> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Lineage, u64), Quarantined>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
