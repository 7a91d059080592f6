//! What can go wrong, split by what the caller does next.

use std::path::PathBuf;
use std::sync::Arc;

use sdk_flow::code;
use server_cluster::NodeId;
use server_cluster::codec::DecodeError;

/// Why a Raft node did not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log did not open: locked, written by a newer release, or the disk failed.
    #[error("open the raft log")]
    Log(#[from] sdk_wal::OpenError),
    /// What is on the disk does not fit together. A node of several: remove its data directory and
    /// join anew. A cluster of one: restore a backup.
    #[error("the raft data in {} is damaged: {reason}", dir.display())]
    Damaged {
        /// The directory.
        dir: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// A file was written by a newer release, or is none of ours.
    #[error("{}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Why it was not read.
        #[source]
        source: DecodeError,
    },
    /// The disk failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The options make no sense.
    #[error("invalid raft options: {0}")]
    Options(String),
}

/// Why there is no answer to a proposal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nothing was proposed: another node leads. Propose there.
    #[error("another node leads ({leader:?})")]
    NotLeader {
        /// The leader, if one is known.
        leader: Option<NodeId>,
    },
    /// Nothing was proposed: too much waits, or there is no room on the disk. Try again later.
    #[error("the raft node is busy")]
    Busy,
    /// It may have been applied, or may still be: propose it again.
    #[error("it is unknown what became of the proposal")]
    Unknown,
    /// Nothing was proposed, and trying again cannot help.
    #[error("a proposal of {bytes} bytes is too large (at most {bytes_max})")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The longest.
        bytes_max: usize,
    },
    /// The node has ended; so must the process. What became of the proposal shows after a restart.
    #[error("the raft node is dead: {reason}")]
    Dead {
        /// Why it ended.
        reason: Arc<str>,
    },
}

/// Why a Raft node ended: the process has to end as well.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Fatal {
    /// A write or an fsync failed. Only a restart shows what is on the disk.
    #[error("the raft log is dead: {reason}")]
    Disk {
        /// What failed.
        reason: Arc<str>,
    },
    /// The log has an entry that this release cannot read.
    #[error("entry {index} of the raft log cannot be applied")]
    Entry {
        /// Its index.
        index: u64,
        /// Why not.
        #[source]
        source: DecodeError,
    },
    /// Raft found one of its invariants broken.
    #[error("raft failed: {reason}")]
    Raft {
        /// What it said.
        reason: Arc<str>,
    },
}

impl Fatal {
    /// What the process exits with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Fatal::Disk { .. } => code::LOG_DEAD,
            Fatal::Entry { .. } | Fatal::Raft { .. } => code::BAD,
        }
    }
}
