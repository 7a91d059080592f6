//! The ledger's side of the books.

use std::collections::BTreeMap;

use sdk_event::Lineage;

use crate::id::{FlowId, GroupNumber};
use crate::state::{Book, BookKey, Flow, State};

/// One row of the audit: a (flow, channel, sink group).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// The flow.
    pub flow: FlowId,
    /// Its name.
    pub name: String,
    /// The channel and the group.
    pub key: BookKey,
    /// Lineages that have left the state: `stored` is all they ever stored.
    pub finished: Book,
    /// Lineages in the state: `stored` counts up to each floor only; what the log stored above it is
    /// the log's to say.
    pub living: Vec<LineageBook>,
}

/// The book of one living lineage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineageBook {
    /// The lineage.
    pub lineage: Lineage,
    /// The spec version it is delivered by.
    pub version: u32,
    /// The group's number in it.
    pub group: GroupNumber,
    /// Where its floor stands.
    pub floor: u64,
    /// Its length if it is sealed.
    pub sealed_end: Option<u64>,
    /// Its counts.
    pub book: Book,
    /// Events announced for files or left in holes: recorded, not yet in a file.
    pub waiting: u64,
    /// Ranges of the lineage that are lost.
    pub lost_offsets: u64,
}

impl AuditRow {
    /// All counts, finished and living.
    pub fn total(&self) -> Book {
        let mut total = self.finished.clone();
        self.living.iter().for_each(|living| total.add(&living.book));
        total
    }
}

impl State {
    /// The books, a row per flow, channel and sink group with a cursor.
    ///
    /// Read it first and the log's watermarks after, so that nothing is final before it is stored.
    pub fn audit(&self) -> Vec<AuditRow> {
        self.flows.iter().flat_map(|(id, flow)| rows(*id, flow)).collect()
    }
}

fn rows(id: FlowId, flow: &Flow) -> Vec<AuditRow> {
    let mut rows: BTreeMap<BookKey, AuditRow> = BTreeMap::new();
    let new = |key: &BookKey, finished: Book| AuditRow {
        flow: id,
        name: flow.name.clone(),
        key: key.clone(),
        finished,
        living: Vec::new(),
    };
    for (key, book) in &flow.books {
        rows.insert(key.clone(), new(key, book.clone()));
    }
    for (shard, held) in (0..).zip(&flow.shards) {
        for (epoch, found) in &held.lineages {
            for (number, ledger) in &found.ledgers {
                let Some(key) = flow.group(found.version, *number) else { continue };
                let row = rows.entry(key.clone()).or_insert_with(|| new(&key, Book::default()));
                row.living.push(LineageBook {
                    lineage: Lineage { flow: id, shard, epoch: *epoch },
                    version: found.version,
                    group: *number,
                    floor: ledger.floor,
                    sealed_end: found.sealed,
                    book: ledger.book.clone(),
                    waiting: ledger.buckets.values().map(|bucket| bucket.waiting()).sum(),
                    lost_offsets: found.lost_between(0, u64::MAX),
                });
            }
        }
    }
    rows.into_values().collect()
}
