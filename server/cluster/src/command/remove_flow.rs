//! A flow and everything it has.

use serde::{Deserialize, Serialize};

use super::reply::{Rejected, Reply, Verdict};
use crate::id::FlowId;
use crate::state::{Cost, State};

/// Removes a flow with its lineages, ledgers and books: what is not drained is given up, and nodes
/// delete it. Answers [`Reply::Done`], also when it is gone already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveFlow {
    /// The flow.
    pub flow: FlowId,
}

impl RemoveFlow {
    pub(crate) fn apply(self, state: &mut State) -> Reply {
        Reply::from_result(self.try_apply(state))
    }

    fn try_apply(self, state: &mut State) -> Verdict {
        // An id is the index of its creation, so one that was not reached yet was never given.
        if self.flow >= state.applied {
            return Err(Rejected::UnknownFlow(self.flow));
        }
        if let Some(flow) = state.flows.remove(&self.flow) {
            state.resize(flow.cost(), 0);
            state.forget_penalties();
        }
        Ok(Reply::Done)
    }
}
