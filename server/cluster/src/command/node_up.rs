//! A process has started.

use serde::{Deserialize, Serialize};

use super::check;
use super::reply::{Rejected, Reply, Verdict};
use crate::id::{DirectoryId, NodeId, StartId};
use crate::state::{Cost, NodeState, State};

/// Gives a process its incarnation: from then on nothing that an earlier process of the node
/// proposes is accepted. Asked again by the same start, it answers the same number. Answers
/// [`Reply::Node`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeUp {
    /// The node.
    pub node: NodeId,
    /// Its data directory.
    pub directory: DirectoryId,
    /// Drawn by the process when it started.
    pub start: StartId,
    /// Where it listens.
    pub addresses: Vec<(String, String)>,
    /// Its failure zone.
    pub zone: String,
    /// The highest feature level its program knows: at least the cluster's.
    pub features: u32,
}

impl NodeUp {
    pub(crate) fn apply(self, state: &mut State) -> Reply {
        Reply::from_result(self.try_apply(state))
    }

    fn try_apply(self, state: &mut State) -> Verdict {
        check::addresses(&self.addresses, &self.zone)?;
        let level = state.feature_level;
        let id = self.node;
        let node = state.nodes.get_mut(&id).ok_or(Rejected::UnknownNode(id))?;
        if node.directory != self.directory {
            return Err(Rejected::OtherDirectory { node: id });
        }
        if self.features < level {
            return Err(Rejected::FeatureUnknown(self.features));
        }
        let before = node.cost();
        if node.incarnation == 0 || node.start != self.start {
            node.incarnation += 1;
            node.start = self.start;
        }
        node.addresses = self.addresses;
        node.zone = self.zone;
        node.features = self.features;
        if node.state != NodeState::Draining {
            node.state = NodeState::Up;
        }
        let incarnation = node.incarnation;
        let after = node.cost();
        state.resize(before, after);
        Ok(Reply::Node { node: id, incarnation })
    }
}
