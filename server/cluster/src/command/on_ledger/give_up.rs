//! Nobody can read what a file or a hole needs.

use sdk_config::ledger::{BucketKey, Refusal, Span};
use serde::{Deserialize, Serialize};

use super::Context;
use crate::command::reply::{Answer, LedgerReply};
use crate::state::Ledger;

/// Gives up an open Intent whose file is not there and cannot be built again, or a hole, because
/// records in its range are lost. Its events are counted as lost, and the range is recorded like that of
/// a file: whoever reads again from the floor passes what is left of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GiveUp {
    /// The bucket.
    pub bucket: BucketKey,
    /// The range of the Intent or hole.
    pub span: Span,
}

impl GiveUp {
    pub(super) fn apply(self, ledger: &mut Ledger, context: &Context<'_>) -> LedgerReply {
        let GiveUp { bucket: key, span } = self;
        if (context.lost)(span.first, span.last.saturating_add(1)) == 0 {
            return Err(Refusal::NotLost);
        }
        let bucket = ledger.buckets.get(&key).ok_or(Refusal::Unknown)?;
        let open = bucket.open.iter().position(|open| open.span == span);
        let hole = bucket.holes.iter().position(|hole| hole.span == span);
        let floor = ledger.floor;
        let lost = match (open, hole) {
            (Some(at), _) => ledger.with_bucket(&key, |bucket| bucket.close(at, floor).events),
            (None, Some(at)) => ledger.with_bucket(&key, |bucket| bucket.close_hole(at, floor)),
            (None, None) => return Err(Refusal::Unknown),
        };
        ledger.book.lost = ledger.book.lost.saturating_add(lost);
        Ok(Answer::default())
    }
}
