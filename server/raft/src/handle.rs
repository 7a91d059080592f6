//! How everybody else talks to the Raft node.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::task::{Context, Poll};
use std::time::Duration;

use prometheus_client::registry::Registry;
use sdk_wal::{Log, Usage};
use server_cluster::codec::encode_command;
use server_cluster::{Command, NodeId, Reply, State};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::changes::Changes;
use crate::error::ProposeError;
use crate::limits::{MESSAGES_MAX, PROPOSAL_BYTES_MAX};
use crate::node::{Event, MemberChange, Proposal};
use crate::shared::Shared;
use crate::status::Status;

/// A handle on the Raft node. Clones are handles on the same one, which runs until it is stopped.
#[derive(Clone)]
pub struct RaftHandle {
    pub(crate) events: Sender<Event>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) room: Arc<Semaphore>,
    pub(crate) timeout: Duration,
    pub(crate) log: Log,
}

impl RaftHandle {
    /// Proposes a command, and returns its reply once it is committed and applied here.
    ///
    /// Waits while too many proposals wait, and while there is no leader. Dropping the future does
    /// not take the command back.
    pub async fn propose(&self, command: impl Into<Command>) -> Result<Reply, ProposeError> {
        let bytes = encode_command(&command.into());
        let answer = async {
            let room = Arc::clone(&self.room).acquire_owned().await;
            let permit = room.map_err(|_| self.dead())?;
            self.send(bytes, permit)?.await
        };
        // Without an answer nobody knows.
        tokio::time::timeout(self.timeout, answer).await.unwrap_or(Err(ProposeError::Unknown))
    }

    /// Hands a command to the node at once, in the order of the calls; the reply is to come. `Busy`
    /// when too many wait.
    pub fn submit(&self, command: impl Into<Command>) -> Result<Proposed, ProposeError> {
        let bytes = encode_command(&command.into());
        let room = Arc::clone(&self.room).try_acquire_owned();
        let permit = room.map_err(|_| ProposeError::Busy)?;
        self.send(bytes, permit)
    }

    fn send(
        &self,
        bytes: Vec<u8>,
        permit: tokio::sync::OwnedSemaphorePermit,
    ) -> Result<Proposed, ProposeError> {
        if bytes.len() > PROPOSAL_BYTES_MAX {
            let (bytes, bytes_max) = (bytes.len(), PROPOSAL_BYTES_MAX);
            return Err(ProposeError::TooLarge { bytes, bytes_max });
        }
        if self.shared.failure.borrow().is_some() {
            return Err(self.dead());
        }
        let (answer, reply) = oneshot::channel();
        let proposal = Proposal { bytes, answer, permit };
        self.events.send(Event::Propose(proposal)).map_err(|_| self.dead())?;
        Ok(Proposed { reply, shared: Arc::clone(&self.shared) })
    }

    /// Looks at the applied state. Hold it briefly: nothing is applied meanwhile.
    pub fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        self.shared.read(read)
    }

    /// Follows the index of the last applied entry: changes whenever something was applied. What a
    /// proposer was answered is in the state already.
    pub fn changes(&self) -> Changes {
        Changes::new(Arc::clone(&self.shared))
    }

    /// Follows how the node is doing.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.shared.status.subscribe()
    }

    /// Becomes the reason once the node is dead.
    pub fn failure(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.shared.failure.subscribe()
    }

    /// Returns once everything that was committed anywhere before the call is applied here, with the
    /// index up to which that is: what is read afterwards is linearizable.
    pub async fn barrier(&self) -> Result<u64, ProposeError> {
        let (answer, reached) = oneshot::channel();
        self.events.send(Event::Barrier(answer)).map_err(|_| self.dead())?;
        match tokio::time::timeout(self.timeout, reached).await {
            Ok(reached) => reached.unwrap_or_else(|_| Err(self.dead())),
            Err(_) => Err(ProposeError::Unknown),
        }
    }

    /// Changes who votes, in one step, and returns once that is applied here.
    pub async fn change_members(&self, changes: Vec<MemberChange>) -> Result<(), ProposeError> {
        let (answer, done) = oneshot::channel();
        self.events.send(Event::ChangeMembers(changes, answer)).map_err(|_| self.dead())?;
        match tokio::time::timeout(self.timeout, done).await {
            Ok(done) => done.unwrap_or_else(|_| Err(self.dead())),
            Err(_) => Err(ProposeError::Unknown),
        }
    }

    /// Asks another node to lead. Shows in [`RaftHandle::status`].
    pub fn transfer_leader(&self, to: NodeId) -> Result<(), ProposeError> {
        self.events.send(Event::TransferLeader(to)).map_err(|_| self.dead())
    }

    /// A message has come from a peer. Dropped when too many wait, as a network may.
    pub fn step(&self, message: Vec<u8>) {
        if self.shared.messages.fetch_add(1, Ordering::Relaxed) >= MESSAGES_MAX
            || self.events.send(Event::Message(message)).is_err()
        {
            self.shared.taken_message();
        }
    }

    /// A message did not reach a peer.
    pub fn report_unreachable(&self, node: NodeId) {
        let _ = self.events.send(Event::Unreachable(node));
    }

    /// A message with a snapshot has reached a peer, or has not. Without a word it counts as lost after
    /// a quarter of a minute.
    pub fn report_snapshot(&self, to: NodeId, arrived: bool) {
        let _ = self.events.send(Event::SnapshotSent { to, arrived });
    }

    /// What the log uses of the disk.
    pub fn usage(&self) -> Usage {
        self.log.usage()
    }

    /// Puts the metrics of its log into a registry.
    pub fn register(&self, registry: &mut Registry) {
        self.log.register(registry);
    }

    /// Ends the node. What waits is answered [`ProposeError::Dead`].
    pub fn stop(&self) {
        let _ = self.events.send(Event::Stop);
    }

    fn dead(&self) -> ProposeError {
        ProposeError::Dead { reason: self.shared.failure() }
    }
}

/// The reply to a command, to come.
#[must_use = "nothing is promised before this answers"]
pub struct Proposed {
    reply: oneshot::Receiver<Result<Reply, ProposeError>>,
    shared: Arc<Shared>,
}

impl Future for Proposed {
    type Output = Result<Reply, ProposeError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.reply).poll(context).map(|reply| {
            reply.unwrap_or_else(|_| Err(ProposeError::Dead { reason: self.shared.failure() }))
        })
    }
}
