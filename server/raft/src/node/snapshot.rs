//! Snapshots: when to take one, and what happens when one is on the disk.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};

use raft::eraftpb::Snapshot;
use raft::{ProgressState, SnapshotStatus};
use sdk_wal::is_full;
use server_cluster::NodeId;
use server_cluster::codec::{decode_snapshot, encode_snapshot};
use tracing::{info, warn};

use super::{Event, Node};
use crate::entries::Place;
use crate::error::Fatal;
use crate::limits::{SNAPSHOT_RETRY_TICKS, SNAPSHOT_SENT_TICKS};
use crate::options::RaftOptions;
use crate::snapshots::{SnapshotFile, Snapshots};

/// The newest durable snapshot, and what has come since.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) index: u64,
    /// Where the log has to begin for it.
    pub(crate) log_from: u64,
    /// Bytes of entries applied since.
    pub(crate) bytes: u64,
    /// Take one after so many entries, or bytes.
    pub(crate) entries_max: u64,
    pub(crate) bytes_max: u64,
    /// The disk had no room for the last one.
    pub(crate) no_room: bool,
    /// Not before this tick.
    pub(crate) not_before: u64,
}

/// What is being written.
struct Writing {
    file: SnapshotFile,
    /// From a leader, rather than of our own state.
    received: bool,
}

/// Writes snapshots one after the other, on a thread of its own if there are threads.
pub(crate) struct SnapshotWriter {
    snapshots: Snapshots,
    events: Sender<Event>,
    thread: Option<Sender<SnapshotFile>>,
    writing: VecDeque<Writing>,
}

impl SnapshotWriter {
    pub(crate) fn new(
        options: &RaftOptions,
        snapshots: Snapshots,
        events: Sender<Event>,
    ) -> io::Result<SnapshotWriter> {
        let mut thread = None;
        if options.threads {
            let (files, queue) = channel();
            let (snapshots, events) = (snapshots.clone(), events.clone());
            let builder = std::thread::Builder::new().name("raft-snapshot".to_owned());
            builder.spawn(move || write_all(&snapshots, &queue, &events))?;
            thread = Some(files);
        }
        Ok(SnapshotWriter { snapshots, events, thread, writing: VecDeque::new() })
    }

    /// Writes a snapshot that was received.
    pub(super) fn write(&mut self, file: SnapshotFile) {
        self.start(file, true);
    }

    fn start(&mut self, file: SnapshotFile, received: bool) {
        // Kept for its numbers, and to be tried again if a received one did not fit.
        self.writing.push_back(Writing { file: file.clone(), received });
        match &self.thread {
            // A thread that is gone has panicked; nothing is answered then, and nothing lost.
            Some(thread) => drop(thread.send(file)),
            None => drop(self.events.send(Event::SnapshotWritten(self.snapshots.write(&file)))),
        }
    }
}

fn write_all(snapshots: &Snapshots, queue: &Receiver<SnapshotFile>, events: &Sender<Event>) {
    for file in queue {
        if events.send(Event::SnapshotWritten(snapshots.write(&file))).is_err() {
            break;
        }
    }
}

impl Node {
    /// Takes a snapshot if enough has been applied since the last.
    pub(super) fn consider_snapshot(&mut self) {
        let applied = self.entries().applied;
        let entries = applied.index - self.taken.index;
        let due = entries >= self.taken.entries_max || self.taken.bytes >= self.taken.bytes_max;
        // A log without room wants to be cut, whatever is due.
        let wanted = due || (self.blocked && entries > 0);
        let busy = !self.snapshots.writing.is_empty();
        if !wanted || busy || self.ticks < self.taken.not_before {
            return;
        }
        self.taken.bytes = 0;
        let file = SnapshotFile {
            place: applied,
            conf_state: self.entries().conf_state.clone(),
            hard_state: self.journal.durable_state().clone(),
            log_from: self.journal.needed_after(applied.index),
            // Encoded here, where nothing is applied meanwhile.
            state: self.shared.read(encode_snapshot),
        };
        self.snapshots.start(file, false);
    }

    /// Takes back snapshots that a peer has not answered for long: Raft waits for them for ever, and
    /// the transport may not know that one was lost.
    pub(super) fn doubt_snapshots(&mut self) {
        let (ticks, sending) = (self.ticks, &mut self.sending);
        let peers = self.raw.raft.prs().iter();
        let now: BTreeSet<NodeId> = peers
            .filter(|(_, progress)| progress.state == ProgressState::Snapshot)
            .map(|(node, _)| *node)
            .collect();
        sending.retain(|node, _| now.contains(node));
        for node in now {
            sending.entry(node).or_insert(ticks);
        }
        let old = |(_, since): &(&NodeId, &u64)| ticks - **since >= SNAPSHOT_SENT_TICKS;
        let doubted: Vec<NodeId> = sending.iter().filter(old).map(|(node, _)| *node).collect();
        for node in doubted {
            self.sending.remove(&node);
            self.raw.report_snapshot(node, SnapshotStatus::Failure);
        }
    }

    /// A snapshot came from the leader: the state is what it says.
    pub(super) fn install(&mut self, snapshot: &Snapshot) -> Result<SnapshotFile, Fatal> {
        let metadata = snapshot.get_metadata();
        let place = Place::from(metadata);
        let index = place.index;
        let state =
            decode_snapshot(&snapshot.data).map_err(|source| Fatal::Entry { index, source })?;
        let conf_state = metadata.get_conf_state().clone();
        self.raw.mut_store().restart(place, conf_state.clone());
        self.shared.replace(state, index);
        info!(index, term = place.term, "state received from the leader");
        Ok(SnapshotFile {
            place,
            conf_state,
            // These two are known when it is its turn to be written.
            hard_state: self.journal.durable_state().clone(),
            log_from: 0,
            state: snapshot.data.to_vec(),
        })
    }

    pub(super) fn snapshot_written(&mut self, result: io::Result<()>) -> Result<(), Fatal> {
        let Some(Writing { file, received }) = self.snapshots.writing.pop_front() else {
            return Ok(());
        };
        self.taken.not_before = self.ticks;
        self.taken.no_room = result.as_ref().is_err_and(is_full);
        match result {
            Ok(()) => (),
            Err(error) if is_full(&error) && !received => {
                warn!(%error, "no room for a snapshot, will retry");
                self.taken.not_before = self.ticks + SNAPSHOT_RETRY_TICKS;
                // What was counted is due still.
                self.taken.bytes = self.taken.bytes_max;
                return Ok(());
            }
            Err(error) => {
                return Err(Fatal::Disk { reason: format!("write a snapshot: {error}").into() });
            }
        }
        // The one before is kept, and the log from where that one needs it.
        self.journal.cut(self.taken.log_from.min(file.log_from));
        self.taken.index = file.place.index;
        self.taken.log_from = file.log_from;
        self.raw.mut_store().compact(file.place.index);
        if received {
            self.received_is_written();
        }
        self.persist()
    }
}
