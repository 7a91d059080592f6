//! The way to the other nodes.

use server_cluster::NodeId;

/// Carries messages between the Raft nodes of a cluster, as bytes that mean nothing to it.
///
/// Messages may be lost, repeated and reordered; Raft copes. What arrives at the other end goes into
/// [`crate::RaftHandle::step`] there.
pub trait Transport: Send + Sync {
    /// Sends a message, or drops it. Returns at once: it is called by the thread that ticks.
    fn send(&self, to: NodeId, message: Vec<u8>);
}

/// A cluster of one has nobody to talk to.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPeers;

impl Transport for NoPeers {
    fn send(&self, _to: NodeId, _message: Vec<u8>) {}
}
