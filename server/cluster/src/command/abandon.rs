//! Ends a lineage at its longest living copy.

use sdk_config::ledger::Span;
use sdk_event::Lineage;
use serde::{Deserialize, Serialize};

use super::check;
use super::reply::{Rejected, Reply, Sealed, Verdict};
use crate::id::NodeId;
use crate::state::{Cost, LostRange, Opening, State};

/// An operator's word that the nodes which could have sealed or completed a lineage do not come
/// back. It is sealed at its longest living copy (it may have been sealed before); what files were
/// announced for beyond that is listed as lost. Answers [`Reply::Sealed`] with one result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abandon {
    /// The lineage.
    #[serde(with = "crate::id::lineage")]
    pub lineage: Lineage,
    /// The length of its longest living copy; 0 if there is none.
    pub end: u64,
    /// Who holds that copy.
    pub holders: Vec<NodeId>,
    /// Who gets the shard, if this is its newest epoch.
    pub next: Opening,
    /// The spec version of the successor: must be the flow's newest.
    pub version: u32,
}

impl Abandon {
    pub(crate) fn apply(self, state: &mut State) -> Reply {
        Reply::from_result(self.try_apply(state))
    }

    fn try_apply(self, state: &mut State) -> Verdict {
        let Lineage { flow: id, shard, epoch } = self.lineage;
        let flow = check::flow(state, id)?;
        let held = flow.shards.get(shard as usize);
        let held = held.ok_or(Rejected::UnknownShard { flow: id, shard })?;
        let gone = Rejected::Gone { epoch: held.epoch };
        let found = held.lineages.get(&epoch).ok_or(gone)?;
        let first = found.sealed.is_none();
        let end = found.sealed.unwrap_or(self.end.max(found.end_min()));
        let opened = match epoch == held.epoch {
            true if self.version != flow.latest => {
                return Err(Rejected::OtherVersion { latest: flow.latest });
            }
            true => {
                let incarnation = check::opening(state, &self.next)?;
                Some(flow.open(self.next, incarnation, self.version))
            }
            false => None,
        };
        if opened.as_ref().map_or(0, Cost::cost) > state.reserve() {
            return Err(Rejected::Full);
        }

        let before = state.flows[&id].shards[shard as usize].cost();
        let Some(held) = state.shard_mut(id, shard) else { return Err(Rejected::UnknownFlow(id)) };
        let raised = (end > self.end).then(|| Span { first: self.end, last: end - 1 });
        if let Some(lineage) = held.lineages.get_mut(&epoch) {
            lineage.sealed = Some(end);
            lineage.abandoned = true;
            lineage.holders = self.holders.into_iter().collect();
            if let Some(span) = raised {
                lineage.lose(LostRange { span, ids: Vec::new() });
            }
        }
        if let Some(opened) = opened {
            held.epoch += 1;
            held.lineages.insert(held.epoch, opened);
        }
        let current = Lineage { epoch: held.epoch, ..self.lineage };
        let after = held.cost();
        state.resize(before, after);
        state.retire(self.lineage);
        Ok(Reply::Sealed(vec![Ok(Sealed { end, first, raised, current })]))
    }
}
