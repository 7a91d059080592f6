//! Everything below is final.

use sdk_config::ledger::{Drops, Refusal};
use serde::{Deserialize, Serialize};

use super::Context;
use crate::command::reply::{Answer, LedgerReply};
use crate::limits::{DROP_RULES_MAX, NAME_BYTES_MAX};
use crate::state::Ledger;

/// Raises the floor from where it is. Open Intents below it must be committed or pinned first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaiseFloor {
    /// The floor so far: anything else is refused.
    pub from: u64,
    /// The new floor.
    pub to: u64,
    /// The channel's running total of stored events at `to`, as the log has it.
    pub stored: u64,
    /// Events in `[from, to)` that a sink without files has delivered.
    pub delivered: u64,
    /// Events in `[from, to)` that such a sink refused for what they are, and that are kept elsewhere.
    pub dead_lettered: u64,
    /// Events in `[from, to)` that no sink gets. Lost are *offsets* here: how many of them were
    /// events of this channel its running totals tell, so at most what they leave is booked.
    pub drops: Drops,
}

impl RaiseFloor {
    pub(super) fn apply(self, ledger: &mut Ledger, context: &Context<'_>) -> LedgerReply {
        let RaiseFloor { from, to, stored, delivered, dead_lettered, mut drops } = self;
        let floor = ledger.floor;
        if from != floor {
            return Err(Refusal::Floor { floor });
        }
        if to < from {
            return Err(Refusal::Invalid("a floor never falls".to_owned()));
        }
        if let Some(end) = context.sealed_end
            && to > end
        {
            return Err(Refusal::BeyondEnd { end });
        }
        let named = |rule: &String| !rule.is_empty() && rule.len() <= NAME_BYTES_MAX;
        if drops.by_rule.len() > DROP_RULES_MAX || !drops.by_rule.keys().all(named) {
            return Err(Refusal::Invalid("too many or too long names of rules".to_owned()));
        }
        let passed = stored.checked_sub(ledger.book.stored).filter(|passed| *passed <= to - from);
        let Some(passed) = passed else {
            return Err(Refusal::Invalid("the running total does not fit the range".to_owned()));
        };
        let ended = drops.dropped().saturating_add(delivered).saturating_add(dead_lettered);
        let Some(mut left) = passed.checked_sub(ended) else {
            return Err(Refusal::Invalid("more events than the range has".to_owned()));
        };
        let mut too_many = 0;
        if context.sealed_end == Some(to) {
            // Files above the floor were booked when they were committed, and what is announced will be.
            let waiting =
                ledger.buckets.values().fold(0, |sum: u64, it| sum.saturating_add(it.waiting()));
            let booked = ledger.book.ended().saturating_add(ended).saturating_add(waiting);
            left = left.min(stored.saturating_sub(booked));
            // Offsets that are lost were counted again when they were read again under another token.
            too_many = booked.saturating_sub(stored);
        }
        if drops.lost > 0 && drops.lost > (context.lost)(from, to) {
            return Err(Refusal::NotLost);
        }
        drops.lost = drops.lost.min(left);
        let open = ledger.buckets.values().filter_map(|bucket| bucket.first_unpinned()).min();
        if let Some(first) = open
            && first < to
        {
            return Err(Refusal::OpenBelow { first });
        }
        ledger.raise_floor(to);
        ledger.book.stored = stored;
        ledger.book.in_files = ledger.book.in_files.saturating_add(delivered);
        ledger.book.dead_lettered = ledger.book.dead_lettered.saturating_add(dead_lettered);
        ledger.book.pass(&drops);
        ledger.book.lost = ledger.book.lost.saturating_sub(too_many);
        Ok(Answer::default())
    }
}
