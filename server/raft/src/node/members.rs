//! Changes of who votes.

use raft::StateRole;
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2};
use server_cluster::NodeId;
use tokio::sync::oneshot;

use super::Node;
use super::proposals::Answer;
use crate::error::ProposeError;

/// One change of members. Several together take effect as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberChange {
    /// The node votes from now on.
    AddVoter(NodeId),
    /// The node follows, and does not vote.
    AddLearner(NodeId),
    /// The node is no member any more.
    Remove(NodeId),
}

impl Node {
    pub(super) fn change_members(
        &mut self,
        changes: &[MemberChange],
        answer: oneshot::Sender<Result<(), ProposeError>>,
    ) {
        if self.raw.raft.state != StateRole::Leader {
            let leader = self.other_leader();
            return drop(answer.send(Err(ProposeError::NotLeader { leader })));
        }
        let mut change = ConfChangeV2::default();
        for single in changes {
            let (kind, node) = match single {
                MemberChange::AddVoter(node) => (ConfChangeType::AddNode, *node),
                MemberChange::AddLearner(node) => (ConfChangeType::AddLearnerNode, *node),
                MemberChange::Remove(node) => (ConfChangeType::RemoveNode, *node),
            };
            let mut single = ConfChangeSingle::default();
            single.set_change_type(kind);
            single.node_id = node;
            change.mut_changes().push(single);
        }
        if self.blocked || self.raw.propose_conf_change(Vec::new(), change).is_err() {
            return drop(answer.send(Err(ProposeError::Busy)));
        }
        self.wait_for_last(Answer::Members(answer));
    }
}
