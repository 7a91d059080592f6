//! The directory of an edge: whose it is, and the number of each flow in its log.
//!
//! ```text
//! edge.json      what this directory is: version, the flows' numbers
//! lock           held for as long as a process uses it
//! log/           the spool
//! dead-letters/  what could not be put or delivered, as JSON lines
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sdk_wal::{DirLock, LockOutcome, Storage, read_exact_at, write_all_at};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::EdgeError;

/// What `edge.json` says first.
const MAGIC: &str = "collector edge directory";
/// The newest layout this program knows.
const VERSION: u32 = 1;
const IDENTITY: &str = "edge.json";
const IDENTITY_ASIDE: &str = "edge.json.new";
/// More would be no identity of ours.
const IDENTITY_BYTES_MAX: u64 = 1 << 20;
const LOCK: &str = "lock";
/// What the log had of those given up longer ago it has freed since.
const GIVEN_UP_MAX: usize = 1_000;

/// A directory that is ours, locked until dropped.
pub(crate) struct DataDir {
    root: PathBuf,
    identity: Identity,
    _lock: DirLock,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    magic: String,
    version: u32,
    /// Flows are numbered in the log, from 1; a name keeps its number.
    flows: BTreeMap<String, u64>,
    /// Numbers of flows that were given up. What the log has of them is void.
    given_up: BTreeSet<u64>,
}

impl DataDir {
    /// Opens a directory that is ours, or makes an empty one ours, and numbers
    /// flows that are new in it. With `discard`, flows that are not among them are
    /// given up. Blocks.
    pub(crate) fn open(
        root: &Path,
        storage: &Arc<dyn Storage>,
        flows: &[String],
        discard: bool,
    ) -> Result<DataDir, EdgeError> {
        let failed = |error| EdgeError::DataDir { path: root.to_owned(), error };
        storage.create_dir_all(root).map_err(failed)?;
        let holder = format!("process {}", std::process::id());
        let lock = match storage.lock_dir(root, &holder).map_err(failed)? {
            LockOutcome::Held(lock) => lock,
            LockOutcome::Busy(holder) => {
                return Err(EdgeError::Locked { path: root.to_owned(), holder });
            }
        };
        let known = read(root, &**storage)?;
        let mut identity = known.clone().unwrap_or_else(Identity::new);
        if discard {
            identity.give_up(flows);
        }
        for flow in flows {
            let next = identity.next_number();
            identity.flows.entry(flow.clone()).or_insert(next);
        }
        if known.as_ref() != Some(&identity) {
            write(root, &**storage, &identity).map_err(failed)?;
        }
        Ok(DataDir { root: root.to_owned(), identity, _lock: lock })
    }

    /// The number of a flow that [`DataDir::open`] was given, or an earlier one.
    pub(crate) fn number(&self, flow: &str) -> u64 {
        self.identity.flows.get(flow).copied().expect("every flow was numbered")
    }

    /// Whether the flow with this number was given up.
    pub(crate) fn is_given_up(&self, number: u64) -> bool {
        self.identity.given_up.contains(&number)
    }

    /// The name of the flow with this number.
    pub(crate) fn name(&self, number: u64) -> Option<&str> {
        let mut flows = self.identity.flows.iter();
        flows.find(|(_, known)| **known == number).map(|(name, _)| name.as_str())
    }

    /// The spool.
    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// What could not be put or delivered.
    pub(crate) fn dead_letters(&self) -> PathBuf {
        self.root.join("dead-letters")
    }
}

impl Identity {
    fn new() -> Identity {
        let (flows, given_up) = (BTreeMap::new(), BTreeSet::new());
        Identity { magic: MAGIC.to_owned(), version: VERSION, flows, given_up }
    }

    /// A number that no flow ever had here.
    fn next_number(&self) -> u64 {
        let last = self.flows.values().chain(&self.given_up).max();
        last.map_or(1, |last| last + 1)
    }

    /// Should such a flow come back, it is a new one.
    fn give_up(&mut self, known: &[String]) {
        let gone = self.flows.extract_if(.., |name, _| !known.contains(name));
        for (flow, number) in gone {
            warn!(flow, "gave up what the spool had of a flow that is no longer there");
            self.given_up.insert(number);
        }
        while self.given_up.len() > GIVEN_UP_MAX {
            self.given_up.pop_first();
        }
    }
}

fn read(root: &Path, storage: &dyn Storage) -> Result<Option<Identity>, EdgeError> {
    let failed = |error| EdgeError::DataDir { path: root.to_owned(), error };
    let files = storage.list(root).map_err(failed)?;
    let Some(entry) = files.iter().find(|file| file.name == IDENTITY) else {
        // An earlier start may have got no further than this.
        let ours = |name: &str| name == LOCK || name == IDENTITY_ASIDE || name.starts_with('.');
        return match files.iter().find(|file| !ours(&file.name)) {
            Some(file) => {
                Err(EdgeError::Foreign { path: root.to_owned(), found: file.name.clone() })
            }
            None => Ok(None),
        };
    };
    let path = root.join(IDENTITY);
    let damaged = |reason: String| EdgeError::Damaged { path: path.clone(), reason };
    if entry.length > IDENTITY_BYTES_MAX {
        return Err(damaged(format!("it has {} bytes", entry.length)));
    }
    let file = storage.open(&path, true).map_err(failed)?;
    let bytes = read_exact_at(&*file, entry.length as usize, 0).map_err(failed)?;
    let value: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if value["magic"] != MAGIC {
        return Err(damaged(format!("`magic` is not \"{MAGIC}\"")));
    }
    match value["version"].as_u64() {
        Some(found) if found > u64::from(VERSION) => {
            Err(EdgeError::Newer { path: path.clone(), found, known: VERSION })
        }
        Some(_) => {
            serde_json::from_value(value).map(Some).map_err(|error| damaged(error.to_string()))
        }
        None => Err(damaged("`version` is not a number".to_owned())),
    }
}

/// When this returns the identity is durable, and there is never half of one.
fn write(root: &Path, storage: &dyn Storage, identity: &Identity) -> io::Result<()> {
    let aside = root.join(IDENTITY_ASIDE);
    match storage.remove(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => (),
    }
    let bytes = serde_json::to_vec_pretty(identity)?;
    let file = storage.create(&aside)?;
    write_all_at(&*file, &mut [IoSlice::new(&bytes)], 0)?;
    file.sync_all()?;
    storage.rename(&aside, &root.join(IDENTITY))?;
    storage.sync_dir(root)
}
