//! A node joins.

use serde::{Deserialize, Serialize};

use super::check;
use super::reply::{Rejected, Reply, Verdict};
use crate::id::{DirectoryId, StartId};
use crate::limits::NODES_MAX;
use crate::state::{Cost, Node, NodeState, State};

/// Gives a data directory a node number. Asked again for the same directory, it answers the same
/// number. Answers [`Reply::Node`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddNode {
    /// The new node's data directory.
    pub directory: DirectoryId,
    /// Where it listens.
    pub addresses: Vec<(String, String)>,
    /// Its failure zone.
    pub zone: String,
    /// The highest feature level its program knows: at least the cluster's.
    pub features: u32,
}

impl AddNode {
    pub(crate) fn apply(self, state: &mut State) -> Reply {
        Reply::from_result(self.try_apply(state))
    }

    fn try_apply(self, state: &mut State) -> Verdict {
        check::addresses(&self.addresses, &self.zone)?;
        let known = state.nodes.iter().find(|(_, node)| node.directory == self.directory);
        if let Some((node, _)) = known {
            return Ok(Reply::Node { node: *node, incarnation: 0 });
        }
        if state.nodes.len() >= NODES_MAX {
            return Err(Rejected::Full);
        }
        if self.features < state.feature_level {
            return Err(Rejected::FeatureUnknown(self.features));
        }
        state.nodes_issued += 1;
        let node = Node {
            directory: self.directory,
            incarnation: 0,
            start: StartId([0; 16]),
            state: NodeState::Down,
            addresses: self.addresses,
            zone: self.zone,
            features: self.features,
        };
        state.size += node.cost();
        state.nodes.insert(state.nodes_issued, node);
        Ok(Reply::Node { node: state.nodes_issued, incarnation: 0 })
    }
}
