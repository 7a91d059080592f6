//! How the Raft node is doing.

use server_cluster::NodeId;

/// What a node is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// It follows a leader, or waits for one.
    #[default]
    Follower,
    /// It asks for votes.
    Candidate,
    /// It leads.
    Leader,
}

/// How the Raft node is doing. Follow it with [`crate::RaftHandle::status`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// This node.
    pub node: NodeId,
    /// What it is.
    pub role: Role,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// The term.
    pub term: u64,
    /// Who votes.
    pub voters: Vec<NodeId>,
    /// Who learns.
    pub learners: Vec<NodeId>,
    /// The newest entry in a durable snapshot.
    pub snapshot: u64,
    /// Entries of the log that are in memory.
    pub entries: usize,
    /// Whether the disk has no room for the log or for a snapshot.
    pub disk_full: bool,
}
