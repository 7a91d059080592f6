//! The file sink's file system on HDFS.
//!
//! The sink above is the same as on a local disk: this crate is [`FileSystem`](sdk_files::fs::FileSystem)
//! on `hdfs-native`, and what stands between the two:
//!
//! - a deadline on every call, since a hung DataNode never answers a write ([`Deadlines`]);
//! - errors by class, never by text, so that the sink can tell a fence from an outage;
//! - a fresh connection after a call without an answer, in a runtime of its own, so that what hangs
//!   in the old one ends with it;
//! - the end of every block synced, and the length of every closed file looked at;
//! - one log line for an outage, not for each try ([`Metrics`] count the tries).
//!
//! What HDFS and its client do in trouble, with what we do about it, is in this crate's README.

mod configuration;
mod deadlines;
mod error;
mod file_system;
mod metrics;
mod mount;
mod mounts;
mod outage;
mod reader;
mod writer;

pub use configuration::{Configuration, ConfigurationError};
pub use deadlines::Deadlines;
pub use file_system::Hdfs;
pub use metrics::Metrics;
pub use mounts::{HdfsFileSystems, HdfsOptions};
