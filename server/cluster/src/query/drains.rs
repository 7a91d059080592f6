//! Who drains what, and what is still needed of a lineage.

use sdk_event::Lineage;

use crate::id::{GroupNumber, NodeId};
use crate::state::State;

/// One (sink group, lineage) that a node is to drain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drain {
    /// The lineage.
    pub lineage: Lineage,
    /// The spec version it is delivered by.
    pub version: u32,
    /// The group's number.
    pub group: GroupNumber,
    /// The group's name.
    pub name: String,
    /// The channel it reads.
    pub channel: String,
    /// Where its floor stands.
    pub floor: u64,
    /// The lineage's length if it is sealed.
    pub sealed_end: Option<u64>,
    /// The newest token; the node holds it only if it was granted to this process.
    pub token: u64,
    /// Whether an operator wants the rest dropped instead of delivered.
    pub discard: bool,
}

impl State {
    /// The node that drains a lineage for a group: the one assigned, else the owner of the shard,
    /// or of the lineage where only that has a copy.
    pub fn drainer(&self, lineage: Lineage, group: GroupNumber) -> Option<NodeId> {
        let found = self.lineage(lineage)?;
        let assigned = found.ledgers.get(&group)?.drainer;
        let owner = self.shard(lineage.flow, lineage.shard)?.current()?.owner;
        let default = match found.replicas.as_slice() {
            [only] => *only,
            _ => owner,
        };
        Some(assigned.unwrap_or(default))
    }

    /// Everything that `node` is to drain.
    pub fn drains(&self, node: NodeId) -> Vec<Drain> {
        let mut drains = Vec::new();
        for (lineage, found) in self.lineages() {
            for (group, ledger) in &found.ledgers {
                if self.drainer(lineage, *group) != Some(node)
                    || found.sealed.is_some_and(|end| ledger.drained(end))
                {
                    continue;
                }
                let Some(flow) = self.flows.get(&lineage.flow) else { continue };
                let Some(key) = flow.group(found.version, *group) else { continue };
                drains.push(Drain {
                    lineage,
                    version: found.version,
                    group: *group,
                    name: key.group,
                    channel: key.channel,
                    floor: ledger.floor,
                    sealed_end: found.sealed,
                    token: ledger.token,
                    discard: flow.discarded.contains(group),
                });
            }
        }
        drains
    }

    /// The first offset of a lineage that some group still needs: what lies below may be trimmed.
    /// `None` when the lineage has left the state, and all of it may go.
    pub fn first_needed(&self, lineage: Lineage) -> Option<u64> {
        Some(self.lineage(lineage)?.first_needed())
    }

    /// The offset below which everything is final in every group whose channel is `needed`: what
    /// the level `committed` promises. `None` when the lineage has left the state, drained.
    pub fn final_below(&self, lineage: Lineage, needed: impl Fn(&str) -> bool) -> Option<u64> {
        let found = self.lineage(lineage)?;
        let flow = self.flows.get(&lineage.flow)?;
        let counts = |group: GroupNumber| {
            flow.group(found.version, group).is_some_and(|key| needed(&key.channel))
        };
        let ledgers = found.ledgers.iter().filter(|(group, _)| counts(**group));
        Some(ledgers.map(|(_, ledger)| ledger.first_needed()).min().unwrap_or(u64::MAX))
    }
}
