//! What a node does behind its doors: its place in the cluster, its lineages and their drains.
//!
//! [`crate::Node`] puts doors and faces around it; a simulation drives it with a disk, a file system and
//! a time of its own.

#[cfg(test)]
mod tests;

use crate::cluster::{Cluster, ClusterError};
use crate::drains::{DrainOptions, Drains, Running};
use crate::flows::Flows;
use crate::letters::Letters;
use crate::lineages::{LineageError, LineageOptions, Lineages};
use crate::node::RunError;
use crate::penalties::PenaltyTimer;
use crate::seed::seed_flows;
use prometheus_client::registry::Registry;
use sdk_channel::{ChannelMetrics, RecentMemory};
use sdk_config::NodeConfig;
use sdk_files::archive::Archive;
use sdk_files::fs::FileSystems;
use sdk_files::status::DrainStatus;
use sdk_flow::{Clock, Entropy, Environment, HostNames, Tasks};
use sdk_wal::{Log, View};
use server_cluster::command::{InitCluster, NodeUp};
use server_cluster::query::AuditRow;
use server_cluster::{ClusterId, DirectoryId, Reply, StartId};
use server_ingest::Router;
use server_raft::RaftHandle;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use server_cluster::state::Book;

/// What this program understands of the replicated state.
const FEATURES: u32 = 1;
/// The number of the node that founds a cluster.
pub const FIRST_NODE: u64 = 1;

/// What the works are started with.
pub struct WorksOptions {
    /// What the node is told.
    pub config: NodeConfig,
    /// The ids that the cluster gets if this node founds it, and of the data directory.
    pub cluster: [u8; 16],
    /// Of the data directory.
    pub directory: [u8; 16],
    /// Where others reach the node, by face.
    pub addresses: Vec<(String, String)>,
    /// The event log, open.
    pub log: Log,
    /// Its view.
    pub view: Arc<dyn View>,
    /// The control plane, open.
    pub raft: RaftHandle,
    /// Where finals go.
    pub file_systems: Arc<dyn FileSystems>,
    /// The node's list of finished files, if it keeps one.
    pub archive: Option<Arc<Archive>>,
    /// Where events are kept that no sink with files has refused.
    pub dead_letters: PathBuf,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where randomness comes from.
    pub entropy: Arc<dyn Entropy>,
    /// The names of this machine.
    pub host: HostNames,
}

/// Lineages that take events, and drains that deliver them.
pub struct Works {
    pub(crate) cluster: Cluster,
    pub(crate) flows: Flows,
    pub(crate) lineages: Arc<Lineages>,
    pub(crate) drains: Arc<Drains>,
    pub(crate) letters: Arc<Letters>,
    pub(crate) penalty_timer: Arc<PenaltyTimer>,
}

impl Works {
    /// Joins the cluster, seals what the process before has left open, opens what comes next, and begins
    /// to deliver. When this returns every shard takes events that can; the others are tried again.
    ///
    /// # Errors
    /// See [`RunError`].
    pub async fn start(
        options: WorksOptions,
        registry: &mut Registry,
        tasks: &Tasks,
    ) -> Result<Works, RunError> {
        let cluster = join(&options).await?;
        let WorksOptions { config, log, view, clock, entropy, .. } = options;
        seed_flows(&cluster, &config).await.map_err(RunError::Cluster)?;
        let flows = Flows::default();
        let channel_metrics = ChannelMetrics::default();
        channel_metrics.register(registry.sub_registry_with_prefix("collector"));
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let lineages = Lineages::new(LineageOptions {
            cluster: cluster.clone(),
            log: log.clone(),
            view,
            clock: Arc::clone(&clock),
            environment: Environment { clock: Arc::clone(&clock), host: options.host },
            recent: Arc::new(RecentMemory::new(size(config.node.cache.0))),
            metrics: channel_metrics,
            flows: flows.clone(),
            producers_max: size(config.node.limits.producers_per_shard.into()),
            stop: tasks.shutdown().clone(),
        });
        match lineages.settle().await {
            // What is stored is delivered all the same, and makes room.
            Ok(()) | Err(LineageError::Shards { .. }) => (),
            Err(error) => return Err(error.into()),
        }
        lineages.follow_floors();
        tasks.start("lineages", |stop| Arc::clone(&lineages).mend(stop));
        let letters = Letters::new(options.dead_letters, Arc::clone(&clock));
        let drains = Drains::start(
            DrainOptions {
                cluster: cluster.clone(),
                lineages: Arc::clone(&lineages),
                log,
                archive: options.archive,
                letters: Arc::clone(&letters),
                clock: Arc::clone(&clock),
                entropy,
                metrics: sdk_files::metrics::Metrics::register(registry),
                file_systems: options.file_systems,
            },
            tasks,
        );
        let penalty_timer = PenaltyTimer::new(cluster.clone(), clock);
        tasks.start("penalty timer", |stop| Arc::clone(&penalty_timer).run(stop));
        Ok(Works { cluster, flows, lineages, drains, letters, penalty_timer })
    }

    /// The way in for producers.
    #[must_use]
    pub fn router(&self) -> Arc<dyn Router> {
        Arc::new(self.flows.clone())
    }

    /// The ledger's side of the books.
    #[must_use]
    pub fn audit(&self) -> Vec<AuditRow> {
        self.cluster.read(server_cluster::State::audit)
    }

    /// What the drains into files are doing, for whoever wonders why something is not final.
    #[must_use]
    pub fn drains(&self) -> Vec<DrainStatus> {
        let running = self.drains.running().into_iter();
        let files = running.filter_map(|(_, running)| match running {
            Running::Files(handle) => Some(handle.status()),
            Running::Events(_) => None,
        });
        files.collect()
    }

    /// Takes no more events, waits for those in flight, finishes what is open within `grace`, and ends
    /// every reader.
    pub async fn stop(&self, grace: Duration) {
        self.lineages.stop().await;
        self.drains.finish(grace).await;
        self.lineages.close();
    }
}

/// Founds the cluster at the first start, and gets this process its incarnation.
async fn join(options: &WorksOptions) -> Result<Cluster, RunError> {
    let failed = |error: ClusterError| RunError::Cluster(Box::new(error));
    let directory = DirectoryId(options.directory);
    let raft = options.raft.clone();
    let nobody = Cluster::new(raft.clone(), FIRST_NODE, 0);
    if nobody.read(|state| state.cluster().is_none()) {
        let cluster = ClusterId(options.cluster);
        let init = InitCluster { cluster, directory, features: FEATURES };
        nobody.propose(init).await.map_err(failed)?;
    }
    let mut start = [0; 16];
    options.entropy.fill(&mut start);
    let up = NodeUp {
        node: FIRST_NODE,
        directory,
        start: StartId(start),
        addresses: options.addresses.clone(),
        zone: String::new(),
        features: FEATURES,
    };
    match nobody.propose(up).await.map_err(failed)? {
        Reply::Node { node, incarnation } => Ok(Cluster::new(raft, node, incarnation)),
        reply => Err(failed(ClusterError::unexpected(&reply))),
    }
}
