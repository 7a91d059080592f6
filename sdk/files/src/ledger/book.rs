//! The books of a [`MemoryLedger`](super::MemoryLedger).

use std::collections::BTreeMap;

/// Counts of events and files. Each column is counted where it happens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Book {
    /// Events that the holders have read below the floor.
    pub stored: u64,
    /// Events in committed files.
    pub in_files: u64,
    /// Events in committed files of dead letters.
    pub dead_lettered: u64,
    /// Events dropped by policy, by rule.
    pub dropped: BTreeMap<String, u64>,
    /// Offsets and events given up as lost.
    pub lost: u64,
    /// Committed files, dead letters included.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Book {
    /// Every event that has found its end.
    pub fn ended(&self) -> u64 {
        self.in_files + self.dead_lettered + self.dropped.values().sum::<u64>() + self.lost
    }
}
