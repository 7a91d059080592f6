//! The Raft node: applies what happens, hands on what is ready. Never waits.

mod committed;
mod members;
mod persist;
mod proposals;
mod ready;
mod snapshot;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::task::{Wake, Waker};
use std::time::Duration;

use protobuf::Message as _;
use raft::eraftpb::Message;
use raft::{Config, RawNode, SnapshotStatus, StateRole};
use sdk_flow::Clock;
use server_cluster::NodeId;
use tokio::sync::oneshot;
use tracing::{debug, warn};

pub use self::members::MemberChange;
use self::persist::Step;
use self::proposals::Waiting;
pub(crate) use self::proposals::{Barrier, Proposal};
pub(crate) use self::snapshot::{SnapshotWriter, Taken};
use crate::entries::Entries;
use crate::error::{Fatal, ProposeError};
use crate::journal::Journal;
use crate::limits::{
    APPLY_BYTES_MAX, MESSAGE_BYTES_MAX, MESSAGES_IN_FLIGHT_MAX, UNCOMMITTED_BYTES_MAX,
};
use crate::logger::logger;
use crate::options::RaftOptions;
use crate::shared::Shared;
use crate::status::{Role, Status};
use crate::transport::Transport;

/// Everything that can make a node do something, ticks apart.
pub(crate) enum Event {
    /// A command.
    Propose(Proposal),
    /// Other voters.
    ChangeMembers(Vec<MemberChange>, oneshot::Sender<Result<(), ProposeError>>),
    /// Let another lead.
    TransferLeader(NodeId),
    /// Tell when everything that was committed before is applied.
    Barrier(Barrier),
    /// From a peer.
    Message(Vec<u8>),
    /// A message did not reach a peer.
    Unreachable(NodeId),
    /// A snapshot reached a peer, or did not.
    SnapshotSent { to: NodeId, arrived: bool },
    /// A snapshot is on the disk, or is not.
    SnapshotWritten(std::io::Result<()>),
    /// A record may be on the disk.
    Woken,
    /// End.
    Stop,
}

/// The Raft node and what it has under way.
pub(crate) struct Node {
    raw: RawNode<Entries>,
    journal: Journal,
    shared: Arc<Shared>,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    /// What has to get to the disk, in order.
    steps: VecDeque<Step>,
    /// The disk had no room for the first of them.
    blocked: bool,
    /// Then the tick at which to try again.
    retry_tick: u64,
    waker: Waker,
    /// Proposals in the log, by index.
    waiting: BTreeMap<u64, Waiting>,
    /// Proposals and barriers that wait for a leader.
    queued: VecDeque<Proposal>,
    queued_barriers: Vec<Barrier>,
    /// Barriers by the number that Raft carries for them.
    barriers: BTreeMap<u64, Barrier>,
    barriers_issued: u64,
    /// Barriers that wait for an index to be applied.
    reached: Vec<(u64, Barrier)>,
    snapshots: SnapshotWriter,
    taken: Taken,
    /// Peers that a snapshot was sent to, and since when.
    sending: BTreeMap<NodeId, u64>,
    ticks: u64,
    slow: Duration,
    slow_said: Option<Duration>,
}

/// Wakes the node when a record is answered.
struct Bell(Sender<Event>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // Nobody listens any more: then nobody waits either.
        let _ = self.0.send(Event::Woken);
    }
}

/// What [`Node::new`] puts together, read from the disk.
pub(crate) struct Parts {
    pub(crate) entries: Entries,
    pub(crate) journal: Journal,
    pub(crate) shared: Arc<Shared>,
    pub(crate) snapshots: SnapshotWriter,
    /// The index and log offset of the snapshot it began with.
    pub(crate) taken: Taken,
    pub(crate) events: Sender<Event>,
}

impl Node {
    pub(crate) fn new(options: &RaftOptions, parts: Parts) -> Result<Node, raft::Error> {
        let Parts { entries, journal, shared, snapshots, taken, events } = parts;
        let config = Config {
            id: options.node,
            election_tick: options.election_ticks,
            heartbeat_tick: options.heartbeat_ticks,
            // What the snapshot has is applied, conf changes included; nothing else is.
            applied: entries.applied.index,
            max_size_per_msg: MESSAGE_BYTES_MAX,
            max_inflight_msgs: MESSAGES_IN_FLIGHT_MAX,
            check_quorum: true,
            pre_vote: true,
            max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
            max_committed_size_per_ready: APPLY_BYTES_MAX,
            ..Config::default()
        };
        config.validate()?;
        let alone = entries.conf_state.voters == [options.node];
        let mut raw = RawNode::new(&config, entries, &logger())?;
        if alone {
            // Nobody else could win, so there is nothing to wait for.
            raw.campaign()?;
        }
        let election = options.tick * u32::try_from(options.election_ticks).unwrap_or(u32::MAX);
        Ok(Node {
            raw,
            journal,
            shared,
            transport: Arc::clone(&options.transport),
            clock: Arc::clone(&options.clock),
            steps: VecDeque::new(),
            blocked: false,
            retry_tick: 0,
            waker: Waker::from(Arc::new(Bell(events))),
            waiting: BTreeMap::new(),
            queued: VecDeque::new(),
            queued_barriers: Vec::new(),
            barriers: BTreeMap::new(),
            barriers_issued: 0,
            reached: Vec::new(),
            snapshots,
            taken,
            sending: BTreeMap::new(),
            ticks: 0,
            slow: election / 10,
            slow_said: None,
        })
    }

    /// One unit of Raft's time has passed.
    pub(crate) fn tick(&mut self) -> Result<(), Fatal> {
        self.ticks += 1;
        self.raw.tick();
        self.retry_queued();
        self.doubt_snapshots();
        self.persist()?;
        self.consider_snapshot();
        Ok(())
    }

    /// Applies one event. What follows from it shows in [`Node::on_ready`].
    pub(crate) fn apply(&mut self, event: Event) -> Result<(), Fatal> {
        match event {
            Event::Propose(proposal) => self.propose(proposal),
            Event::ChangeMembers(changes, answer) => self.change_members(&changes, answer),
            Event::TransferLeader(to) => self.raw.transfer_leader(to),
            Event::Barrier(barrier) => self.barrier(barrier),
            Event::Message(bytes) => self.step(&bytes),
            Event::Unreachable(node) => self.raw.report_unreachable(node),
            Event::SnapshotSent { to, arrived } => {
                let status = if arrived { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
                self.raw.report_snapshot(to, status);
            }
            Event::SnapshotWritten(result) => self.snapshot_written(result)?,
            Event::Woken | Event::Stop => (),
        }
        Ok(())
    }

    fn step(&mut self, bytes: &[u8]) {
        self.shared.taken_message();
        let message = match Message::parse_from_bytes(bytes) {
            Ok(message) => message,
            Err(error) => return warn!(%error, "message from a peer cannot be read"),
        };
        let from = message.from;
        if let Err(error) = self.raw.step(message) {
            debug!(%error, from, "message from a peer was refused");
        }
    }

    fn leads(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    /// The leader, if it is another node.
    fn other_leader(&self) -> Option<NodeId> {
        let leader = self.raw.raft.leader_id;
        (leader != raft::INVALID_ID && leader != self.raw.raft.id).then_some(leader)
    }

    fn entries(&self) -> &Entries {
        self.raw.store()
    }

    /// Tells everybody how the node is doing, if that has changed.
    pub(crate) fn publish(&self) {
        let raft = &self.raw.raft;
        let conf_state = &self.entries().conf_state;
        let status = Status {
            node: raft.id,
            role: match raft.state {
                StateRole::Leader => Role::Leader,
                StateRole::Follower => Role::Follower,
                StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
            },
            leader: (raft.leader_id != raft::INVALID_ID).then_some(raft.leader_id),
            term: raft.term,
            voters: conf_state.voters.clone(),
            learners: conf_state.learners.clone(),
            snapshot: self.taken.index,
            entries: self.entries().len(),
            disk_full: self.blocked || self.taken.no_room,
        };
        self.shared.status.send_if_modified(|known| {
            let news = *known != status;
            if news {
                *known = status;
            }
            news
        });
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }
}
