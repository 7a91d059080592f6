//! The books with everything counted apart, for the audit.
//!
//! Three counts meet: what the channel's running totals say was stored, what the ledger says has
//! ended, and what the drain says it has read and not finished. None is computed from another, so an
//! event that was lost between two of them is missed.

use super::{BookRow, Figures};
use crate::drains::{DrainKey, Running};
use crate::ledger::totals;
use futures::future::join_all;
use sdk_files::InHand;
use server_cluster::query::{AuditRow, LineageBook};
use std::collections::BTreeMap;

type Hands = BTreeMap<DrainKey, InHand>;

/// What a channel of one lineage has stored, and what of it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waiting {
    stored: u64,
    pending: u64,
    agree: bool,
}

impl Figures {
    /// Every row, each column counted where it happens. A row in which something moved while it was
    /// read does not agree; read it again.
    pub(crate) async fn counted_books(&self) -> Vec<BookRow> {
        let before = self.hands().await;
        let rows = self.cluster.read(server_cluster::State::audit);
        // What has not called the ledger in between stands where the ledger says it does.
        let mut hands = self.hands().await;
        hands.retain(|key, hand| {
            let known = before.get(key);
            known.is_some_and(|known| (known.token, known.calls) == (hand.token, hand.calls))
        });
        let mut books = Vec::new();
        for row in rows {
            books.push(self.counted_row(row, &before, &hands).await);
        }
        books
    }

    /// What each drain into files has in hand, of those that say so.
    async fn hands(&self) -> Hands {
        let asked = self.drains.running().into_iter().filter_map(|(key, running)| match running {
            Running::Files(handle) => Some(async move { Some((key, handle.in_hand().await?)) }),
            Running::Events(_) => None,
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    async fn counted_row(&self, row: AuditRow, asked: &Hands, hands: &Hands) -> BookRow {
        let mut book = BookRow {
            stored: row.finished.stored,
            pending: 0,
            agree: row.finished.stored == row.finished.ended(),
            row,
        };
        for living in book.row.living.clone() {
            let key = DrainKey { lineage: living.lineage, group: living.group };
            let waiting = match (asked.get(&key), hands.get(&key)) {
                (Some(_), None) => None,
                (_, hand) => self.count(&living, &book.row.key.channel, hand.copied()).await,
            };
            book.agree &= waiting.is_some_and(|waiting| waiting.agree);
            book.stored += waiting.map_or(0, |waiting| waiting.stored);
            book.pending += waiting.map_or(0, |waiting| waiting.pending);
        }
        book
    }

    async fn count(
        &self,
        living: &LineageBook,
        channel: &str,
        hand: Option<InHand>,
    ) -> Option<Waiting> {
        let held = self.lineages.get(living.lineage)?;
        let channel = held.version.channels.iter().find(|it| *it.name == *channel)?.number;
        let (watermark, stored) = held.held.totals();
        let stored = stored.channel(channel).stored();
        let files = held.version.group(living.group)?.writes_files();
        let (cursor, in_hand, lost) = match hand {
            Some(InHand { cursor, events: Some(events), lost_offsets, .. }) => {
                (cursor, events, lost_offsets)
            }
            // A sink without files has ended everything below the floor, and has begun nothing else.
            _ if !files => (living.floor, 0, 0),
            // No drain has read on from the floor yet: nobody but the ledger knows what is above.
            _ => return uncounted(living, watermark, stored),
        };
        let read = match cursor {
            _ if cursor == watermark => stored,
            _ if cursor == living.floor => living.book.stored,
            _ => {
                let read = totals(&self.log, living.lineage, cursor).await.ok()?;
                read.channel(channel).stored()
            }
        };
        Some(weigh(read, living.book.ended(), in_hand, lost, stored))
    }
}

/// What was read has ended or is in hand, but for lost offsets, which are told from events only when
/// the floor passes them.
fn weigh(read: u64, ended: u64, in_hand: u64, lost: u64, stored: u64) -> Waiting {
    let missing = read.checked_sub(ended.saturating_add(in_hand));
    let lost = missing.unwrap_or(0).min(lost);
    Waiting {
        stored,
        pending: in_hand + lost + stored.saturating_sub(read),
        agree: missing == Some(lost) && read <= stored,
    }
}

/// The same where nobody has counted: what has not ended waits.
fn uncounted(living: &LineageBook, watermark: u64, stored: u64) -> Option<Waiting> {
    let pending = stored.checked_sub(living.book.ended())?;
    // With the floor at the end nothing but what is announced, or left in a hole, can wait.
    let agree = living.floor < watermark || pending == living.waiting;
    Some(Waiting { stored, pending, agree })
}

#[cfg(test)]
mod tests;
