//! Proposals and barriers, from their coming to their answer.

use raft::{ReadState, StateRole};
use server_cluster::Reply;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Node;
use crate::error::ProposeError;

/// A command on its way into the log.
pub(crate) struct Proposal {
    /// The encoded command.
    pub(crate) bytes: Vec<u8>,
    pub(crate) answer: oneshot::Sender<Result<Reply, ProposeError>>,
    /// Its place among those that wait; free again when it is dropped.
    pub(crate) permit: OwnedSemaphorePermit,
}

/// Who waits until everything committed so far is applied here.
pub(crate) type Barrier = oneshot::Sender<Result<u64, ProposeError>>;

/// A proposal in the log.
pub(super) struct Waiting {
    /// The term in which it was put there: an entry of another term is another proposal.
    pub(super) term: u64,
    pub(super) answer: Answer,
}

pub(super) enum Answer {
    Command(
        oneshot::Sender<Result<Reply, ProposeError>>,
        #[expect(dead_code, reason = "held")] OwnedSemaphorePermit,
    ),
    Members(oneshot::Sender<Result<(), ProposeError>>),
}

impl Answer {
    fn give(self, answer: Result<Reply, ProposeError>) {
        // Whoever asked may have gone.
        match self {
            Answer::Command(to, _) => drop(to.send(answer)),
            Answer::Members(to) => drop(to.send(answer.map(|_| ()))),
        }
    }
}

impl Node {
    pub(super) fn propose(&mut self, proposal: Proposal) {
        if proposal.answer.is_closed() {
            return;
        }
        if !self.leads() {
            match self.other_leader() {
                Some(leader) => {
                    let refused = Err(ProposeError::NotLeader { leader: Some(leader) });
                    drop(proposal.answer.send(refused));
                }
                None => self.queued.push_back(proposal),
            }
            return;
        }
        let Proposal { bytes, answer, permit } = proposal;
        // A log that cannot be written takes no more.
        if self.blocked || self.raw.propose(Vec::new(), bytes).is_err() {
            return drop(answer.send(Err(ProposeError::Busy)));
        }
        self.wait_for_last(Answer::Command(answer, permit));
    }

    /// Remembers who waits for the entry that was just put into the log.
    pub(super) fn wait_for_last(&mut self, answer: Answer) {
        let (index, term) = (self.raw.raft.raft_log.last_index(), self.raw.raft.term);
        self.waiting.insert(index, Waiting { term, answer });
    }

    /// The entry at `index` is applied.
    pub(super) fn answer(&mut self, index: u64, term: u64, answer: Result<Reply, ProposeError>) {
        let Some(waiting) = self.waiting.remove(&index) else { return };
        let same = waiting.term == term;
        waiting.answer.give(if same { answer } else { Err(ProposeError::Unknown) });
    }

    /// Does with those that wait for a leader what can be done now.
    pub(super) fn retry_queued(&mut self) {
        if !self.leads() {
            // Another may commit what is in the log here, or replace it.
            let waiting = std::mem::take(&mut self.waiting);
            waiting.into_values().for_each(|it| it.answer.give(Err(ProposeError::Unknown)));
        }
        let decided = self.leads() || self.other_leader().is_some();
        if decided {
            std::mem::take(&mut self.queued).into_iter().for_each(|it| self.propose(it));
        }
        self.queued.retain(|proposal| !proposal.answer.is_closed());
        std::mem::take(&mut self.queued_barriers).into_iter().for_each(|it| self.barrier(it));
        self.barriers.retain(|_, barrier| !barrier.is_closed());
    }

    pub(super) fn barrier(&mut self, barrier: Barrier) {
        if barrier.is_closed() {
            return;
        }
        // A leader that has committed nothing in its term does not know yet what is committed.
        let can = match self.raw.raft.state {
            StateRole::Leader => self.raw.raft.commit_to_current_term(),
            _ => self.other_leader().is_some(),
        };
        if !can {
            return self.queued_barriers.push(barrier);
        }
        self.barriers_issued += 1;
        self.raw.read_index(self.barriers_issued.to_le_bytes().to_vec());
        self.barriers.insert(self.barriers_issued, barrier);
    }

    /// Raft says up to where must be applied for which barrier.
    pub(super) fn answer_barriers(&mut self, states: Vec<ReadState>) {
        for ReadState { index, request_ctx } in states {
            let number = request_ctx.try_into().map(u64::from_le_bytes);
            let barrier = number.ok().and_then(|number| self.barriers.remove(&number));
            self.reached.extend(barrier.map(|barrier| (index, barrier)));
        }
        let applied = self.entries().applied.index;
        for (index, barrier) in std::mem::take(&mut self.reached) {
            if index <= applied {
                drop(barrier.send(Ok(applied)));
            } else {
                self.reached.push((index, barrier));
            }
        }
    }
}
