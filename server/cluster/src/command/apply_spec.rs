//! A new version of a flow.

use serde::{Deserialize, Serialize};

use super::check;
use super::reply::{Rejected, Reply, Verdict};
use crate::id::FlowId;
use crate::limits::RENDERING;
use crate::state::{Cost, Plan, State};

/// Adds a version to a flow, compare-and-set on the newest one. Lineages keep theirs: each owner
/// seals and reopens with the new version when it sees it. The spec that is the newest already is
/// answered as if just applied. Answers [`Reply::Flow`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplySpec {
    /// The flow.
    pub flow: FlowId,
    /// The version that was the newest when this one was written.
    pub base: u32,
    /// The new spec as JSON.
    pub spec: String,
    /// What of it the state has to know.
    pub plan: Plan,
    /// Groups of the base version, by name, whose remaining events are to be dropped.
    pub discard: Vec<String>,
}

impl ApplySpec {
    pub(crate) fn apply(self, state: &mut State) -> Reply {
        Reply::from_result(self.try_apply(state))
    }

    fn try_apply(self, state: &mut State) -> Verdict {
        check::plan(&self.spec, &self.plan)?;
        let room = state.room();
        let id = self.flow;
        let flow = state.flows.get_mut(&id).ok_or(Rejected::UnknownFlow(id))?;
        let newest = flow.newest();
        if newest.spec == self.spec && self.discard.is_empty() {
            return Ok(Reply::Flow { flow: id, version: flow.latest });
        }
        if flow.latest != self.base {
            return Err(Rejected::OtherVersion { latest: flow.latest });
        }
        if self.plan.shards as usize != flow.shards.len() {
            return Err(Rejected::ShardsFixed { shards: flow.shards.len() as u32 });
        }
        // A group that stays, or stays under another number, is not to be discarded.
        if self.discard.iter().any(|name| self.plan.groups.contains_key(name)) {
            return Err(check::invalid("a group to discard is in the new version"));
        }
        let groups = flow.versions.values().flat_map(|version| &version.groups);
        let discard: Vec<_> = groups
            .filter(|(name, _)| self.discard.contains(name))
            .map(|(_, group)| group.number)
            .collect();
        if self.spec.len() as u64 > room {
            return Err(Rejected::Full);
        }
        let before = flow.cost();
        let (sinks, groups) = (flow.sinks_issued, flow.groups_issued);
        let Some(version) = flow.number(self.spec, RENDERING, self.plan) else {
            (flow.sinks_issued, flow.groups_issued) = (sinks, groups);
            return Err(check::invalid("older versions with other channels are not drained yet"));
        };
        flow.latest += 1;
        flow.versions.insert(flow.latest, version);
        flow.discarded.extend(discard);
        flow.forget_versions();
        let version = flow.latest;
        let after = flow.cost();
        state.resize(before, after);
        state.forget_penalties();
        Ok(Reply::Flow { flow: id, version })
    }
}
