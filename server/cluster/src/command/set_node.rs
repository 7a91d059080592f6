//! How a node is doing.

use serde::{Deserialize, Serialize};

use super::check;
use super::reply::{Rejected, Reply, Verdict};
use crate::id::NodeId;
use crate::state::{NodeState, State};

/// Sets the state of a node, if its incarnation is still the one that was judged. Answers
/// [`Reply::Done`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetNode {
    /// The node.
    pub node: NodeId,
    /// The incarnation that was judged.
    pub incarnation: u64,
    /// How it is doing.
    pub state: NodeState,
}

impl SetNode {
    pub(crate) fn apply(self, state: &mut State) -> Reply {
        Reply::from_result(self.try_apply(state))
    }

    fn try_apply(self, state: &mut State) -> Verdict {
        check::incarnation(state, self.node, self.incarnation)?;
        let node = state.nodes.get_mut(&self.node).ok_or(Rejected::UnknownNode(self.node))?;
        node.state = self.state;
        Ok(Reply::Done)
    }
}
