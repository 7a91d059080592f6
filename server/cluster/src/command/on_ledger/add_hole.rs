//! A range of a bucket that the floor may pass without a file.

use sdk_config::ledger::{BucketKey, Hole, Refusal};
use serde::{Deserialize, Serialize};

use super::Context;
use crate::command::reply::{Answer, LedgerReply};
use crate::limits::RANGES_PER_BUCKET_MAX;
use crate::state::{Cost, Ledger};

/// Lets the floor pass what a quarantined bucket, or a sink that cannot be reached, has waiting.
/// Trimming does not pass it. The range of an open Intent pins that Intent; any other must lie above
/// everything the bucket has. Filled later by Intents inside it, from its beginning on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddHole {
    /// The bucket.
    pub bucket: BucketKey,
    /// The range and its events.
    pub hole: Hole,
    /// True when no event of the bucket between its last hole and this one stands anywhere else, so
    /// that the two may be joined.
    pub continues: bool,
}

impl AddHole {
    pub(super) fn apply(self, ledger: &mut Ledger, context: &Context<'_>) -> LedgerReply {
        let AddHole { bucket: key, hole, continues } = self;
        let Hole { span, events, dead_letters } = hole;
        if span.first > span.last || events == 0 || events - 1 > span.last - span.first {
            return Err(Refusal::Invalid("more events than offsets, or none".to_owned()));
        }
        if let Some(end) = context.sealed_end
            && span.last >= end
        {
            return Err(Refusal::BeyondEnd { end });
        }
        let known = ledger.buckets.get(&key);
        let open = known.and_then(|bucket| bucket.open.iter().position(|it| it.span == span));
        if let Some(at) = open {
            ledger.with_bucket(&key, |bucket| bucket.open[at].pinned = true);
            return Ok(Answer::default());
        }
        let end = known.and_then(|bucket| {
            let recorded = bucket.committed.last().map(|span| span.last);
            let hole = bucket.holes.last().map(|hole| hole.span.last);
            bucket.end.into_iter().chain(hole).chain(recorded).max()
        });
        if let Some(end) = end
            && span.first <= end
        {
            return Err(Refusal::Overlap { end });
        }
        if span.first < ledger.floor {
            return Err(Refusal::BelowFloor { floor: ledger.floor });
        }
        let full = known.is_some_and(|bucket| bucket.holes.len() >= RANGES_PER_BUCKET_MAX);
        if full || key.cost() + hole.cost() > context.room {
            return Err(Refusal::Full);
        }
        ledger.end = ledger.end.max(span.last.saturating_add(1));
        ledger.with_bucket(&key, |bucket| {
            // What was given up between them stays apart.
            let recorded = bucket.committed.last().map(|span| span.last);
            let apart = |hole: &Hole| recorded.is_some_and(|last| hole.span.first <= last);
            match bucket.holes.last_mut() {
                Some(before)
                    if continues && before.dead_letters == dead_letters && !apart(before) =>
                {
                    before.span.last = span.last;
                    before.events = before.events.saturating_add(events);
                }
                _ => bucket.holes.push(hole),
            }
        });
        Ok(Answer::default())
    }
}
