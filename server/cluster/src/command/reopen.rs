//! Opens a successor while the lineage before it waits for its only node.

use sdk_event::Lineage;
use serde::{Deserialize, Serialize};

use super::check;
use super::reply::{Rejected, Reply, Verdict};
use crate::state::{Cost, Opening, State};

/// Opens the next epoch of a shard whose newest lineage has one replica, which is away: nobody else
/// can measure it, so it stays unsealed until that node returns or an operator abandons it. Compare-
/// and-set on the epoch. Answers [`Reply::Done`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reopen {
    /// The lineage that waits; must be its shard's newest.
    #[serde(with = "crate::id::lineage")]
    pub lineage: Lineage,
    /// Who gets the shard.
    pub next: Opening,
    /// The spec version of the new lineage: must be the flow's newest.
    pub version: u32,
}

impl Reopen {
    pub(crate) fn apply(self, state: &mut State) -> Reply {
        Reply::from_result(self.try_apply(state))
    }

    fn try_apply(self, state: &mut State) -> Verdict {
        let Lineage { flow: id, shard, epoch } = self.lineage;
        let flow = check::flow(state, id)?;
        let held = flow.shards.get(shard as usize);
        let held = held.ok_or(Rejected::UnknownShard { flow: id, shard })?;
        let gone = Rejected::Gone { epoch: held.epoch };
        let waiting = held.lineages.get(&epoch).filter(|_| epoch == held.epoch).ok_or(gone)?;
        if waiting.replicas.len() > 1 {
            return Err(Rejected::NotAlone);
        }
        if self.version != flow.latest {
            return Err(Rejected::OtherVersion { latest: flow.latest });
        }
        let incarnation = check::opening(state, &self.next)?;
        let opened = flow.open(self.next, incarnation, self.version);
        if opened.cost() > state.room() {
            return Err(Rejected::Full);
        }
        let before = held.cost();
        let Some(held) = state.shard_mut(id, shard) else { return Err(Rejected::UnknownFlow(id)) };
        held.epoch += 1;
        held.lineages.insert(held.epoch, opened);
        let after = held.cost();
        state.resize(before, after);
        Ok(Reply::Done)
    }
}
