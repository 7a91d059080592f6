//! The id of a root, the first time.

use sdk_config::ledger::Root;
use serde::{Deserialize, Serialize};

use super::check;
use super::reply::{Rejected, Reply, Verdict};
use crate::limits::ROOTS_MAX;
use crate::state::{Cost, State};

/// Records the id in a root's marker, which is durable there. If one is recorded already it stays.
/// Answers [`Reply::Root`] with the id that is recorded now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordRoot {
    /// The root.
    pub root: Root,
}

impl RecordRoot {
    pub(crate) fn apply(self, state: &mut State) -> Reply {
        Reply::from_result(self.try_apply(state))
    }

    fn try_apply(self, state: &mut State) -> Verdict {
        let Root { path, id } = self.root;
        check::path(&path)?;
        if let Some(recorded) = state.roots.get(&path) {
            return Ok(Reply::Root(*recorded));
        }
        let cost = path.cost() + 16;
        if state.roots.len() >= ROOTS_MAX || cost > state.room() {
            return Err(Rejected::Full);
        }
        state.roots.insert(path, id);
        state.size += cost;
        Ok(Reply::Root(id))
    }
}
