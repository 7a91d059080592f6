//! What does not go as it should.

use sdk_config::ledger::BucketKey;
use sdk_event::Lineage;

use crate::id::{FlowId, GroupNumber, NodeId};
use crate::limits::STATE_BYTES_MAX;
use crate::state::{Penalty, State, Use};

/// A penalty that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PenaltyStatus<'a> {
    /// The flow.
    pub flow: FlowId,
    /// The flow's name.
    pub flow_name: &'a str,
    /// The sink's number.
    pub sink: u32,
    /// The sink's name.
    pub sink_name: &'a str,
    /// The node whose failures it stands for.
    pub node: NodeId,
    /// Whether every node that tried has failed, so that all wait.
    pub cluster_wide: bool,
    /// The node that may try now, if the wait is over.
    pub prober: Option<NodeId>,
    /// The wait.
    pub penalty: &'a Penalty,
}

/// A bucket that is quarantined, or has holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketStatus<'a> {
    /// The lineage.
    pub lineage: Lineage,
    /// The sink group.
    pub group: GroupNumber,
    /// The bucket.
    pub bucket: &'a BucketKey,
    /// Why it is quarantined, if it is.
    pub quarantine: Option<&'a str>,
    /// Events waiting in it.
    pub waiting: u64,
}

impl State {
    /// What `node` may do with a sink.
    pub fn may_use(&self, flow: FlowId, sink: u32, node: NodeId) -> Use<'_> {
        self.penalties.get(&(flow, sink)).map_or(Use::Yes, |health| health.may_use(node))
    }

    /// The penalties that run, with their reasons.
    pub fn penalties(&self) -> Vec<PenaltyStatus<'_>> {
        let mut running = Vec::new();
        for ((flow, sink), health) in &self.penalties {
            let Some(found) = self.flows.get(flow) else { continue };
            let mut named = found.versions.values().rev().flat_map(|version| &version.sinks);
            let sink_name = named.find(|(_, it)| it.number == *sink);
            let sink_name = sink_name.map_or("", |(name, _)| name.as_str());
            let cluster_wide = health.cluster_wide();
            let all = health.nodes.values().filter_map(|health| health.penalty.as_ref());
            let newest = all.map(|penalty| penalty.serial).max();
            for (node, health_there) in &health.nodes {
                let Some(penalty) = &health_there.penalty else { continue };
                let prober = if cluster_wide { health.prober } else { Some(*node) };
                let over = penalty.probing && (!cluster_wide || newest == Some(penalty.serial));
                running.push(PenaltyStatus {
                    flow: *flow,
                    flow_name: &found.name,
                    sink: *sink,
                    sink_name,
                    node: *node,
                    cluster_wide,
                    prober: prober.filter(|_| over),
                    penalty,
                });
            }
        }
        running
    }

    /// The buckets that are quarantined or have something pinned.
    pub fn stuck_buckets(&self) -> Vec<BucketStatus<'_>> {
        let mut stuck = Vec::new();
        for (lineage, found) in self.lineages() {
            for (group, ledger) in &found.ledgers {
                for (key, bucket) in &ledger.buckets {
                    let pinned = bucket.open.iter().any(|open| open.pinned);
                    if bucket.quarantine.is_none() && bucket.holes.is_empty() && !pinned {
                        continue;
                    }
                    stuck.push(BucketStatus {
                        lineage,
                        group: *group,
                        bucket: key,
                        quarantine: bucket.quarantine.as_deref(),
                        waiting: bucket.waiting(),
                    });
                }
            }
        }
        stuck
    }

    /// Whether the state is so full that holders should roll their oldest buckets, so that floors
    /// rise: at three quarters of its cap.
    pub fn crowded(&self) -> bool {
        self.size() >= STATE_BYTES_MAX / 4 * 3
    }
}
