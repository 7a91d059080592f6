//! Forget penalties.

use serde::{Deserialize, Serialize};

use super::reply::Reply;
use crate::id::FlowId;
use crate::state::{Cost, State};

/// An operator's word that sinks may be used again. Answers [`Reply::Done`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClearPenalties {
    /// Only this flow's.
    pub flow: Option<FlowId>,
    /// Only the sink of this number.
    pub sink: Option<u32>,
}

impl ClearPenalties {
    pub(crate) fn apply(self, state: &mut State) -> Reply {
        let State { penalties, size, .. } = state;
        penalties.retain(|(flow, sink), health| {
            let meant =
                self.flow.is_none_or(|it| it == *flow) && self.sink.is_none_or(|it| it == *sink);
            if meant {
                *size = size.saturating_sub(health.cost());
            }
            !meant
        });
        Reply::Done
    }
}
