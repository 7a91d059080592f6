//! Ranges that nobody can read.

use sdk_event::Lineage;
use serde::{Deserialize, Serialize};

use super::check;
use super::reply::{Rejected, Reply, Verdict};
use crate::limits::LOST_RANGES_MAX;
use crate::state::{Cost, LostRange, State};

/// Lists ranges of a lineage as lost, proposed when every holder that the state lists has answered
/// that it cannot read them, or has been removed. Readers, buckets and floors pass them from then
/// on. What is listed already stays as it is. Answers [`Reply::Done`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// The lineage.
    #[serde(with = "crate::id::lineage")]
    pub lineage: Lineage,
    /// The ranges.
    pub ranges: Vec<LostRange>,
}

impl Lost {
    pub(crate) fn apply(self, state: &mut State) -> Reply {
        Reply::from_result(self.try_apply(state))
    }

    fn try_apply(self, state: &mut State) -> Verdict {
        let epoch = state.epoch(self.lineage);
        let room = state.room();
        let lineage = state.lineage_mut(self.lineage).ok_or(Rejected::Gone { epoch })?;
        if self.ranges.iter().any(|range| range.span.first > range.span.last) {
            return Err(check::invalid("a range ends before it begins"));
        }
        if let Some(end) = lineage.sealed
            && self.ranges.iter().any(|range| range.span.last >= end)
        {
            return Err(Rejected::SealedAt(end));
        }
        if lineage.lost.len() + self.ranges.len() > LOST_RANGES_MAX
            || self.ranges.as_slice().cost() > room
        {
            return Err(Rejected::Full);
        }
        let before = lineage.lost.cost();
        self.ranges.into_iter().for_each(|range| lineage.lose(range));
        let after = lineage.lost.cost();
        state.resize(before, after);
        Ok(Reply::Done)
    }
}
