//! Shards, and the lineages that each of their epochs has opened.

use std::collections::{BTreeMap, BTreeSet};

use sdk_config::ledger::Span;
use sdk_event::ProducerId;
use serde::{Deserialize, Serialize};

use super::ledger::Ledger;
use super::size::{Cost, ENTRY};
use crate::id::{GroupNumber, NodeId};

/// One shard of a flow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// The newest epoch. Its lineage is in the map and never sealed.
    pub epoch: u64,
    /// Lineages by epoch: the newest one, and each earlier one that is not drained.
    pub lineages: BTreeMap<u64, LineageState>,
}

impl Shard {
    /// The newest lineage.
    pub fn current(&self) -> Option<&LineageState> {
        self.lineages.get(&self.epoch)
    }
}

/// Who gets a shard next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The node that will own it: the ack right goes to that node's incarnation at this moment.
    pub owner: NodeId,
    /// The nodes that keep a copy, the owner included.
    pub replicas: Vec<NodeId>,
}

/// One numbering of offsets of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineageState {
    /// The node that may append.
    pub owner: NodeId,
    /// The incarnation of it that may.
    pub incarnation: u64,
    /// Who keeps a copy. Never changes.
    pub replicas: Vec<NodeId>,
    /// The version of the flow's spec that everything in it is delivered by.
    pub version: u32,
    /// L, once sealed: the first offset that does not belong to it.
    pub sealed: Option<u64>,
    /// Whether an operator ended it at its longest living copy.
    pub abandoned: bool,
    /// Nodes that have said they hold it whole, once sealed.
    pub holders: BTreeSet<NodeId>,
    /// Ranges that no holder can read, ascending, without overlap.
    pub lost: Vec<LostRange>,
    /// A ledger per sink group with a cursor.
    pub ledgers: BTreeMap<GroupNumber, Ledger>,
}

/// A range of a lineage that nobody can read any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostRange {
    /// The offsets.
    pub span: Span,
    /// Which events those were, as far as the log's directories tell.
    pub ids: Vec<LostIds>,
}

/// A run of event ids that were lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostIds {
    /// Who sent them.
    #[serde(with = "crate::id::producer")]
    pub producer: ProducerId,
    /// In which generation.
    pub generation: u64,
    /// The first sequence number.
    pub first: u64,
    /// The last sequence number (inclusive).
    pub last: u64,
}

impl LineageState {
    /// The first offset at which it may be sealed: above every accepted Intent and floor.
    pub fn end_min(&self) -> u64 {
        self.ledgers.values().map(|ledger| ledger.end).max().unwrap_or(0)
    }

    /// The first offset whose record some group still needs; everything below may be trimmed. A
    /// lineage without groups needs nothing of what it has.
    pub fn first_needed(&self) -> u64 {
        self.ledgers.values().map(Ledger::first_needed).min().unwrap_or(u64::MAX)
    }

    /// Whether it is sealed and every group has drained it.
    pub fn drained(&self) -> bool {
        let Some(end) = self.sealed else { return false };
        self.ledgers.values().all(|ledger| ledger.drained(end))
    }

    /// How many offsets of `[from, to)` are listed as lost.
    pub fn lost_between(&self, from: u64, to: u64) -> u64 {
        let overlap = |span: &Span| {
            let last = span.last.min(to.saturating_sub(1));
            let first = span.first.max(from);
            if first <= last && from < to { last - first + 1 } else { 0 }
        };
        self.lost.iter().map(|lost| overlap(&lost.span)).sum()
    }

    /// Lists a range as lost, as far as it is not yet.
    pub(crate) fn lose(&mut self, range: LostRange) {
        let mut first = range.span.first;
        let mut pieces = Vec::new();
        for known in self.lost.iter().filter(|known| known.span.overlaps(range.span)) {
            if first < known.span.first {
                pieces.push(Span { first, last: known.span.first - 1 });
            }
            first = first.max(known.span.last.saturating_add(1));
        }
        if first <= range.span.last {
            pieces.push(Span { first, last: range.span.last });
        }
        let mut ids = range.ids;
        for span in pieces {
            // The ids stand with the first piece: they are a list for people.
            let range = LostRange { span, ids: std::mem::take(&mut ids) };
            let at = self.lost.partition_point(|known| known.span < span);
            self.lost.insert(at, range);
        }
    }
}

impl Cost for LostRange {
    fn cost(&self) -> u64 {
        ENTRY + 16 + self.ids.len() as u64 * 48
    }
}

impl Cost for LineageState {
    fn cost(&self) -> u64 {
        64 + self.replicas.cost() + self.holders.cost() + self.lost.cost() + self.ledgers.cost()
    }
}

impl Cost for Shard {
    fn cost(&self) -> u64 {
        16 + self.lineages.cost()
    }
}
