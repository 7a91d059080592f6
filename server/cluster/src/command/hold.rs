//! A node holds a sealed lineage whole, or no longer.

use sdk_event::Lineage;
use serde::{Deserialize, Serialize};

use super::check;
use super::reply::{Rejected, Reply, Verdict};
use crate::id::NodeId;
use crate::state::{Cost, State};

/// States what a node holds, anew after each recovery. Says the same twice without harm. Answers
/// [`Reply::Done`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The node.
    pub node: NodeId,
    /// Its incarnation.
    pub incarnation: u64,
    /// The sealed lineage.
    #[serde(with = "crate::id::lineage")]
    pub lineage: Lineage,
    /// Whether it holds all of it, fsynced.
    pub whole: bool,
}

impl Hold {
    pub(crate) fn apply(self, state: &mut State) -> Reply {
        Reply::from_result(self.try_apply(state))
    }

    fn try_apply(self, state: &mut State) -> Verdict {
        check::incarnation(state, self.node, self.incarnation)?;
        let epoch = state.epoch(self.lineage);
        let lineage = state.lineage_mut(self.lineage).ok_or(Rejected::Gone { epoch })?;
        if lineage.sealed.is_none() {
            return Err(Rejected::NotSealed);
        }
        let before = lineage.cost();
        match self.whole {
            true => lineage.holders.insert(self.node),
            false => lineage.holders.remove(&self.node),
        };
        let after = lineage.cost();
        state.resize(before, after);
        Ok(Reply::Done)
    }
}
