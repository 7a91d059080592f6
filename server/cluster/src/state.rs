//! What the cluster knows.

mod book;
mod bucket;
mod flow;
mod ledger;
mod lineage;
mod node;
mod penalty;
mod plan;
mod size;

use std::collections::BTreeMap;

use sdk_config::ledger::RootId;
use sdk_event::Lineage;
use serde::{Deserialize, Serialize};

pub use self::book::Book;
pub use self::bucket::{Bucket, Open};
pub use self::flow::{BookKey, Flow, Group, Sink, SpecVersion};
pub(crate) use self::ledger::Roots;
pub use self::ledger::{Holder, Ledger};
pub use self::lineage::{LineageState, LostIds, LostRange, Opening, Shard};
pub use self::node::{Node, NodeState};
pub use self::penalty::{NodeHealth, Penalty, SinkHealth, Use};
pub use self::plan::{Plan, PlannedGroup};
pub(crate) use self::size::Cost;
use crate::command::{Command, Reply};
use crate::id::{ClusterId, FlowId, GroupNumber, NodeId};
use crate::limits::{STATE_BYTES_MAX, STATE_RESERVE_BYTES};

/// The whole replicated state. Changed by [`State::apply`] alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The index of the last applied entry.
    pub(crate) applied: u64,
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) feature_level: u32,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) nodes_issued: u64,
    pub(crate) flows: BTreeMap<FlowId, Flow>,
    /// Path to the id recorded for it.
    pub(crate) roots: BTreeMap<String, RootId>,
    pub(crate) penalties: BTreeMap<(FlowId, u32), SinkHealth>,
    pub(crate) tokens_issued: u64,
    /// What the parts that grow take, in bytes: see [`Cost`].
    #[serde(skip)]
    pub(crate) size: u64,
}

impl State {
    /// The state before the first command.
    pub fn new() -> State {
        State::default()
    }

    /// Applies the command that stands at `index` of the Raft log.
    ///
    /// Never fails and never panics, whatever the command: what makes no sense is refused in the
    /// reply. Applying an index twice changes nothing the second time; indexes without a command
    /// (elections, membership) are skipped over.
    pub fn apply(&mut self, index: u64, command: Command) -> Reply {
        if index <= self.applied {
            return Reply::Rejected(crate::Rejected::AppliedBefore);
        }
        self.applied = index;
        command.apply(self)
    }

    /// The index of the last applied command.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The cluster's uuid; `None` before the first command.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// What every node of the cluster understands.
    pub fn feature_level(&self) -> u32 {
        self.feature_level
    }

    /// What the state takes, in bytes, by its own reckoning.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Room for what makes the state grow.
    pub(crate) fn room(&self) -> u64 {
        STATE_BYTES_MAX.saturating_sub(self.size)
    }

    /// Room for what makes it smaller in the end.
    pub(crate) fn reserve(&self) -> u64 {
        (STATE_BYTES_MAX + STATE_RESERVE_BYTES).saturating_sub(self.size)
    }

    pub(crate) fn shard_mut(&mut self, flow: FlowId, shard: u32) -> Option<&mut Shard> {
        self.flows.get_mut(&flow)?.shards.get_mut(usize::try_from(shard).ok()?)
    }

    pub(crate) fn lineage_mut(&mut self, lineage: Lineage) -> Option<&mut LineageState> {
        self.shard_mut(lineage.flow, lineage.shard)?.lineages.get_mut(&lineage.epoch)
    }

    pub(crate) fn ledger_mut(
        &mut self,
        lineage: Lineage,
        group: GroupNumber,
    ) -> Option<&mut Ledger> {
        self.lineage_mut(lineage)?.ledgers.get_mut(&group)
    }

    /// Folds a lineage into the flow's books if it is sealed and drained, and with it the spec
    /// versions and penalties that nothing needs any more.
    pub(crate) fn retire(&mut self, lineage: Lineage) {
        let Some(flow) = self.flows.get_mut(&lineage.flow) else { return };
        let before = flow.cost();
        if flow.retire(lineage) {
            let after = self.flows[&lineage.flow].cost();
            self.resize(before, after);
            self.forget_penalties();
        }
    }

    /// Accounts for a part of the state that was `before` bytes and is now `after`.
    pub(crate) fn resize(&mut self, before: u64, after: u64) {
        self.size = self.size.saturating_sub(before).saturating_add(after);
    }

    /// Drops the penalties of sinks that no kept version of their flow has.
    pub(crate) fn forget_penalties(&mut self) {
        let State { penalties, flows, size, .. } = self;
        penalties.retain(|(flow, sink), health| {
            let kept = flows.get(flow).is_some_and(|flow| flow.has_sink(*sink));
            if !kept {
                *size = size.saturating_sub(health.cost());
            }
            kept
        });
    }
}
