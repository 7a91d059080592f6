//! A penalty's time is up.

use serde::{Deserialize, Serialize};

use super::reply::{Rejected, Reply, Verdict};
use crate::id::{FlowId, NodeId};
use crate::state::{NodeState, State};

/// Lets one node try a sink: proposed by the leader when the wait named by `serial` is over by its
/// own clock, and again when the prober has not reported for too long. While the penalty is the
/// cluster's, each probe goes to the next node that is up. Answers [`Reply::Done`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeSink {
    /// The flow.
    pub flow: FlowId,
    /// The sink's number.
    pub sink: u32,
    /// [`crate::state::Penalty::serial`].
    pub serial: u64,
}

impl ProbeSink {
    pub(crate) fn apply(self, state: &mut State) -> Reply {
        Reply::from_result(self.try_apply(state))
    }

    fn try_apply(self, state: &mut State) -> Verdict {
        let State { penalties, nodes, .. } = state;
        let health = penalties.get_mut(&(self.flow, self.sink)).ok_or(Rejected::Nothing)?;
        let up = nodes.iter().filter(|(_, node)| node.state == NodeState::Up);
        let up: Vec<NodeId> = up.map(|(id, _)| *id).collect();
        match health.probe(self.serial, &up) {
            true => Ok(Reply::Done),
            false => Err(Rejected::Nothing),
        }
    }
}
