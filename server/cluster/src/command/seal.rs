//! Ends lineages and opens their successors.

use std::collections::BTreeSet;

use sdk_config::ledger::Span;
use sdk_event::Lineage;
use serde::{Deserialize, Serialize};

use super::check;
use super::reply::{Rejected, Reply, Sealed};
use crate::id::NodeId;
use crate::limits::SEALS_PER_BATCH_MAX;
use crate::state::{Cost, Opening, State};

/// Seals any number of lineages in one entry: after a restart, or when a node is lost, all shards
/// move together. Each seal stands alone; the first of a lineage wins, and a later one is told what
/// the first has decided. Answers [`Reply::Sealed`].
///
/// *Whoever proposes it has stopped first*: an owner its acknowledgements and its readers'
/// watermark, an heir every later append of that epoch. It stays stopped whatever becomes of the
/// proposal, and proposes again until some seal of that epoch is applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// The node that proposes.
    pub node: NodeId,
    /// Its incarnation.
    pub incarnation: u64,
    /// What to seal.
    pub shards: Vec<ShardSeal>,
}

/// The seal of one lineage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardSeal {
    /// The lineage.
    #[serde(with = "crate::id::lineage")]
    pub lineage: Lineage,
    /// Its length as measured by the proposer. The seal may be higher: see [`Sealed::raised`].
    pub end: u64,
    /// Nodes known to hold it whole, up to `end`.
    pub holders: Vec<NodeId>,
    /// Who gets the shard, if this is its newest epoch.
    pub next: Opening,
    /// The spec version of the successor: must be the flow's newest.
    pub version: u32,
}

impl Seal {
    pub(crate) fn apply(self, state: &mut State) -> Reply {
        if let Err(rejected) = check::incarnation(state, self.node, self.incarnation) {
            return Reply::Rejected(rejected);
        }
        if self.shards.len() > SEALS_PER_BATCH_MAX {
            return Reply::Rejected(check::invalid("too many seals in one proposal"));
        }
        let seals = self.shards.into_iter().map(|seal| seal.apply(self.node, state));
        Reply::Sealed(seals.collect())
    }
}

impl ShardSeal {
    fn apply(self, node: NodeId, state: &mut State) -> Result<Sealed, Rejected> {
        let lineage = self.lineage;
        let flow = check::flow(state, lineage.flow)?;
        let (id, shard) = (lineage.flow, lineage.shard);
        let held = flow.shards.get(shard as usize);
        let held = held.ok_or(Rejected::UnknownShard { flow: id, shard })?;
        let current = Lineage { epoch: held.epoch, ..lineage };
        let gone = Rejected::Gone { epoch: held.epoch };
        let found = held.lineages.get(&lineage.epoch).ok_or(gone)?;
        if let Some(end) = found.sealed {
            return Ok(Sealed { end, first: false, raised: None, current });
        }
        if !found.replicas.contains(&node) {
            return Err(Rejected::NoReplica { node });
        }
        let end_min = found.end_min();
        let newest = lineage.epoch == held.epoch;
        if newest && self.version != flow.latest {
            return Err(Rejected::OtherVersion { latest: flow.latest });
        }
        let opened = match newest {
            true => {
                let incarnation = check::opening(state, &self.next)?;
                Some(flow.open(self.next, incarnation, self.version))
            }
            false => None,
        };
        if opened.as_ref().map_or(0, Cost::cost) > state.reserve() {
            return Err(Rejected::Full);
        }

        let end = self.end.max(end_min);
        let before = state.flows[&id].shards[shard as usize].cost();
        let Some(held) = state.shard_mut(id, shard) else { return Err(Rejected::UnknownFlow(id)) };
        if let Some(sealed) = held.lineages.get_mut(&lineage.epoch) {
            sealed.sealed = Some(end);
            let replicas: BTreeSet<NodeId> = sealed.replicas.iter().copied().collect();
            sealed.holders = match end == self.end {
                true => self.holders.into_iter().filter(|it| replicas.contains(it)).collect(),
                // Nobody has what lies beyond the measured end.
                false => BTreeSet::new(),
            };
        }
        if let Some(opened) = opened {
            held.epoch += 1;
            held.lineages.insert(held.epoch, opened);
        }
        let current = Lineage { epoch: held.epoch, ..lineage };
        let after = held.cost();
        state.resize(before, after);
        state.retire(lineage);
        let raised = (end > self.end).then(|| Span { first: self.end, last: end - 1 });
        Ok(Sealed { end, first: true, raised, current })
    }
}
