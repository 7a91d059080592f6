//! A new flow.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::check;
use super::reply::{Rejected, Reply, Verdict};
use crate::limits::{FLOWS_MAX, RENDERING};
use crate::state::{Cost, Flow, Opening, Plan, Shard, State};

/// Creates a flow and opens the first lineage of each shard, epoch 1. The flow's id is the index of
/// this entry. A flow of that name with the same spec is answered as if just created. Answers
/// [`Reply::Flow`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateFlow {
    /// Its name.
    pub name: String,
    /// Its spec as JSON.
    pub spec: String,
    /// What of it the state has to know.
    pub plan: Plan,
    /// Owner and replicas per shard.
    pub shards: Vec<Opening>,
}

impl CreateFlow {
    pub(crate) fn apply(self, state: &mut State) -> Reply {
        Reply::from_result(self.try_apply(state))
    }

    fn try_apply(self, state: &mut State) -> Verdict {
        check::name("a flow", &self.name)?;
        check::plan(&self.spec, &self.plan)?;
        if let Some((id, flow)) = state.flow_named(&self.name) {
            if flow.newest().spec == self.spec {
                return Ok(Reply::Flow { flow: id, version: flow.latest });
            }
            return Err(Rejected::NameTaken(id));
        }
        if self.shards.len() != self.plan.shards as usize {
            return Err(check::invalid("every shard needs an owner"));
        }
        if state.flows.len() >= FLOWS_MAX || self.spec.len() as u64 > state.room() {
            return Err(Rejected::Full);
        }
        let incarnations = self.shards.iter().map(|opening| check::opening(state, opening));
        let incarnations = incarnations.collect::<Result<Vec<u64>, Rejected>>()?;
        let mut flow = Flow {
            name: self.name,
            versions: BTreeMap::new(),
            latest: 1,
            discarded: BTreeSet::new(),
            shards: Vec::new(),
            books: BTreeMap::new(),
            sinks_issued: 0,
            groups_issued: 0,
        };
        let version = flow
            .number(self.spec, RENDERING, self.plan)
            .ok_or_else(|| check::invalid("too many channels"))?;
        flow.versions.insert(1, version);
        for (opening, incarnation) in self.shards.into_iter().zip(incarnations) {
            let lineage = flow.open(opening, incarnation, 1);
            flow.shards.push(Shard { epoch: 1, lineages: BTreeMap::from([(1, lineage)]) });
        }
        let cost = flow.cost();
        if cost > state.room() {
            return Err(Rejected::Full);
        }
        state.size += cost;
        let id = state.applied;
        state.flows.insert(id, flow);
        Ok(Reply::Flow { flow: id, version: 1 })
    }
}
