//! The first command of a cluster.

use serde::{Deserialize, Serialize};

use super::check;
use super::reply::{Rejected, Reply, Verdict};
use crate::id::{ClusterId, DirectoryId, StartId};
use crate::state::{Cost, Node, NodeState, State};

/// Makes the cluster, with its first node. Says the same twice without harm; another uuid is
/// refused. Answers [`Reply::Node`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitCluster {
    /// The cluster's uuid.
    pub cluster: ClusterId,
    /// The data directory of the first node, which becomes node 1.
    pub directory: DirectoryId,
    /// The highest feature level its program knows: the cluster's own from now on.
    pub features: u32,
}

impl InitCluster {
    pub(crate) fn apply(self, state: &mut State) -> Reply {
        Reply::from_result(self.try_apply(state))
    }

    fn try_apply(self, state: &mut State) -> Verdict {
        if let Some(cluster) = state.cluster {
            let same = cluster == self.cluster
                && state.nodes.get(&1).is_some_and(|node| node.directory == self.directory);
            return if same {
                Ok(Reply::Node { node: 1, incarnation: 0 })
            } else {
                Err(Rejected::Initialised)
            };
        }
        if self.features == 0 {
            return Err(check::invalid("feature levels begin at 1"));
        }
        state.cluster = Some(self.cluster);
        state.feature_level = self.features;
        let node = Node {
            directory: self.directory,
            incarnation: 0,
            start: StartId([0; 16]),
            state: NodeState::Down,
            addresses: Vec::new(),
            zone: String::new(),
            features: self.features,
        };
        state.size += node.cost();
        state.nodes.insert(1, node);
        state.nodes_issued = 1;
        Ok(Reply::Node { node: 1, incarnation: 0 })
    }
}
