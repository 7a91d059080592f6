//! The books: what has become of the events of one channel for one sink group.

use std::collections::BTreeMap;

use sdk_config::ledger::Drops;
use serde::{Deserialize, Serialize};

use super::size::{Cost, ENTRY};
use crate::limits::{DROP_RULES_MAX, NAME_BYTES_MAX, OTHER_RULES};

/// Counts of events and files. Each column is counted where it happens, none is computed from the
/// others: for a drained lineage, and the lineages that have left the state, `stored` must equal
/// `in_files + dead_lettered + dropped + lost`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    /// Events the channel stored below the floor, by the running totals in the log.
    pub stored: u64,
    /// Events in committed files; delivered events, for sinks without files.
    pub in_files: u64,
    /// Events in committed files of dead letters.
    pub dead_lettered: u64,
    /// Events dropped by policy, by rule.
    pub dropped: BTreeMap<String, u64>,
    /// Events lost to quarantined corruption or an abandoned lineage; at the end of a lineage at most
    /// those that stand nowhere else.
    pub lost: u64,
    /// Committed files, dead letters included.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The sum of their CRC32Cs, whatever their order.
    pub crc_sum: u64,
}

impl Book {
    /// Events dropped by any rule.
    pub fn dropped_events(&self) -> u64 {
        self.dropped.values().fold(0, |sum, events| sum.saturating_add(*events))
    }

    /// Every event that has found its end.
    pub fn ended(&self) -> u64 {
        self.in_files
            .saturating_add(self.dead_lettered)
            .saturating_add(self.dropped_events())
            .saturating_add(self.lost)
    }

    /// Counts a committed file.
    pub(crate) fn commit(&mut self, events: u64, dead_letters: bool, length: u64, crc: u32) {
        let column = if dead_letters { &mut self.dead_lettered } else { &mut self.in_files };
        *column = column.saturating_add(events);
        self.files = self.files.saturating_add(1);
        self.bytes = self.bytes.saturating_add(length);
        self.crc_sum = self.crc_sum.wrapping_add(u64::from(crc));
    }

    /// Counts events dropped by `rule`.
    pub(crate) fn drop_events(&mut self, rule: &str, events: u64) {
        if events == 0 {
            return;
        }
        let known = self.dropped.contains_key(rule);
        let rule = if known || self.dropped.len() < DROP_RULES_MAX { rule } else { OTHER_RULES };
        let count = self.dropped.entry(rule.to_owned()).or_default();
        *count = count.saturating_add(events);
    }

    /// Counts what a new floor has passed.
    pub(crate) fn pass(&mut self, drops: &Drops) {
        for (rule, events) in &drops.by_rule {
            self.drop_events(rule, *events);
        }
        self.lost = self.lost.saturating_add(drops.lost);
    }

    /// Adds another book of the same channel and group to this one.
    pub fn add(&mut self, other: &Book) {
        self.stored = self.stored.saturating_add(other.stored);
        self.in_files = self.in_files.saturating_add(other.in_files);
        self.dead_lettered = self.dead_lettered.saturating_add(other.dead_lettered);
        for (rule, events) in &other.dropped {
            self.drop_events(rule, *events);
        }
        self.lost = self.lost.saturating_add(other.lost);
        self.files = self.files.saturating_add(other.files);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.crc_sum = self.crc_sum.wrapping_add(other.crc_sum);
    }
}

impl Cost for Book {
    fn cost(&self) -> u64 {
        let rules = self.dropped.len().min(DROP_RULES_MAX + 1) as u64;
        64 + rules * (ENTRY + NAME_BYTES_MAX as u64)
    }
}
