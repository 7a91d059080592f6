//! A channel, a ledger and a clock that a test holds in its hand.

pub(crate) mod clock;
pub(crate) mod ledger;
pub(crate) mod log;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sdk_config::FilesSink;
use sdk_event::Lineage;
use sdk_files::fs::{FileSystems, MemoryDisk};
use sdk_files::ledger::{Ledger, MemoryLedger};
use sdk_files::metrics::SinkMetrics;
use sdk_files::name::{FinalName, Names};
use sdk_files::{
    Deadlines, Drain, DrainHandle, DrainLimits, DrainOptions, FileSink, Preference, SinkIdentity,
};
use sdk_flow::{Clock, Ended, Entropy, LocalPenalties, Penalties, SeededEntropy};
use tokio_util::sync::CancellationToken;

use clock::TestClock;
use log::MemoryLog;

pub(crate) const LINEAGE: Lineage = Lineage { flow: 7, shard: 2, epoch: 3 };
pub(crate) const NAMES: Names = Names { cluster: [0xab; 16], lineage: LINEAGE };

/// 2012-06-23 03:16:34.234 UTC, the sample time of Flume's guide.
pub(crate) const SAMPLE_MS: i64 = 1_340_421_394_234;

/// Runs a test on a runtime of its own whose time passes only when nothing else can happen.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(test)
}

/// The spec of a sink with a path.
pub(crate) fn spec(path: &str) -> FilesSink {
    FilesSink { path: path.to_owned(), ..FilesSink::default() }
}

/// Everything a drain needs, but its sinks.
#[derive(Clone)]
pub(crate) struct Rig {
    pub(crate) log: MemoryLog,
    pub(crate) ledger: MemoryLedger,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) entropy: Arc<SeededEntropy>,
    pub(crate) penalties: Arc<LocalPenalties>,
    pub(crate) limits: DrainLimits,
    pub(crate) preference: Preference,
}

impl Rig {
    pub(crate) fn new() -> Rig {
        Rig::with_seed(1)
    }

    pub(crate) fn with_seed(seed: u64) -> Rig {
        let clock = Arc::new(TestClock::new(SAMPLE_MS));
        let entropy = Arc::new(SeededEntropy::new(seed));
        let penalties = LocalPenalties::new(
            Arc::clone(&clock) as Arc<dyn Clock>,
            Arc::clone(&entropy) as Arc<dyn Entropy>,
            Duration::from_secs(2),
        );
        let deadlines = Deadlines { call: Duration::from_secs(1), close: Duration::from_secs(2) };
        Rig {
            log: MemoryLog::new(LINEAGE),
            ledger: MemoryLedger::default(),
            clock,
            entropy,
            penalties: Arc::new(penalties),
            limits: DrainLimits { deadlines, ..DrainLimits::default() },
            preference: Preference::Order,
        }
    }

    pub(crate) fn sink(
        &self,
        number: u32,
        spec: &FilesSink,
        systems: &dyn FileSystems,
    ) -> Arc<FileSink> {
        let identity =
            SinkIdentity { flow: "web".into(), name: format!("sink{number}").into(), number };
        Arc::new(FileSink::new(spec, identity, systems, SinkMetrics::default()).unwrap())
    }

    pub(crate) fn options(
        &self,
        members: Vec<Arc<FileSink>>,
        systems: Arc<dyn FileSystems>,
    ) -> DrainOptions {
        DrainOptions {
            channel: "main".into(),
            group: "out".into(),
            names: NAMES,
            members,
            preference: self.preference,
            ledger: Arc::new(self.ledger.clone()) as Arc<dyn Ledger>,
            readers: Arc::new(self.log.clone()),
            file_systems: systems,
            penalties: Arc::clone(&self.penalties) as Arc<dyn Penalties>,
            archive: None,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            entropy: Arc::clone(&self.entropy) as Arc<dyn Entropy>,
            memory: Arc::default(),
            limits: self.limits,
        }
    }

    /// A drain into one sink on a memory disk.
    pub(crate) fn drain(&self, spec: &FilesSink, disk: &MemoryDisk) -> (Drain, DrainHandle) {
        let systems = Arc::new(disk.clone());
        let sink = self.sink(1, spec, &systems);
        Drain::new(self.options(vec![sink], Arc::new(systems)))
    }

    /// Seals the log and drains it to its end.
    pub(crate) async fn drain_all(&self, spec: &FilesSink, disk: &MemoryDisk) {
        self.ledger.seal(self.log.seal());
        let (drain, _) = self.drain(spec, disk);
        assert_eq!(drain.run(CancellationToken::new()).await.unwrap(), Ended::Drained);
    }
}

/// The final files on a disk, by path: nothing hidden, nothing in staging.
pub(crate) fn finals(disk: &MemoryDisk) -> BTreeMap<String, Vec<u8>> {
    let mut files = disk.files();
    files.retain(|path, _| !path.split('/').any(|component| component.starts_with('.')));
    files
}

/// The contents of ours as text by directory, files in the order of their names.
pub(crate) fn by_directory(disk: &MemoryDisk) -> BTreeMap<String, String> {
    let mut directories: BTreeMap<String, String> = BTreeMap::new();
    for (path, bytes) in finals(disk) {
        let (directory, name) = path.rsplit_once('/').unwrap();
        if FinalName::parse(name).is_none() {
            continue;
        }
        let text = String::from_utf8(bytes).unwrap();
        directories.entry(directory.to_owned()).or_default().push_str(&text);
    }
    directories
}
