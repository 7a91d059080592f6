//! The sources that run on the node itself.

use crate::flows::{Flow, Flows};
use async_trait::async_trait;
use bytes::Bytes;
use sdk_channel::Shard;
use sdk_event::{Block, Event, ProducerId};
use sdk_flow::{
    Clock, Entropy, Exhaustion, Intake, Put, PutError, Receipt, SourceError, SourceStart, Stopped,
    Tasks,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

/// How soon a source tries again while its shard moves.
const MOVING_RETRY: Duration = Duration::from_millis(100);
/// A source that failed is started again after this, as Flume's supervisor does.
const RESTART_AFTER: Duration = Duration::from_secs(3);

/// The sources of all flows.
pub(crate) struct LocalSources {
    tasks: Tasks,
}

/// Events that a source of the node cannot put: JSON lines in the data directory.
pub(crate) struct Letters {
    folder: PathBuf,
    clock: Arc<dyn Clock>,
}

/// What a node keeps of them at most; beyond it the source waits for an operator.
const LETTERS_BYTES_MAX: u64 = 1 << 30;
const LETTERS_RETRY: Duration = Duration::from_secs(30);

impl Letters {
    pub(crate) fn new(folder: PathBuf, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { folder, clock })
    }

    async fn keep(
        &self,
        flow: &str,
        source: &str,
        event: Event,
        reason: &str,
    ) -> Result<(), PutError> {
        let line = serde_json::json!({
            "reason": reason,
            "flow": flow,
            "source": source,
            "kept_at": self.clock.wall_ms(),
            "timestamp": event.timestamp_ms,
            "headers": event.headers.iter().collect::<std::collections::BTreeMap<_, _>>(),
            "body": String::from_utf8_lossy(&event.body),
        });
        let path = self.folder.join(format!("{flow}.jsonl"));
        let written =
            tokio::task::spawn_blocking(move || append(&path, &format!("{line}\n"))).await;
        match written {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => {
                Err(PutError::Exhausted { reason: Exhaustion::Disk, retry_after: LETTERS_RETRY })
            }
            Ok(Err(error)) => {
                error!(%error, "cannot keep a dead letter");
                Err(PutError::Exhausted { reason: Exhaustion::Disk, retry_after: LETTERS_RETRY })
            }
            Err(error) => Err(PutError::Unknown(Box::new(error))),
        }
    }
}

/// Durable when it returns; false if there is no room for more.
fn append(path: &std::path::Path, line: &str) -> std::io::Result<bool> {
    use std::io::Write;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    if file.metadata()?.len() + line.len() as u64 > LETTERS_BYTES_MAX {
        return Ok(false);
    }
    file.write_all(line.as_bytes())?;
    file.sync_all()?;
    Ok(true)
}

impl LocalSources {
    /// Starts what the newest versions name. What `flows apply` adds later starts with the next start
    /// of the node, and a source that it removes stops putting at once.
    pub(crate) fn start(
        flows: &Flows,
        letters: &Arc<Letters>,
        entropy: Arc<dyn Entropy>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let tasks = Tasks::new();
        for flow in flows.all().values() {
            let version = flow.version.load();
            for name in version.sources.keys() {
                let source = LocalSource {
                    flow: Arc::clone(flow),
                    name: name.clone(),
                    letters: Arc::clone(letters),
                    entropy: Arc::clone(&entropy),
                    clock: Arc::clone(&clock),
                };
                tasks.start(format!("source {name}"), |stop| source.run(stop));
            }
        }
        Self { tasks }
    }

    /// Stops them.
    pub(crate) async fn stop(&self, grace: Duration) -> Stopped {
        self.tasks.stop(grace).await
    }
}

/// One source: it puts into the shard that its name belongs to, whatever lineage that is at.
#[derive(Clone)]
struct LocalSource {
    flow: Arc<Flow>,
    name: String,
    letters: Arc<Letters>,
    entropy: Arc<dyn Entropy>,
    clock: Arc<dyn Clock>,
}

impl LocalSource {
    async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.run_once(&stop).await {
                Ok(()) => return,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    error!(flow = %self.flow.name, source = %self.name, error, "source failed, will start it again");
                }
            }
            stop.run_until_cancelled(tokio::time::sleep(RESTART_AFTER)).await;
        }
    }

    async fn run_once(&self, stop: &CancellationToken) -> Result<(), SourceError> {
        let start = self.begin().await.map_err(SourceError::Put)?;
        let version = self.flow.version.load_full();
        let Some(spec) = version.spec.sources.get(&self.name) else { return Ok(()) };
        let built = sdk_sources::build(spec, start, Arc::clone(&self.clock))
            .map_err(|error| SourceError::Failed(Box::new(error)))?;
        let Some(built) = built else {
            warn!(source = %self.name, "source does not run on a node");
            return Ok(());
        };
        built.source.run(Arc::new(self.clone()), stop.clone()).await
    }

    async fn begin(&self) -> Result<SourceStart, PutError> {
        self.shard()?.start_source(&self.name, &*self.entropy).await
    }

    /// The open shard; the same one for a name, always.
    fn shard(&self) -> Result<Arc<Shard>, PutError> {
        let number = self.flow.shard_of_source(&self.name);
        let open = self.flow.shards[number].get();
        open.map(|open| Arc::clone(&open.shard))
            .ok_or(PutError::Exhausted { reason: Exhaustion::Moving, retry_after: MOVING_RETRY })
    }
}

#[async_trait]
impl Intake for LocalSource {
    async fn put(&self, block: Block, position: Option<Bytes>) -> Result<Receipt, PutError> {
        let version = self.flow.version.load_full();
        let processor = version.sources.get(&self.name).ok_or(PutError::Stopped)?;
        let put =
            processor.process(block, position).map_err(|reason| PutError::Rejected { reason })?;
        self.shard()?.put(put).await
    }

    async fn remember(&self, position: Bytes) -> Result<(), PutError> {
        // A put of nothing but a position is a record without events.
        let put = Put {
            producer: ProducerId([0; 16]),
            generation: 0,
            first_sequence: 0,
            count: 0,
            block_crc: 0,
            parts: smallvec::SmallVec::new(),
            dropped: Vec::new(),
            source_position: Some(position),
        };
        self.shard()?.put(put).await.map(drop)
    }

    async fn dead_letter(&self, event: Event, reason: &str) -> Result<(), PutError> {
        self.letters.keep(&self.flow.name, &self.name, event, reason).await
    }
}
