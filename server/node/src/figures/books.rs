//! The books of this node at a glance: what has not ended is pending. The audit counts: `count`.

use super::Figures;
use server_cluster::query::{AuditRow, LineageBook};

/// One row of the books.
#[derive(Debug, Clone)]
pub(crate) struct BookRow {
    /// The ledger's side.
    pub(crate) row: AuditRow,
    /// Events stored, by the log's running totals at the watermark.
    pub(crate) stored: u64,
    /// Events that are in no file yet.
    pub(crate) pending: u64,
    /// Whether both sides agree.
    pub(crate) agree: bool,
}

impl Figures {
    /// Every row. Nothing is final before it is stored, so the ledger is read first.
    pub(crate) fn books(&self) -> Vec<BookRow> {
        let rows = self.cluster.read(server_cluster::State::audit);
        rows.into_iter().map(|row| self.book_row(row)).collect()
    }

    fn book_row(&self, row: AuditRow) -> BookRow {
        let mut book = BookRow {
            stored: row.finished.stored,
            pending: 0,
            agree: row.finished.stored == row.finished.ended(),
            row,
        };
        let channel = book.row.key.channel.clone();
        for living in &book.row.living {
            // One that left the state between the two looks is among the finished at the next.
            let found = self.pending_in(living, &channel);
            book.agree &= found.is_some();
            let (stored, pending) = found.unwrap_or_default();
            book.stored += stored;
            book.pending += pending;
        }
        book
    }

    /// What a channel of one lineage has stored, and what of it waits. `None` if the two sides
    /// contradict each other.
    pub(super) fn pending_in(&self, living: &LineageBook, channel: &str) -> Option<(u64, u64)> {
        let held = self.lineages.get(living.lineage)?;
        let number = held.version.channels.iter().find(|it| *it.name == *channel)?.number;
        let (watermark, totals) = held.held.totals();
        let stored = totals.channel(number).stored();
        let pending = stored.checked_sub(living.book.ended())?;
        // With the floor at the end nothing but what is announced, or left in a hole, can wait.
        let contradiction = living.floor >= watermark && pending != living.waiting;
        (!contradiction).then_some((stored, pending))
    }

    /// How many events are stored, in all flows and channels.
    pub(crate) fn stored_events(&self) -> u64 {
        self.books().iter().map(|book| book.stored).max().unwrap_or(0)
    }
}
