//! An operator's word on a quarantined bucket.

use sdk_config::ledger::BucketKey;
use sdk_event::Lineage;
use serde::{Deserialize, Serialize};

use super::reply::{Rejected, Reply, Verdict};
use crate::id::GroupNumber;
use crate::state::{Cost, State};

/// The rule under which discarded events of a quarantined bucket are counted.
pub(super) const RESOLVED: &str = "buckets resolve";

/// Ends the quarantine of a bucket. Answers [`Reply::Done`], or [`Rejected::Nothing`] when it is not
/// quarantined (any more).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolveBucket {
    /// The lineage.
    #[serde(with = "crate::id::lineage")]
    pub lineage: Lineage,
    /// The sink group.
    pub group: GroupNumber,
    /// The bucket.
    pub bucket: BucketKey,
    /// How.
    pub resolution: Resolution,
}

/// What an operator may decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resolution {
    /// What stood in the way is gone: the holder tries again.
    Retry,
    /// Drop what the bucket has waiting, counted under the rule `buckets resolve`.
    Discard,
}

impl ResolveBucket {
    pub(crate) fn apply(self, state: &mut State) -> Reply {
        Reply::from_result(self.try_apply(state))
    }

    fn try_apply(self, state: &mut State) -> Verdict {
        let epoch = state.epoch(self.lineage);
        let ledger = state.ledger_mut(self.lineage, self.group).ok_or(Rejected::Gone { epoch })?;
        if ledger.buckets.get(&self.bucket).is_none_or(|it| it.quarantine.is_none()) {
            return Err(Rejected::Nothing);
        }
        let before = ledger.cost();
        let floor = ledger.floor;
        let dropped = ledger.with_bucket(&self.bucket, |bucket| {
            bucket.quarantine = None;
            match self.resolution {
                Resolution::Retry => 0,
                Resolution::Discard => {
                    let waiting = bucket.waiting();
                    while !bucket.open.is_empty() {
                        bucket.close(0, floor);
                    }
                    while !bucket.holes.is_empty() {
                        bucket.close_hole(0, floor);
                    }
                    waiting
                }
            }
        });
        ledger.book.drop_events(RESOLVED, dropped);
        let after = ledger.cost();
        state.resize(before, after);
        state.retire(self.lineage);
        Ok(Reply::Done)
    }
}
