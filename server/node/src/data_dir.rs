//! A node's data directory: what is where, and whose it is.
//!
//! ```text
//! collector.json   what this directory is: version, node, cluster
//! lock             held by the process that uses it
//! log/             the event log (the truth)
//! raft/            the Raft log and its snapshots
//! view/            what may be lost: emptied at every start
//! archive/         the files this node has finished
//! dead-letters/    what its own sources could not put
//! files/           the default flow's files, unless told otherwise
//! ```

use sdk_flow::Entropy;
use sdk_wal::{DirLock, LockOutcome, RealStorage, Storage as _};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What `collector.json` says first.
const MAGIC: &str = "collector data directory";
/// The newest layout this program knows.
const VERSION: u32 = 1;
const IDENTITY: &str = "collector.json";

/// A data directory that is ours, and nobody else's until the last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct DataDir {
    root: PathBuf,
    identity: Identity,
    _lock: Arc<DirLock>,
}

/// Who the directory belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    magic: String,
    version: u32,
    /// This directory: a node id is bound to it.
    pub(crate) directory: uuid::Uuid,
    /// The cluster that a first node founds.
    pub(crate) cluster: uuid::Uuid,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    /// The disk said no.
    #[error("cannot use the data directory {path}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        #[source]
        error: std::io::Error,
    },
    /// Another process uses it.
    #[error("the data directory {path} is in use by {holder}")]
    Locked {
        /// Where.
        path: PathBuf,
        /// Who, as it says itself.
        holder: String,
    },
    /// Something else stands there.
    #[error("{path} is not empty and holds no {IDENTITY}: choose another --data-dir")]
    Foreign {
        /// Where.
        path: PathBuf,
    },
    /// A later release made it.
    #[error("{path} has layout {found}, this program knows {VERSION}: run a later release")]
    Newer {
        /// Where.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
    /// It says something that no release writes.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl DataDir {
    /// Opens a directory that is ours, or makes an empty one ours. When this returns, its identity is durable,
    /// and no other process touches anything in it.
    pub(crate) fn open(root: &Path, entropy: &dyn Entropy) -> Result<Self, DataDirError> {
        let io = |error| DataDirError::Io { path: root.to_owned(), error };
        std::fs::create_dir_all(root).map_err(io)?;
        let root = root.canonicalize().map_err(io)?;
        let path = root.join(IDENTITY);
        // An empty one may become ours; what is somebody else's is not even locked.
        if !path.exists() {
            refuse_foreign(&root)?;
        }
        let holder = format!("process {}", std::process::id());
        let lock = match RealStorage.lock_dir(&root, &holder).map_err(io)? {
            LockOutcome::Held(lock) => Arc::new(lock),
            LockOutcome::Busy(holder) => return Err(DataDirError::Locked { path: root, holder }),
        };
        let identity = match std::fs::read(&path) {
            Ok(bytes) => read_identity(&path, &bytes)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let identity = Identity {
                    magic: MAGIC.to_owned(),
                    version: VERSION,
                    directory: uuid(entropy),
                    cluster: uuid(entropy),
                };
                write_identity(&root, &identity).map_err(io)?;
                identity
            }
            Err(error) => return Err(io(error)),
        };
        Ok(Self { root, identity, _lock: lock })
    }

    /// Whose it is.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The event log.
    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The Raft log and its snapshots.
    pub(crate) fn raft(&self) -> PathBuf {
        self.root.join("raft")
    }

    /// What may be lost.
    pub(crate) fn view(&self) -> PathBuf {
        self.root.join("view")
    }

    /// What the node's own sources could not put.
    pub(crate) fn dead_letters(&self) -> PathBuf {
        self.root.join("dead-letters")
    }

    /// The files this node has finished.
    pub(crate) fn archive(&self) -> PathBuf {
        self.root.join("archive")
    }
}

fn uuid(entropy: &dyn Entropy) -> uuid::Uuid {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

fn read_identity(path: &Path, bytes: &[u8]) -> Result<Identity, DataDirError> {
    let damaged = |reason: String| DataDirError::Damaged { path: path.to_owned(), reason };
    let value: serde_json::Value =
        serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    if value["magic"] != MAGIC {
        return Err(damaged(format!("`magic` is not \"{MAGIC}\"")));
    }
    let found = value["version"].as_u64().and_then(|version| u32::try_from(version).ok());
    match found {
        Some(found) if found > VERSION => Err(DataDirError::Newer { path: path.to_owned(), found }),
        Some(_) => serde_json::from_value(value).map_err(|error| damaged(error.to_string())),
        None => Err(damaged("`version` is not a number".to_owned())),
    }
}

/// An empty directory may become ours, also one in which an earlier start got no further, or whose
/// files were put there first.
fn refuse_foreign(root: &Path) -> Result<(), DataDirError> {
    let io = |error| DataDirError::Io { path: root.to_owned(), error };
    for entry in std::fs::read_dir(root).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let known = name.to_str().is_some_and(|name| {
            ["files", "lock", "lost+found"].contains(&name)
                || name.starts_with(IDENTITY)
                || name.starts_with('.')
        });
        if !known {
            return Err(DataDirError::Foreign { path: root.to_owned() });
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "written once, before there is a log")]
fn write_identity(root: &Path, identity: &Identity) -> std::io::Result<()> {
    use std::io::Write;
    let aside = root.join(format!("{IDENTITY}.new"));
    let mut file = std::fs::File::create(&aside)?;
    file.write_all(&serde_json::to_vec_pretty(identity)?)?;
    file.sync_all()?;
    std::fs::rename(&aside, root.join(IDENTITY))?;
    std::fs::File::open(root)?.sync_all()?;
    // The directory's own entry must be durable too, or all of it may vanish.
    match root.parent() {
        Some(parent) => std::fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sdk_flow::SystemEntropy;

    #[test]
    fn it_is_the_same_directory_the_next_time() {
        let folder = tempfile::tempdir().unwrap();
        let open = || DataDir::open(&folder.path().join("new"), &SystemEntropy);
        let first = open().unwrap().identity().clone();
        assert_eq!(first, *open().unwrap().identity());
    }

    #[test]
    fn nobody_else_touches_it_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let held = DataDir::open(folder.path(), &SystemEntropy).unwrap();
        let error = DataDir::open(folder.path(), &SystemEntropy).unwrap_err();
        assert!(error.to_string().contains("in use by process"), "{error}");
        drop(held);
        DataDir::open(folder.path(), &SystemEntropy).unwrap();
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("somebody-else")).unwrap();
        let error = DataDir::open(folder.path(), &SystemEntropy).unwrap_err();
        assert!(matches!(error, DataDirError::Foreign { .. }), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_newer_layout_is_refused_in_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        DataDir::open(folder.path(), &SystemEntropy).unwrap();
        let path = folder.path().join(IDENTITY);
        let text = std::fs::read_to_string(&path).unwrap();
        #[expect(clippy::disallowed_methods, reason = "plays a later release")]
        std::fs::write(&path, text.replace("\"version\": 1", "\"version\": 2")).unwrap();
        let error = DataDir::open(folder.path(), &SystemEntropy).unwrap_err();
        assert!(error.to_string().contains("run a later release"), "{error}");
    }
}
