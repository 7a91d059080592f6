//! Flows, shards and lineages.

use std::collections::BTreeMap;

use sdk_config::ledger::RootId;
use sdk_event::Lineage;

use crate::id::{FlowId, GroupNumber, NodeId};
use crate::limits::REPLICAS_MAX;
use crate::state::{Flow, Ledger, LineageState, Node, NodeState, Opening, Shard, State};

/// A shard whose owner has to seal and reopen it before it may append (or go on appending).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealDue {
    /// Its newest lineage.
    pub lineage: Lineage,
    /// The lineage belongs to an earlier process of this node.
    pub restarted: bool,
    /// The flow has a newer spec version than the lineage.
    pub new_version: bool,
}

impl State {
    /// The nodes.
    pub fn nodes(&self) -> &BTreeMap<NodeId, Node> {
        &self.nodes
    }

    /// The flows by id.
    pub fn flows(&self) -> &BTreeMap<FlowId, Flow> {
        &self.flows
    }

    /// A flow.
    pub fn flow(&self, flow: FlowId) -> Option<&Flow> {
        self.flows.get(&flow)
    }

    /// The flow of that name.
    pub fn flow_named(&self, name: &str) -> Option<(FlowId, &Flow)> {
        self.flows.iter().find(|(_, flow)| flow.name == name).map(|(id, flow)| (*id, flow))
    }

    /// The ids recorded for roots.
    pub fn roots(&self) -> &BTreeMap<String, RootId> {
        &self.roots
    }

    /// A shard.
    pub fn shard(&self, flow: FlowId, shard: u32) -> Option<&Shard> {
        self.flows.get(&flow)?.shards.get(usize::try_from(shard).ok()?)
    }

    /// The newest lineage of a shard.
    pub fn current(&self, flow: FlowId, shard: u32) -> Option<(Lineage, &LineageState)> {
        let held = self.shard(flow, shard)?;
        Some((Lineage { flow, shard, epoch: held.epoch }, held.current()?))
    }

    /// A lineage, unless it is drained or was never opened.
    pub fn lineage(&self, lineage: Lineage) -> Option<&LineageState> {
        self.shard(lineage.flow, lineage.shard)?.lineages.get(&lineage.epoch)
    }

    /// The ledger of one (sink group, lineage).
    pub fn ledger(&self, lineage: Lineage, group: GroupNumber) -> Option<&Ledger> {
        self.lineage(lineage)?.ledgers.get(&group)
    }

    /// Every lineage in the state.
    pub fn lineages(&self) -> impl Iterator<Item = (Lineage, &LineageState)> {
        self.flows.iter().flat_map(|(flow, it)| {
            (0..).zip(&it.shards).flat_map(move |(shard, held)| {
                held.lineages.iter().map(move |(epoch, lineage)| {
                    (Lineage { flow: *flow, shard, epoch: *epoch }, lineage)
                })
            })
        })
    }

    /// The newest epoch of the lineage's shard; 0 if there is no such shard.
    pub fn epoch(&self, lineage: Lineage) -> u64 {
        self.shard(lineage.flow, lineage.shard).map_or(0, |held| held.epoch)
    }

    /// What `node`, in this incarnation, has to seal: shards it owns by an earlier process of
    /// itself, or whose flow has a newer version, and older lineages that wait for it alone.
    pub fn seals_due(&self, node: NodeId, incarnation: u64) -> Vec<SealDue> {
        let mut due = Vec::new();
        for (lineage, found) in self.lineages() {
            let newest = self.epoch(lineage) == lineage.epoch;
            let alone = found.replicas == [node];
            if found.sealed.is_some() || !(alone || newest && found.owner == node) {
                continue;
            }
            let latest = self.flows.get(&lineage.flow).map(|flow| flow.latest);
            let restarted = found.owner != node || found.incarnation != incarnation;
            let new_version = newest && latest != Some(found.version);
            if restarted || new_version || !newest {
                due.push(SealDue { lineage, restarted, new_version });
            }
        }
        due
    }

    /// Owner and replicas for one shard of a flow, the same on every node: nodes that are up, in the
    /// order of a hash of (flow name, shard, node), different zones first.
    pub fn place(&self, flow: &str, shard: u32, replicas: usize) -> Option<Opening> {
        let up = self.nodes.iter().filter(|(_, node)| node.state == NodeState::Up);
        let mut ranked: Vec<(u64, NodeId, &str)> =
            up.map(|(id, node)| (weight(flow, shard, *id), *id, node.zone.as_str())).collect();
        ranked.sort_unstable_by(|a, b| b.cmp(a));
        let mut zones: Vec<&str> = Vec::new();
        let mut chosen: Vec<NodeId> = Vec::new();
        for (_, id, zone) in &ranked {
            if zone.is_empty() || !zones.contains(zone) {
                zones.push(zone);
                chosen.push(*id);
            }
        }
        let rest = ranked.iter().map(|(_, id, _)| *id).filter(|id| !chosen.contains(id));
        let rest: Vec<NodeId> = rest.collect();
        chosen.extend(rest);
        chosen.truncate(replicas.clamp(1, REPLICAS_MAX));
        let owner = *chosen.first()?;
        chosen.sort_unstable();
        Some(Opening { owner, replicas: chosen })
    }
}

/// Rendezvous weight: FNV-1a, then the finisher of MurmurHash3, so that near inputs spread.
fn weight(flow: &str, shard: u32, node: NodeId) -> u64 {
    let bytes = flow.bytes().chain(shard.to_le_bytes()).chain(node.to_le_bytes());
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    hash ^ (hash >> 33)
}
