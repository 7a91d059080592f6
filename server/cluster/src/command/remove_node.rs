//! A node leaves for good.

use serde::{Deserialize, Serialize};

use super::reply::{Rejected, Reply, Verdict};
use crate::id::NodeId;
use crate::state::{Cost, Flow, State};

/// Forgets a node that keeps no copy of anything. Its number is never used again. Answers
/// [`Reply::Done`], also when it is gone already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveNode {
    /// The node.
    pub node: NodeId,
}

impl RemoveNode {
    pub(crate) fn apply(self, state: &mut State) -> Reply {
        Reply::from_result(self.try_apply(state))
    }

    fn try_apply(self, state: &mut State) -> Verdict {
        if self.node == 0 || self.node > state.nodes_issued {
            return Err(Rejected::UnknownNode(self.node));
        }
        if state.flows.values().any(|flow: &Flow| flow.involves(self.node)) {
            return Err(Rejected::NodeInUse(self.node));
        }
        if let Some(node) = state.nodes.remove(&self.node) {
            state.resize(node.cost(), 0);
        }
        let State { penalties, size, .. } = state;
        penalties.retain(|_, health| {
            let before = health.cost();
            health.nodes.remove(&self.node);
            let after = if health.nodes.is_empty() { 0 } else { health.cost() };
            *size = size.saturating_sub(before).saturating_add(after);
            after > 0
        });
        Ok(Reply::Done)
    }
}
