//! The lineages this node has: sealed and reopened at every start, and whenever a flow changes.

mod lost;
mod mend;
mod open;

use crate::cluster::{Cluster, ClusterError};
use crate::committed::GivenUp;
use crate::flows::{Flow, Flows};
use crate::version::{Capacities, Version, VersionError};
use sdk_channel::{ChannelMetrics, RecentMemory, SealedLineage, Shard, Totals, stop_lineage};
use sdk_event::Lineage;
use sdk_flow::{BoxError, ChannelReader, Clock, Environment, ReadError, with_causes};
use sdk_wal::{Log, View};
use server_cluster::command::{Lost, Seal, Sealed, ShardSeal};
use server_cluster::limits::SEALS_PER_BATCH_MAX;
use server_cluster::state::{LostRange, Opening};
use server_cluster::{FlowId, Reply};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// A lineage that this node reads.
#[derive(Clone)]
pub(crate) enum Held {
    /// This process writes it, or did until it was sealed.
    Written(Arc<Shard>),
    /// An earlier process wrote it.
    Sealed(Arc<SealedLineage>),
}

/// A held lineage with the version that everything in it is delivered by.
#[derive(Clone)]
pub(crate) struct HeldLineage {
    pub(crate) held: Held,
    pub(crate) version: Arc<Version>,
    /// When it was opened, on the monotonic clock.
    pub(crate) opened: Duration,
}

/// What lineages are opened with.
pub(crate) struct LineageOptions {
    pub(crate) cluster: Cluster,
    pub(crate) log: Log,
    pub(crate) view: Arc<dyn View>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) environment: Environment,
    pub(crate) metrics: ChannelMetrics,
    /// Recent records of all shards.
    pub(crate) recent: Arc<RecentMemory>,
    pub(crate) flows: Flows,
    /// Producers that a shard remembers.
    pub(crate) producers_max: usize,
    /// Ends waits when the node stops.
    pub(crate) stop: CancellationToken,
}

/// All lineages of this node.
pub(crate) struct Lineages {
    options: LineageOptions,
    held: Mutex<BTreeMap<Lineage, HeldLineage>>,
    capacities: Mutex<Capacities>,
    versions: Mutex<BTreeMap<(FlowId, u32), Arc<Version>>>,
    given_up: Arc<GivenUp>,
    /// One change of lineages at a time.
    changing: tokio::sync::Mutex<()>,
    /// Once the node stops: nothing is opened any more.
    stopping: CancellationToken,
    /// Told of each lineage that is opened.
    opened: Notify,
    /// Why [`Lineages::settle`] failed, since it was last called.
    unsettled: Mutex<Option<String>>,
}

/// A lineage of the state: its spec version, and its length if it is sealed.
type Known = (Lineage, u32, Option<u64>);

/// Why a node cannot serve its lineages.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineageError {
    /// The control plane.
    #[error("the control plane did not seal")]
    Cluster(#[source] ClusterError),
    /// The log.
    #[error("lineage {lineage} cannot be {doing}")]
    Log {
        /// Which.
        lineage: Lineage,
        /// Doing what.
        doing: &'static str,
        /// What went wrong.
        #[source]
        error: BoxError,
    },
    /// A spec of the cluster cannot be built here.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// These shards take nothing yet; the others do, and what is stored is delivered.
    #[error("{count} shards could not be opened, will try again; the first of them")]
    Shards {
        /// How many.
        count: usize,
        /// Why not.
        #[source]
        first: Box<LineageError>,
    },
}

impl Held {
    pub(crate) fn reader(
        &self,
        channel: u8,
        from: u64,
    ) -> Result<Box<dyn ChannelReader>, ReadError> {
        match self {
            Held::Written(shard) => shard.reader(channel, from),
            Held::Sealed(lineage) => lineage.reader(channel, from),
        }
    }

    /// The offset below which everything is durable, and what was put below it.
    pub(crate) fn totals(&self) -> (u64, Totals) {
        match self {
            Held::Written(shard) => shard.totals(),
            Held::Sealed(lineage) => (lineage.end(), lineage.totals().clone()),
        }
    }

    /// Whether something is on its way into it that no reader sees yet.
    pub(crate) fn is_written_to(&self) -> bool {
        match self {
            Held::Written(shard) => shard.watermark() < shard.next_offset(),
            Held::Sealed(_) => false,
        }
    }

    /// Whether some of a memory channel is not delivered.
    pub(crate) fn waits_in_memory(&self, channel: u8) -> bool {
        match self {
            Held::Written(shard) => shard.floor(channel).is_some_and(|it| it < shard.watermark()),
            Held::Sealed(_) => false,
        }
    }

    pub(crate) fn raise_floor(&self, channel: u8, floor: u64) {
        match self {
            Held::Written(shard) => shard.raise_floor(channel, floor),
            Held::Sealed(lineage) => lineage.raise_floor(channel, floor),
        }
    }

    fn close(&self) {
        match self {
            Held::Written(shard) => shard.close(),
            Held::Sealed(lineage) => lineage.close(),
        }
    }

    fn superseded(&self) {
        match self {
            Held::Written(shard) => shard.superseded(),
            Held::Sealed(lineage) => lineage.superseded(),
        }
    }
}

impl Lineages {
    pub(crate) fn new(options: LineageOptions) -> Arc<Self> {
        let quota_bytes = options.log.usage().quota_bytes;
        Arc::new(Self {
            options,
            held: Mutex::default(),
            capacities: Mutex::new(Capacities::new(quota_bytes)),
            versions: Mutex::default(),
            given_up: Arc::default(),
            changing: tokio::sync::Mutex::default(),
            stopping: CancellationToken::new(),
            opened: Notify::new(),
            unsettled: Mutex::default(),
        })
    }

    /// Waits for a lineage to be opened, or returns at once if one was since the last time. The state
    /// names a lineage before it is open here. For one that waits; cancel-safe.
    pub(crate) async fn opened(&self) {
        self.opened.notified().await;
    }

    fn hold(&self, lineage: Lineage, held: HeldLineage) {
        self.lock().insert(lineage, held);
        self.opened.notify_one();
    }

    /// A held lineage.
    pub(crate) fn get(&self, lineage: Lineage) -> Option<HeldLineage> {
        self.lock().get(&lineage).cloned()
    }

    /// Why some shards take nothing, if the last [`Lineages::settle`] failed.
    pub(crate) fn unsettled(&self) -> Option<String> {
        self.unsettled.lock().expect("no panic while the lock is held").clone()
    }

    /// Every held lineage.
    pub(crate) fn all(&self) -> Vec<(Lineage, HeldLineage)> {
        self.lock().iter().map(|(lineage, held)| (*lineage, held.clone())).collect()
    }

    /// Seals what an earlier process, or an earlier version of a flow, has left open, and opens what
    /// comes next. When this returns, every shard of every flow of this node takes events, and every
    /// lineage that is not drained can be read; with [`LineageError::Shards`] that holds for the shards
    /// that could be opened, and [`Lineages::mend`] tries the others again.
    pub(crate) async fn settle(&self) -> Result<(), LineageError> {
        let _one = self.changing.lock().await;
        let settled = self.seal_and_open().await;
        let why = settled.as_ref().err().map(|error| with_causes(error));
        *self.unsettled.lock().expect("no panic while the lock is held") = why;
        settled
    }

    async fn seal_and_open(&self) -> Result<(), LineageError> {
        self.learn_flows()?;
        let mut ends = self.ended_unheard().await;
        let (node, incarnation) = (self.options.cluster.node(), self.options.cluster.incarnation());
        let due = self.options.cluster.read(|state| state.seals_due(node, incarnation));
        let due = due.into_iter().map(|due| due.lineage).chain(self.spent());
        let due: BTreeSet<Lineage> = due.collect();
        let mut seals = Vec::new();
        for lineage in due {
            let end = self.measure(lineage).await?;
            let version = self
                .options
                .cluster
                .read(|state| state.flow(lineage.flow).map_or(0, |flow| flow.latest));
            let next = Opening { owner: node, replicas: vec![node] };
            seals.push(ShardSeal { lineage, end, holders: vec![node], next, version });
        }
        for batch in seals.chunks(SEALS_PER_BATCH_MAX) {
            let seal = Seal { node, incarnation, shards: batch.to_vec() };
            sdk_failpoints::before!(Seal);
            let reply = self.options.cluster.propose(seal).await.map_err(LineageError::Cluster)?;
            sdk_failpoints::after!(Seal);
            let Reply::Sealed(sealed) = reply else {
                return Err(LineageError::Cluster(ClusterError::unexpected(&reply)));
            };
            for (seal, sealed) in batch.iter().zip(sealed) {
                let sealed = sealed
                    .map_err(|rejected| LineageError::Cluster(ClusterError::Rejected(rejected)))?;
                self.sealed(seal.lineage, &sealed).await?;
                ends.insert(seal.lineage, sealed.end);
            }
        }
        let opened = self.open_all(&ends).await;
        self.follow_floors();
        self.forget_unlisted();
        self.forget_versions();
        opened
    }

    /// Stops what may append to a lineage, and measures it.
    async fn measure(&self, lineage: Lineage) -> Result<u64, LineageError> {
        if let Some(HeldLineage { held: Held::Written(shard), .. }) = self.get(lineage) {
            if let Some(flow) = self.options.flows.by_id(lineage.flow)
                && let Some(slot) = flow.shards.get(lineage.shard as usize)
            {
                slot.set(None);
            }
            return Ok(shard.stop().await);
        }
        stop_lineage(&self.options.log, lineage, self.options.clock.wall_ms()).await.map_err(
            |error| LineageError::Log { lineage, doing: "stopped", error: Box::new(error) },
        )
    }

    async fn sealed(&self, lineage: Lineage, sealed: &Sealed) -> Result<(), LineageError> {
        info!(%lineage, end = sealed.end, "lineage sealed");
        if let Some(HeldLineage { held: Held::Written(shard), .. }) = self.get(lineage) {
            shard.end_at(sealed.end);
        }
        let Some(missing) = sealed.raised else { return Ok(()) };
        // Files were announced from records that this disk no longer has.
        error!(%lineage, from = missing.first, to = missing.last, "the log lacks acknowledged records");
        let ranges = vec![LostRange { span: missing, ids: Vec::new() }];
        let lost = self.options.cluster.propose(Lost { lineage, ranges }).await;
        lost.map(drop).map_err(LineageError::Cluster)
    }

    /// Builds every version that some lineage needs, and the flows themselves.
    fn learn_flows(&self) -> Result<(), LineageError> {
        let known = self.options.cluster.read(|state| {
            let flows = state.flows().iter();
            flows.map(|(id, flow)| (*id, flow.clone())).collect::<Vec<_>>()
        });
        for (id, flow) in known {
            let mut newest = None;
            for (number, version) in &flow.versions {
                let built = self.version(id, &flow.name, *number, version)?;
                if *number == flow.latest {
                    newest = Some(built);
                }
            }
            let Some(newest) = newest else { continue };
            match self.options.flows.by_id(id) {
                Some(known) => known.version.store(newest),
                None => {
                    let shards = u32::try_from(flow.shards.len()).unwrap_or(u32::MAX);
                    self.options.flows.add(Flow::new(newest, shards));
                }
            }
        }
        Ok(())
    }

    fn version(
        &self,
        flow: FlowId,
        name: &str,
        number: u32,
        version: &server_cluster::state::SpecVersion,
    ) -> Result<Arc<Version>, LineageError> {
        let mut versions = self.versions.lock().expect("no panic while the lock is held");
        if let Some(known) = versions.get(&(flow, number)) {
            return Ok(Arc::clone(known));
        }
        let mut capacities = self.capacities.lock().expect("no panic while the lock is held");
        let environment = &self.options.environment;
        let built = Version::build(flow, name, number, version, &mut capacities, environment)?;
        let built = Arc::new(built);
        versions.insert((flow, number), Arc::clone(&built));
        Ok(built)
    }

    /// Forgets the versions that no lineage of the state needs any more.
    fn forget_versions(&self) {
        let listed: BTreeSet<(FlowId, u32)> = self.options.cluster.read(|state| {
            let flows = state.flows().iter();
            flows.flat_map(|(id, flow)| flow.versions.keys().map(|number| (*id, *number))).collect()
        });
        let mut versions = self.versions.lock().expect("no panic while the lock is held");
        versions.retain(|version, _| listed.contains(version));
    }

    /// The versions that some lineage may need.
    pub(crate) fn versions(&self) -> BTreeSet<(FlowId, u32)> {
        let versions = self.versions.lock().expect("no panic while the lock is held");
        versions.keys().copied().collect()
    }

    fn version_of(&self, flow: FlowId, number: u32) -> Option<Arc<Version>> {
        let versions = self.versions.lock().expect("no panic while the lock is held");
        versions.get(&(flow, number)).cloned()
    }

    /// The offset below which no group needs a channel of a lineage any more.
    fn floor(&self, lineage: Lineage, version: &Version, channel: u8) -> u64 {
        self.options.cluster.read(|state| {
            let Some(found) = state.lineage(lineage) else { return u64::MAX };
            let groups = version.groups.iter().filter(|group| group.channel == channel);
            let ledgers = groups.filter_map(|group| found.ledgers.get(&group.number));
            ledgers.map(server_cluster::state::Ledger::first_needed).min().unwrap_or(u64::MAX)
        })
    }

    /// Passes on what the state says: floors to channels and log, lineages that are done to nobody.
    pub(crate) fn follow_floors(&self) {
        for (lineage, held) in self.all() {
            let known = self.options.cluster.read(|state| state.lineage(lineage).is_some());
            if !known && !self.is_succeeded(lineage) {
                // What it knows of its producers is not in the next one yet.
                continue;
            }
            if !known {
                info!(%lineage, "lineage is drained");
                self.lock().remove(&lineage);
                held.held.close();
                self.options.log.forget(lineage);
                continue;
            }
            for channel in held.version.channels.iter().filter(|channel| channel.durable) {
                let floor = self.floor(lineage, &held.version, channel.number);
                let end = || held.held.totals().0;
                held.held
                    .raise_floor(channel.number, if floor == u64::MAX { end() } else { floor });
            }
            if let Held::Written(shard) = &held.held {
                let lowest = self.options.cluster.read(|state| {
                    let shard = state.shard(lineage.flow, lineage.shard)?;
                    shard.lineages.keys().next().copied()
                });
                shard.set_epoch_min(lowest.unwrap_or(lineage.epoch));
            }
        }
    }

    /// Whether this process has opened a later lineage of the shard: it begins with all that this one
    /// knew. One that is only read may have been begun in vain.
    fn is_succeeded(&self, lineage: Lineage) -> bool {
        let held = self.lock();
        let later = held.range(lineage..).skip_while(|(it, _)| **it == lineage);
        let mut later =
            later.take_while(|(it, _)| (it.flow, it.shard) == (lineage.flow, lineage.shard));
        later.any(|(_, it)| matches!(it.held, Held::Written(_)))
    }

    /// Frees what the log has of lineages that have left the state when nobody held them: at the seal
    /// itself, or under an earlier process.
    fn forget_unlisted(&self) {
        for extent in self.options.log.lineages() {
            let lineage = extent.lineage;
            let gone = self.options.cluster.read(|state| {
                state.lineage(lineage).is_none() && state.epoch(lineage) > lineage.epoch
            });
            if gone && self.get(lineage).is_none() && self.is_succeeded(lineage) {
                self.options.log.forget(lineage);
            }
        }
    }

    /// Takes no more puts, waits for those in flight. For the end of the node.
    pub(crate) async fn stop(&self) {
        self.stopping.cancel();
        for (_, held) in self.all() {
            if let Held::Written(shard) = held.held {
                shard.stop().await;
            }
        }
    }

    /// Ends every reader.
    pub(crate) fn close(&self) {
        self.all().into_iter().for_each(|(_, held)| held.held.close());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Lineage, HeldLineage>> {
        self.held.lock().expect("no panic while the lock is held")
    }
}
