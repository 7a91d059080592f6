//! The id of a root that has been replaced.

use sdk_config::ledger::{Root, RootId};
use serde::{Deserialize, Serialize};

use super::reply::{Rejected, Reply, Verdict};
use crate::state::State;

/// An operator's word that a root with another marker is now the right one. Compare-and-set on the
/// id that was recorded. Holders stop there until they have shown the new id. Answers
/// [`Reply::Done`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdoptRoot {
    /// The root with its new id.
    pub root: Root,
    /// The id recorded so far.
    pub before: RootId,
}

impl AdoptRoot {
    pub(crate) fn apply(self, state: &mut State) -> Reply {
        Reply::from_result(self.try_apply(state))
    }

    fn try_apply(self, state: &mut State) -> Verdict {
        let recorded = state.roots.get_mut(&self.root.path).ok_or(Rejected::Nothing)?;
        if *recorded != self.before && *recorded != self.root.id {
            return Err(Rejected::OtherRoot(*recorded));
        }
        *recorded = self.root.id;
        Ok(Reply::Done)
    }
}
