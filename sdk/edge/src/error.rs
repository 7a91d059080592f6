//! Why an edge did not start, or could not go on.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use sdk_channel::SpoolError;
use sdk_flow::{BoxError, TaskError};
use sdk_wal::OpenError;

/// Why an edge did not start, split by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// Another process has the data directory: end that one first.
    #[error("data directory {} is in use by {holder}", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Who holds it, as far as it said.
        holder: String,
    },

    /// The directory belongs to something else: choose another.
    #[error(
        "{} holds {found} and is no data directory of an agent: choose another", path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// A file in it.
        found: String,
    },

    /// A later program made the directory: run that one.
    #[error(
        "{} has version {found}, this program knows {known}: run a later release", path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The highest version known here.
        known: u32,
    },

    /// A file says something that no release writes.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// The data directory cannot be used.
    #[error("cannot use the data directory {}", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// What the disk said.
        #[source]
        error: io::Error,
    },

    /// The log did not open.
    #[error("cannot open the spool's log")]
    Log(#[source] OpenError),

    /// The spool of a flow did not open.
    #[error("cannot open the spool of flow {flow}")]
    Spool {
        /// The flow.
        flow: String,
        /// Why not.
        #[source]
        error: SpoolError,
    },

    /// A source that cannot be, with its interceptors and its selector: the
    /// configuration is wrong.
    #[error("source {source_name} of flow {flow} cannot be")]
    Source {
        /// The flow.
        flow: String,
        /// The source.
        source_name: String,
        /// Why not.
        #[source]
        error: BoxError,
    },

    /// A sink that cannot be: the configuration is wrong.
    #[error("sink {sink} of flow {flow} cannot be")]
    Sink {
        /// The flow.
        flow: String,
        /// The sink.
        sink: String,
        /// Why not.
        #[source]
        error: BoxError,
    },

    /// The start was cut short.
    #[error("the start was cut short")]
    Interrupted(#[source] BoxError),
}

impl EdgeError {
    /// Whether another process has the directory.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        matches!(self, EdgeError::Locked { .. } | EdgeError::Log(OpenError::Locked { .. }))
    }
}

/// Why an edge cannot go on: stop it and end the process.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EdgeFailure {
    /// A write or an fsync failed. Only a new start, which reads the log back,
    /// tells what of it is there.
    #[error("the spool's log is dead: {0}")]
    LogDead(Arc<str>),

    /// A part of it panicked.
    #[error("a part of the flow failed")]
    Task(#[source] Arc<TaskError>),
}
