//! Every node understands more now.

use serde::{Deserialize, Serialize};

use super::reply::{Rejected, Reply, Verdict};
use crate::state::State;

/// Raises the feature level to one that every node knows. It never falls. Answers [`Reply::Done`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaiseFeatures {
    /// The level.
    pub level: u32,
}

impl RaiseFeatures {
    pub(crate) fn apply(self, state: &mut State) -> Reply {
        Reply::from_result(self.try_apply(state))
    }

    fn try_apply(self, state: &mut State) -> Verdict {
        let known = state.nodes.values().map(|node| node.features).min().unwrap_or(0);
        if self.level > known {
            return Err(Rejected::FeatureUnknown(known));
        }
        state.feature_level = state.feature_level.max(self.level);
        Ok(Reply::Done)
    }
}
