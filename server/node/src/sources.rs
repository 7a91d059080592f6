//! The sources that run on the node itself.

use crate::flows::{Flow, Flows};
use crate::letters::Letters;
use async_trait::async_trait;
use bytes::Bytes;
use sdk_channel::Shard;
use sdk_config::SourceSpec;
use sdk_event::{Block, Event, ProducerId};
use sdk_flow::{
    Clock, Entropy, Exhaustion, Intake, Put, PutError, Receipt, SourceError, SourceStart, Stopped,
    Tasks,
};
use server_cluster::FlowId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// How soon a source tries again while its shard moves.
const MOVING_RETRY: Duration = Duration::from_millis(100);
/// A source that failed is started again after this, as Flume's supervisor does.
const RESTART_AFTER: Duration = Duration::from_secs(3);

/// The sources of all flows.
pub(crate) struct LocalSources {
    flows: Flows,
    letters: Arc<Letters>,
    entropy: Arc<dyn Entropy>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    running: Mutex<BTreeMap<(FlowId, String), Running>>,
}

/// A source that was started.
struct Running {
    spec: SourceSpec,
    stop: CancellationToken,
    /// Cancelled when it has ended.
    ended: CancellationToken,
}

impl LocalSources {
    /// None yet: [`LocalSources::settle`] starts them.
    pub(crate) fn new(
        flows: Flows,
        letters: Arc<Letters>,
        entropy: Arc<dyn Entropy>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (tasks, running) = (Tasks::new(), Mutex::default());
        Self { flows, letters, entropy, clock, tasks, running }
    }

    /// Starts what the newest versions name and does not run, and stops what they no longer name. One
    /// that has changed is stopped and, once it has ended, started as it is now.
    pub(crate) fn settle(&self) {
        let mut named = BTreeMap::new();
        for flow in self.flows.all().values() {
            let version = flow.version.load();
            for name in version.sources.keys() {
                if let Some(spec) = version.spec.sources.get(name) {
                    named.insert((flow.id, name.clone()), (Arc::clone(flow), spec.clone()));
                }
            }
        }
        let mut running = self.running.lock().expect("no panic while the lock is held");
        for (key, source) in running.iter() {
            if !source.stop.is_cancelled() && !named.contains_key(key) {
                info!(source = %key.1, "source stops, its flow no longer has it");
                source.stop.cancel();
            }
        }
        for (key, (flow, spec)) in named {
            let before = running.get(&key);
            if before.is_some_and(|known| known.spec == spec && !known.stop.is_cancelled()) {
                continue;
            }
            let before = before.map(|known| {
                known.stop.cancel();
                known.ended.clone()
            });
            let source = self.start(flow, key.1.clone(), spec, before);
            running.insert(key, source);
        }
        running.retain(|_, source| !(source.stop.is_cancelled() && source.ended.is_cancelled()));
    }

    fn start(
        &self,
        flow: Arc<Flow>,
        name: String,
        spec: SourceSpec,
        before: Option<CancellationToken>,
    ) -> Running {
        let (stop, ended) = (self.tasks.shutdown().child_token(), CancellationToken::new());
        let source = LocalSource {
            flow,
            name,
            letters: Arc::clone(&self.letters),
            entropy: Arc::clone(&self.entropy),
            clock: Arc::clone(&self.clock),
        };
        let (told, end) = (stop.clone(), ended.clone().drop_guard());
        self.tasks.start(format!("source {}", source.name), |_| async move {
            let _end = end;
            // Two of them would read the same from the same position.
            if let Some(before) = before {
                before.cancelled().await;
            }
            source.run(told).await;
        });
        Running { spec, stop, ended }
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
        self.letters.keep_event(&self.flow.name, &self.name, &event, reason).await
    }
}
