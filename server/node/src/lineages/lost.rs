//! What of a lineage cannot be read any more, or was given up: listed once, so that drains pass it and
//! producers are told.

use super::{Held, LineageError, Lineages};
use crate::cluster::ClusterError;
use crate::off_thread::off_thread;
use sdk_channel::record::{Loss, kind};
use sdk_channel::sequences_behind;
use sdk_config::ledger::Span;
use sdk_event::{EventId, Lineage};
use sdk_flow::{Exhaustion, PutError};
use sdk_wal::Quarantined;
use server_cluster::command::Lost;
use server_cluster::state::{LostIds, LostRange};
use std::time::Duration;
use tracing::{error, warn};

impl Lineages {
    /// Lists a range that this disk cannot read as lost: a set of one has no other copy.
    pub(super) async fn list_lost(&self, range: &Quarantined) {
        let span = Span { first: range.from, last: range.to.saturating_sub(1) };
        let id = range.identity.map(|id| id.to_string());
        error!(id, lineage = %range.lineage, from = span.first, to = span.last, reason = %range.reason,
            "a record cannot be read and is listed as lost");
        self.given_up.add(range.lineage, [span]);
        let ids = match (range.kind, range.identity) {
            (Some(kind::PUT), Some(first)) => {
                let last = self.sequences_behind(range, first).await.saturating_sub(1);
                let EventId { producer, generation, sequence: first } = first;
                Some(LostIds { producer, generation, first, last })
            }
            _ => None,
        };
        let ranges = vec![LostRange { span, ids: ids.into_iter().collect() }];
        let lost = Lost { lineage: range.lineage, ranges };
        match self.options.cluster.propose(lost).await {
            // Drained already: nobody needs it.
            Ok(_) | Err(ClusterError::Rejected(server_cluster::Rejected::Gone { .. })) => (),
            Err(error) => {
                // Asked again at the next change.
                let error = &error as &dyn std::error::Error;
                warn!(error, lineage = %range.lineage, "cannot list a range as lost");
            }
        }
    }

    /// The sequence number behind the last event of a block that cannot be read.
    async fn sequences_behind(&self, range: &Quarantined, first: EventId) -> u64 {
        let (log, lineage, block) = (self.options.log.clone(), range.lineage, range.from..range.to);
        let found = off_thread(move || sequences_behind(&log, lineage, block, first)).await;
        match found {
            Ok(Ok(behind)) => behind,
            _ => first.sequence.saturating_add(range.to - range.from),
        }
    }

    /// Whether some group has still to deliver what lies below an offset.
    pub(super) fn is_needed(&self, lineage: Lineage, below: u64) -> bool {
        self.options.cluster.read(|state| {
            let ledgers = state.lineage(lineage).map(|found| &found.ledgers);
            let mut ledgers = ledgers.into_iter().flat_map(|ledgers| ledgers.values());
            ledgers.any(|ledger| ledger.first_needed() < below)
        })
    }

    /// Gives up ranges of a lineage, whatever stood there, before they are listed: from then on drains pass
    /// them, and once the lineage has left the state nobody else knows.
    pub(crate) async fn give_up(
        &self,
        lineage: Lineage,
        spans: &[Span],
    ) -> Result<(), LineageError> {
        self.given_up.add(lineage, spans.iter().copied());
        let loss = |span: &Span| {
            let (from, to) = (span.first, span.last.saturating_add(1));
            Loss { epoch: lineage.epoch, from, to, ids: None }
        };
        let losses: Vec<Loss> = spans.iter().map(loss).collect();
        self.remember_lost(lineage, &losses).await
    }

    /// Has the shard of a lineage remember what is lost.
    async fn remember_lost(&self, lineage: Lineage, losses: &[Loss]) -> Result<(), LineageError> {
        let newest = self.all().into_iter().rev().find_map(|(it, held)| match held.held {
            Held::Written(shard) if (it.flow, it.shard) == (lineage.flow, lineage.shard) => {
                Some(shard)
            }
            _ => None,
        });
        let lost = match newest {
            Some(shard) => shard.lose(losses).await,
            None => {
                Err(PutError::Exhausted { reason: Exhaustion::Moving, retry_after: Duration::ZERO })
            }
        };
        lost.map_err(|error| LineageError::Log {
            lineage,
            doing: "given up",
            error: Box::new(error),
        })
    }

    /// Lists what the log has found unreadable since it was last asked: readers pass it then.
    pub(crate) async fn lose_unreadable(&self) {
        let quarantined = self.options.log.quarantined();
        let news: Vec<_> = quarantined
            .into_iter()
            .filter(|range| {
                self.options.cluster.read(|state| {
                    let known = state.lineage(range.lineage);
                    known.is_some_and(|found| found.lost_between(range.from, range.to) == 0)
                })
            })
            .filter(|range| self.is_needed(range.lineage, range.to))
            .collect();
        for range in news {
            let losses: Vec<Loss> = loss_of_record(&range).into_iter().collect();
            match self.remember_lost(range.lineage, &losses).await {
                Ok(()) => self.list_lost(&range).await,
                // Asked again at the next change.
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    warn!(error, "cannot list a range as lost");
                }
            }
        }
    }
}

/// What is lost to producers with a range that the log cannot read: nothing if that was no block.
pub(super) fn loss_of_record(range: &Quarantined) -> Option<Loss> {
    if range.kind.is_some_and(|kind| kind != kind::PUT) {
        return None;
    }
    let ids = range.identity.map(|id| sdk_channel::record::LostIds {
        producer: id.producer,
        generation: id.generation,
        first: id.sequence,
        end: id.sequence.saturating_add(range.to - range.from),
    });
    Some(Loss { epoch: range.lineage.epoch, from: range.from, to: range.to, ids })
}
