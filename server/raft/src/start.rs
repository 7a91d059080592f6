//! From the disk to a running node.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use raft::eraftpb::{ConfState, HardState};
use sdk_flow::Tasks;
use server_cluster::State;
use server_cluster::codec::{decode_snapshot, encode_snapshot};
use tokio::sync::{Semaphore, oneshot};
use tracing::{error, info};

use crate::driver::Driver;
use crate::entries::{Entries, Place};
use crate::error::{Fatal, OpenError};
use crate::handle::RaftHandle;
use crate::journal::Journal;
use crate::limits::PROPOSALS_MAX;
use crate::node::{Node, Parts, SnapshotWriter, Taken};
use crate::options::RaftOptions;
use crate::shared::Shared;
use crate::snapshots::{Found, SnapshotFile, Snapshots};

/// Where a log begins whose first voters are given: so a snapshot is never at index 0, which means
/// "none" to raft-rs.
const FIRST: Place = Place { index: 1, term: 1 };
/// The thread looks at least so often whether it is time to tick.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// The Raft node of this process.
pub struct Raft;

impl Raft {
    /// Reads what is on the disk and starts the node on a thread of its own.
    ///
    /// The task `raft` stands for it: it ends the node when the tasks are stopped, and fails with a
    /// [`Fatal`] when the node has ended by itself, so that the process can end.
    pub fn start(options: RaftOptions, tasks: &Tasks) -> Result<RaftHandle, OpenError> {
        let dir = options.dir.clone();
        let (handle, driver) = Raft::open(RaftOptions { threads: true, ..options })?;
        let (ended, end) = oneshot::channel();
        let builder = std::thread::Builder::new().name("raft".to_owned());
        let thread = builder.spawn(move || drop(ended.send(run(driver))));
        thread.map_err(io_error("start a thread for", &dir))?;
        let stopping = handle.clone();
        tasks.start("raft", |stop| async move {
            let mut end = end;
            tokio::select! {
                () = stop.cancelled() => stopping.stop(),
                ended = &mut end => return ended.unwrap_or(Ok(())),
            }
            end.await.unwrap_or(Ok(()))
        });
        Ok(handle)
    }

    /// Reads what is on the disk. Nothing happens until the driver is turned.
    pub fn open(options: RaftOptions) -> Result<(RaftHandle, Driver), OpenError> {
        if options.node == 0 {
            return Err(OpenError::Options("node numbers begin at 1".to_owned()));
        }
        let mut journal = Journal::open(&options)?;
        let snapshots = Snapshots::new(&options.dir, Arc::clone(&options.storage));
        let found = match snapshots.load()? {
            Some(found) => found,
            None if journal.is_empty() => begin(&options, &snapshots)?,
            None => {
                let reason = "there is a log and no snapshot".to_owned();
                return Err(OpenError::Damaged { dir: options.dir, reason });
            }
        };
        let Found { newest, log_from } = found;
        let SnapshotFile { place, conf_state, hard_state, log_from: from, state } = newest;
        let state = decode_snapshot(&state)
            .map_err(|source| OpenError::Format { path: options.dir.join("snapshots"), source })?;
        let shared = Arc::new(Shared::new(state, place.index));
        let mut entries = Entries::new(place, conf_state, Arc::clone(&shared));
        journal.replay(from, hard_state, &mut entries, &options.dir)?;
        journal.cut(log_from);
        info!(
            node = options.node,
            snapshot = place.index,
            entries = entries.len(),
            term = entries.hard_state.term,
            "raft log read"
        );

        let (events, queue) = channel();
        let writer = SnapshotWriter::new(&options, snapshots, events.clone());
        let writer = writer.map_err(io_error("start a thread for", &options.dir))?;
        let handle = RaftHandle {
            events: events.clone(),
            shared: Arc::clone(&shared),
            room: Arc::new(Semaphore::new(PROPOSALS_MAX)),
            timeout: options.propose_timeout,
            log: journal.log().clone(),
        };
        let taken = Taken {
            index: place.index,
            log_from: from,
            entries_max: options.snapshot_entries.max(1),
            bytes_max: options.snapshot_bytes.max(1),
            ..Taken::default()
        };
        let parts = Parts { entries, journal, shared, snapshots: writer, taken, events };
        let node =
            Node::new(&options, parts).map_err(|error| OpenError::Options(error.to_string()))?;
        node.publish();
        let driver = Driver::new(node, queue, Arc::clone(&options.clock), options.tick);
        Ok((handle, driver))
    }
}

/// The first snapshot of an empty directory: the empty state and who votes.
fn begin(options: &RaftOptions, snapshots: &Snapshots) -> Result<Found, OpenError> {
    let Some(voters) = &options.bootstrap else {
        // Not a member yet: the leader sends everything.
        let newest = SnapshotFile {
            place: Place::default(),
            conf_state: ConfState::default(),
            hard_state: HardState::default(),
            log_from: 0,
            state: encode_snapshot(&State::new()),
        };
        return Ok(Found { newest, log_from: 0 });
    };
    if !voters.contains(&options.node) {
        return Err(OpenError::Options("the first voters do not include this node".to_owned()));
    }
    let newest = SnapshotFile {
        place: FIRST,
        conf_state: ConfState { voters: voters.clone(), ..ConfState::default() },
        hard_state: HardState { term: FIRST.term, commit: FIRST.index, ..HardState::default() },
        log_from: 0,
        state: encode_snapshot(&State::new()),
    };
    snapshots.write(&newest).map_err(io_error("write the first snapshot in", &options.dir))?;
    Ok(Found { newest, log_from: 0 })
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { action, path, source }
}

/// Turns the driver until it is told to stop or something is fatal, a panic of raft-rs included.
fn run(mut driver: Driver) -> Result<(), Fatal> {
    let turned = catch_unwind(AssertUnwindSafe(|| {
        while driver.turn(WAIT_MAX)? {}
        Ok(())
    }));
    let ended = turned.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<&str>().map(|said| (*said).to_owned());
        let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Fatal::Raft { reason: said.unwrap_or_else(|| "it panicked".to_owned()).into() })
    });
    if let Err(fatal) = &ended {
        error!(error = %fatal, "raft node ends");
        // Before those who wait find out that nobody answers.
        driver.node().shared().failed(fatal);
    }
    driver.node().journal().stop();
    ended
}
