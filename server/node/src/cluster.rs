//! The control plane as this process uses it.

use sdk_flow::BoxError;
use server_cluster::{Command, NodeId, Rejected, Reply, State};
use server_raft::{Changes, ProposeError, RaftHandle};

/// The cluster's replicated state, and this process's place in it. Clones are one.
#[derive(Clone)]
pub(crate) struct Cluster {
    raft: RaftHandle,
    node: NodeId,
    incarnation: u64,
}

/// Why a proposal has no answer that helps.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    /// It is not known whether it was applied.
    #[error("the control plane does not answer")]
    Unavailable(#[source] ProposeError),
    /// It was applied and changed nothing.
    #[error("the cluster refused: {0}")]
    Rejected(Rejected),
    /// The reply belongs to another command: a bug.
    #[error("the cluster answered {0}, which is no answer to this")]
    Reply(String),
}

impl Cluster {
    /// The place of one process: `incarnation` is what its start was given.
    pub(crate) fn new(raft: RaftHandle, node: NodeId, incarnation: u64) -> Self {
        Self { raft, node, incarnation }
    }

    /// This node's number.
    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// This process's incarnation.
    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Proposes a command and waits until it is applied.
    pub(crate) async fn propose(&self, command: impl Into<Command>) -> Result<Reply, ClusterError> {
        match self.raft.propose(command).await {
            Ok(Reply::Rejected(rejected)) => Err(ClusterError::Rejected(rejected)),
            Ok(reply) => Ok(reply),
            Err(error) => Err(ClusterError::Unavailable(error)),
        }
    }

    /// Looks at the applied state. Short: applying waits meanwhile.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.raft.read(look)
    }

    /// Changes whenever something was applied.
    pub(crate) fn changes(&self) -> Changes {
        self.raft.changes()
    }

    /// The control plane itself, for its status.
    pub(crate) fn raft(&self) -> &RaftHandle {
        &self.raft
    }
}

impl ClusterError {
    pub(crate) fn unexpected(reply: &Reply) -> Self {
        Self::Reply(format!("{reply:?}"))
    }

    pub(crate) fn boxed(self) -> BoxError {
        Box::new(self)
    }
}
