//! What can go wrong, split by what the caller does next.

use crate::quarantine::Quarantined;
use crate::usage::Mark;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why a log did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it: end that one first.
    #[error("log directory {} is locked by {holder}", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// Who holds it, as far as it said.
        holder: String,
    },
    /// The directory holds something that this version does not understand.
    #[error("{} was written by a newer version ({found}, this program reads up to {known}): upgrade it", file.display())]
    Newer {
        /// The file.
        file: PathBuf,
        /// The version in the file.
        found: u16,
        /// The highest version known here.
        known: u16,
    },
    /// The options make no sense together.
    #[error("{reason}")]
    Options {
        /// Which, and what to do.
        reason: String,
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
        source: io::Error,
    },
}

/// Why a record was not appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Nothing was written; wait for room and try again.
    #[error("log is full: {reason}")]
    Full {
        /// What is used up.
        reason: FullReason,
    },
    /// The log failed and takes nothing more. Whether the record is in it shows after the next recovery.
    #[error("log is dead: {reason}")]
    Dead {
        /// What failed.
        reason: Arc<str>,
    },
    /// Nothing was written: the record is not the next one of its lineage (perhaps the one before it was refused).
    #[error("record is out of sequence: the lineage ends at {expected}")]
    OutOfSequence {
        /// The only first offset that would be accepted.
        expected: u64,
    },
    /// Nothing was written: the lineage was cut at or below the record's end.
    #[error("lineage is cut at {end}")]
    Cut {
        /// Where.
        end: u64,
    },
    /// Nothing was written, and never will be: the record is too long, or takes no offset.
    #[error("record of {length} bytes is invalid: at most {length_max} bytes, at least one offset")]
    Invalid {
        /// The length of its body.
        length: usize,
        /// The longest body that fits.
        length_max: usize,
    },
    /// Nothing was written: the log was stopped.
    #[error("log is stopped")]
    Stopped,
}

/// What is used up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FullReason {
    /// Too many bytes wait to be written.
    #[error("too many bytes wait to be written")]
    InFlight,
    /// The log is above a mark of its quota, or the disk below the floor of free bytes.
    #[error("disk use is at the mark \"{0}\"")]
    Mark(Mark),
    /// The quota is used up.
    #[error("the log's quota is used up")]
    Quota,
    /// The disk has no room for another segment.
    #[error("the disk is full: {0}")]
    Disk(Arc<str>),
}

/// Why a reader did not go on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogReadError {
    /// These offsets are in the log but cannot be read. The reader stays before them: `seek` to the end of the
    /// range once whoever decides has given them up.
    #[error("offsets {} to {} of lineage {} are quarantined: {}", .0.from, .0.to, .0.lineage, .0.reason)]
    Quarantined(Quarantined),
    /// These offsets were freed, or were never here. The log's next record of the lineage is at `next`.
    #[error("offset {from} is not in the log, the next one is {next}")]
    Missing {
        /// Where the reader stands.
        from: u64,
        /// The next offset that the log has.
        next: u64,
    },
    /// The index sent the reader to offsets that do not follow on what it read: a bug, or a disk that lies.
    #[error("expected offset {expected}, found {found}")]
    OutOfSequence {
        /// The next offset.
        expected: u64,
        /// What stood there.
        found: u64,
    },
    /// The disk failed to read; trying again may help.
    #[error("cannot read segment {segment}")]
    Io {
        /// The number of the segment.
        segment: u64,
        /// Why not.
        #[source]
        source: Arc<io::Error>,
    },
}
