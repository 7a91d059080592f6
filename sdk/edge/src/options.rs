//! What an edge is started with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use sdk_config::{ByteSize, FlowSpec, LogSettings};
use sdk_flow::{Clock, Entropy, HostNames, SystemClock, SystemEntropy};
use sdk_wal::{RealStorage, Storage};

use crate::sinks::{SinkBuilder, StandardSinks};

/// What an edge is started with. [`EdgeOptions::new`] is one on this machine.
pub struct EdgeOptions {
    /// Where it keeps its spool and its dead letters. Its alone.
    pub data_dir: PathBuf,
    /// What it runs.
    pub flows: BTreeMap<String, FlowSpec>,
    /// The log that the durable channels of all its flows are kept in.
    pub log: LogSettings,
    /// Memory for recent records of the log.
    pub cache: ByteSize,
    /// Give up what is left in the spool for flows, channels and sink groups that
    /// are no longer there. Otherwise that is kept, and takes room.
    pub discard_orphans: bool,
    /// What builds sinks.
    pub sinks: Arc<dyn SinkBuilder>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The disk.
    pub storage: Arc<dyn Storage>,
    /// What this machine is called, for the interceptor `host`. `None`: it is asked.
    pub host: Option<HostNames>,
}

impl EdgeOptions {
    /// An edge on this machine, with the agent's defaults.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>, flows: BTreeMap<String, FlowSpec>) -> EdgeOptions {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        EdgeOptions {
            data_dir: data_dir.into(),
            flows,
            log: LogSettings::default(),
            cache: ByteSize::mib(16),
            discard_orphans: false,
            sinks: Arc::new(StandardSinks::new(Arc::clone(&entropy))),
            clock,
            entropy,
            storage: Arc::new(RealStorage),
            host: None,
        }
    }
}
