//! The nodes of the cluster.

use serde::{Deserialize, Serialize};

use super::size::{Cost, ENTRY};
use crate::id::{DirectoryId, StartId};

/// How a node is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NodeState {
    /// It answers.
    Up,
    /// It has not answered for a moment.
    Suspect,
    /// It has not answered for long enough to act on it, or was never up.
    Down,
    /// An operator moves everything away from it.
    Draining,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The data directory its number belongs to.
    pub directory: DirectoryId,
    /// Counts its process starts; 0 = never started since it was added.
    pub incarnation: u64,
    /// The start that the incarnation was given to.
    pub start: StartId,
    /// How it is doing.
    pub state: NodeState,
    /// Where it listens: name of the port (`ingest`, `peer`, `admin`) and address.
    pub addresses: Vec<(String, String)>,
    /// The failure zone it says it stands in; empty if none.
    pub zone: String,
    /// The highest feature level its program knows.
    pub features: u32,
}

impl Cost for Node {
    fn cost(&self) -> u64 {
        ENTRY + 64 + self.addresses.cost() + self.zone.cost()
    }
}
