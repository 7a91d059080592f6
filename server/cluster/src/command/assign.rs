//! Who drains.

use sdk_event::Lineage;
use serde::{Deserialize, Serialize};

use super::reply::{Rejected, Reply, Verdict};
use crate::id::{GroupNumber, NodeId};
use crate::state::State;

/// Moves the draining of one (sink group, lineage) to a node, or back to the shard's owner; never
/// moves the shard. Compare-and-set on the token: the node then acquires a fresh one, and that ends
/// the old. Answers [`Reply::Done`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assign {
    /// The lineage.
    #[serde(with = "crate::id::lineage")]
    pub lineage: Lineage,
    /// The sink group.
    pub group: GroupNumber,
    /// The newest token when that was decided.
    pub token: u64,
    /// Who drains from now on; `None` = the shard's owner.
    pub node: Option<NodeId>,
}

impl Assign {
    pub(crate) fn apply(self, state: &mut State) -> Reply {
        Reply::from_result(self.try_apply(state))
    }

    fn try_apply(self, state: &mut State) -> Verdict {
        if let Some(node) = self.node
            && !state.nodes.contains_key(&node)
        {
            return Err(Rejected::UnknownNode(node));
        }
        let epoch = state.epoch(self.lineage);
        let ledger = state.ledger_mut(self.lineage, self.group).ok_or(Rejected::Gone { epoch })?;
        if ledger.token != self.token {
            return Err(Rejected::OtherToken(ledger.token));
        }
        ledger.drainer = self.node;
        Ok(Reply::Done)
    }
}
