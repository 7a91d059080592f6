//! The lineages this node has: sealed and reopened at every start, and whenever a flow changes.

mod mend;

use crate::cluster::{Cluster, ClusterError};
use crate::committed::{Committed, GivenUp};
use crate::flows::{Flow, Flows};
use crate::off_thread::{is_inline, off_thread};
use crate::shard::OpenShard;
use crate::version::{Capacities, Version, VersionChannel, VersionError};
use sdk_channel::record::{Loss, kind};
use sdk_channel::{
    ChannelKind, ChannelMetrics, ChannelOptions, RecentMemory, RecoverError, Remembered,
    SealedLineage, Shard, ShardOptions, Totals, rebuild, sequences_behind, stop_lineage,
};
use sdk_config::ledger::Span;
use sdk_event::{EventId, Lineage};
use sdk_flow::{BoxError, ChannelReader, Clock, Environment, Exhaustion, PutError, ReadError};
use sdk_wal::{Log, Quarantined, View};
use server_cluster::command::{Lost, Seal, Sealed, ShardSeal};
use server_cluster::limits::SEALS_PER_BATCH_MAX;
use server_cluster::state::{LostIds, LostRange, Opening};
use server_cluster::{FlowId, Reply};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

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
        self.learn_flows()?;
        let (node, incarnation) = (self.options.cluster.node(), self.options.cluster.incarnation());
        let due = self.options.cluster.read(|state| state.seals_due(node, incarnation));
        let due = due.into_iter().map(|due| due.lineage).chain(self.spent());
        let due: BTreeSet<Lineage> = due.collect();
        let (mut seals, mut ends) = (Vec::new(), BTreeMap::new());
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

    /// Opens every lineage of the state that is not held yet: the newest of each shard for writing,
    /// those before it for reading.
    async fn open_all(&self, ends: &BTreeMap<Lineage, u64>) -> Result<(), LineageError> {
        let node = self.options.cluster.node();
        let shards = self.options.cluster.read(|state| {
            let mut shards: BTreeMap<(FlowId, u32), Vec<Known>> = BTreeMap::new();
            for (lineage, found) in state.lineages() {
                if found.replicas.contains(&node) {
                    let of_shard = shards.entry((lineage.flow, lineage.shard)).or_default();
                    of_shard.push((lineage, found.version, found.sealed));
                }
            }
            shards
        });
        let mut failed = Vec::new();
        for lineages in shards.into_values() {
            if let Err(error) = self.open_shard(&lineages, ends).await {
                error!(error = &error as &dyn std::error::Error, "a shard takes no events");
                failed.push(error);
            }
        }
        let count = failed.len();
        match failed.into_iter().next() {
            None => Ok(()),
            Some(first) => Err(LineageError::Shards { count, first: Box::new(first) }),
        }
    }

    async fn open_shard(
        &self,
        lineages: &[Known],
        ends: &BTreeMap<Lineage, u64>,
    ) -> Result<(), LineageError> {
        let mut sealed = Vec::new();
        let mut before: Vec<HeldLineage> = Vec::new();
        for (lineage, number, end) in lineages {
            let Some(version) = self.version_of(lineage.flow, *number) else { continue };
            match (self.get(*lineage), end) {
                (Some(held), Some(end)) => {
                    sealed.push((*lineage, *end));
                    before.push(held);
                }
                (Some(_), None) => return Ok(()),
                (None, Some(end)) => {
                    let held = self.open_sealed(*lineage, &version, *end).await?;
                    self.hold(*lineage, held.clone());
                    sealed.push((*lineage, *end));
                    before.push(held);
                }
                (None, None) => {
                    let earlier = self.earlier(*lineage, &sealed, ends);
                    let last = earlier.last().and_then(|(last, _)| self.get(*last));
                    let open =
                        self.open_written(*lineage, &version, &earlier, last.as_ref()).await?;
                    before.iter().for_each(|held| held.held.superseded());
                    let held = Held::Written(Arc::clone(&open.shard));
                    let opened = self.options.clock.monotonic();
                    self.hold(*lineage, HeldLineage { held, version, opened });
                    if let Some(flow) = self.options.flows.by_id(lineage.flow)
                        && let Some(slot) = flow.shards.get(lineage.shard as usize)
                    {
                        slot.set(Some(Arc::new(open)));
                    }
                }
            }
        }
        Ok(())
    }

    /// The lineages of a shard before this one, with their lengths: also what the state no longer
    /// lists, for a lineage leaves it when it is drained, and its producers are to be known all the
    /// same. What the log has of such a one lies below its length, since it was drained to that.
    fn earlier(
        &self,
        into: Lineage,
        sealed: &[(Lineage, u64)],
        ends: &BTreeMap<Lineage, u64>,
    ) -> Vec<(Lineage, u64)> {
        let before = |lineage: Lineage| {
            (lineage.flow, lineage.shard) == (into.flow, into.shard) && lineage.epoch < into.epoch
        };
        let extents = self.options.log.lineages();
        let extents = extents.into_iter().map(|extent| (extent.lineage, extent.end));
        let listed = sealed.iter().copied();
        let known = extents.chain(ends.iter().map(|(lineage, end)| (*lineage, *end))).chain(listed);
        let earlier: BTreeMap<Lineage, u64> =
            known.filter(|(lineage, _)| before(*lineage)).collect();
        earlier.into_iter().collect()
    }

    async fn open_sealed(
        &self,
        lineage: Lineage,
        version: &Arc<Version>,
        end: u64,
    ) -> Result<HeldLineage, LineageError> {
        let floors: Vec<(ChannelOptions, u64)> = version
            .channels
            .iter()
            .map(|channel| (options_of(channel), self.floor(lineage, version, channel.number)))
            .collect();
        let log = self.options.log.clone();
        let inline = is_inline();
        let opened = off_thread(move || SealedLineage::open(&log, lineage, end, &floors, inline));
        let failed = |error: BoxError| LineageError::Log { lineage, doing: "read", error };
        let sealed = opened.await.map_err(|error| failed(Box::new(error)))?;
        let sealed = sealed.map_err(|error| failed(Box::new(error)))?;
        let (held, version) = (Held::Sealed(Arc::new(sealed)), Arc::clone(version));
        Ok(HeldLineage { held, version, opened: self.options.clock.monotonic() })
    }

    async fn open_written(
        &self,
        lineage: Lineage,
        version: &Arc<Version>,
        sealed: &[(Lineage, u64)],
        last: Option<&HeldLineage>,
    ) -> Result<OpenShard, LineageError> {
        let (mut remembered, unreadable) = self.remembered(lineage, sealed, last).await?;
        let lost: Vec<Loss> = unreadable.iter().filter_map(loss_of_record).collect();
        remembered.lose(&lost, self.options.clock.wall_ms());
        remembered.table.set_producers_max(self.options.producers_max);
        let log = version.has_log().then(|| self.options.log.clone());
        let clock = Arc::clone(&self.options.clock);
        let options = ShardOptions {
            flow: version.flow_name.to_string(),
            channels: version.channels.iter().map(options_of).collect(),
            metrics: self.options.metrics.clone(),
            recent: Arc::clone(&self.options.recent),
            inline_reads: is_inline(),
            ..ShardOptions::new(lineage, version.level(), log, clock)
        };
        sdk_failpoints::before!(Open);
        let shard = Shard::open(options, remembered).await.map_err(|error| LineageError::Log {
            lineage,
            doing: "opened",
            error: Box::new(error),
        })?;
        sdk_failpoints::after!(Open);
        // Only now: what is listed is passed by drains, and the shard knows of it for good.
        for range in &unreadable {
            self.list_lost(range).await;
        }
        let cluster = self.options.cluster.clone();
        let given_up = Arc::clone(&self.given_up);
        let committed = Committed::new(cluster, version, given_up, self.options.stop.clone());
        Ok(OpenShard::new(shard, version, committed))
    }

    /// What the shard knows, from the lineage before if this process wrote it, else from the log; and what
    /// of that could not be read, and somebody needs.
    async fn remembered(
        &self,
        lineage: Lineage,
        sealed: &[(Lineage, u64)],
        last: Option<&HeldLineage>,
    ) -> Result<(Remembered, Vec<Quarantined>), LineageError> {
        if let (Some(HeldLineage { held: Held::Written(shard), .. }), Some((_, end))) =
            (last, sealed.last())
            && let Some(remembered) = shard.take_remembered(*end)
        {
            return Ok((remembered, Vec::new()));
        }
        let view = Arc::clone(&self.options.view);
        if sealed.is_empty() {
            return Ok((Remembered::nothing(lineage, Some(view)), Vec::new()));
        }
        let (log, lineages) = (self.options.log.clone(), sealed.to_vec());
        let rebuilt = off_thread(move || match rebuild(&log, &lineages, lineage, Some(view)) {
            // Memory has room for all of it.
            Err(RecoverError::View) => rebuild(&log, &lineages, lineage, None),
            rebuilt => rebuilt,
        });
        let failed = |error: BoxError| LineageError::Log { lineage, doing: "rebuilt", error };
        let rebuilt = rebuilt.await.map_err(|error| failed(Box::new(error)))?;
        let rebuilt = rebuilt.map_err(|error| failed(Box::new(error)))?;
        if !rebuilt.exact {
            warn!(%lineage, "what is known of producers is incomplete, some will be told that they expired");
        }
        let mut unreadable = rebuilt.unreadable;
        unreadable.retain(|range| self.is_needed(range.lineage, range.to));
        Ok((rebuilt.remembered, unreadable))
    }

    /// Lists a range that this disk cannot read as lost: a set of one has no other copy.
    async fn list_lost(&self, range: &Quarantined) {
        let span = Span { first: range.from, last: range.to.saturating_sub(1) };
        let id = range.identity.map(|id| id.to_string());
        error!(id, lineage = %range.lineage, from = span.first, to = span.last, reason = %range.reason,
            "a record cannot be read and is listed as lost");
        self.given_up.add(range.lineage, [span]);
        let ids = match (range.kind, range.identity) {
            (Some(kind::PUT), Some(first)) => {
                let last = self.sequences_behind(range, first).await.saturating_sub(1);
                let EventId { producer, generation, sequence: first } = first;
                Some(LostIds { producer, generation, first, last })
            }
            _ => None,
        };
        let ranges = vec![LostRange { span, ids: ids.into_iter().collect() }];
        let lost = Lost { lineage: range.lineage, ranges };
        match self.options.cluster.propose(lost).await {
            // Drained already: nobody needs it.
            Ok(_) | Err(ClusterError::Rejected(server_cluster::Rejected::Gone { .. })) => (),
            Err(error) => {
                // Asked again at the next change.
                let error = &error as &dyn std::error::Error;
                warn!(error, lineage = %range.lineage, "cannot list a range as lost");
            }
        }
    }

    /// The sequence number behind the last event of a block that cannot be read.
    async fn sequences_behind(&self, range: &Quarantined, first: EventId) -> u64 {
        let (log, lineage, block) = (self.options.log.clone(), range.lineage, range.from..range.to);
        let found = off_thread(move || sequences_behind(&log, lineage, block, first)).await;
        match found {
            Ok(Ok(behind)) => behind,
            _ => first.sequence.saturating_add(range.to - range.from),
        }
    }

    /// Whether some group has still to deliver what lies below an offset.
    fn is_needed(&self, lineage: Lineage, below: u64) -> bool {
        self.options.cluster.read(|state| {
            let ledgers = state.lineage(lineage).map(|found| &found.ledgers);
            let mut ledgers = ledgers.into_iter().flat_map(|ledgers| ledgers.values());
            ledgers.any(|ledger| ledger.first_needed() < below)
        })
    }

    /// Gives up ranges of a lineage, whatever stood there, before they are listed: from then on drains pass
    /// them, and once the lineage has left the state nobody else knows.
    pub(crate) async fn give_up(
        &self,
        lineage: Lineage,
        spans: &[Span],
    ) -> Result<(), LineageError> {
        self.given_up.add(lineage, spans.iter().copied());
        let loss = |span: &Span| {
            let (from, to) = (span.first, span.last.saturating_add(1));
            Loss { epoch: lineage.epoch, from, to, ids: None }
        };
        let losses: Vec<Loss> = spans.iter().map(loss).collect();
        self.remember_lost(lineage, &losses).await
    }

    /// Has the shard of a lineage remember what is lost.
    async fn remember_lost(&self, lineage: Lineage, losses: &[Loss]) -> Result<(), LineageError> {
        let newest = self.all().into_iter().rev().find_map(|(it, held)| match held.held {
            Held::Written(shard) if (it.flow, it.shard) == (lineage.flow, lineage.shard) => {
                Some(shard)
            }
            _ => None,
        });
        let lost = match newest {
            Some(shard) => shard.lose(losses).await,
            None => {
                Err(PutError::Exhausted { reason: Exhaustion::Moving, retry_after: Duration::ZERO })
            }
        };
        lost.map_err(|error| LineageError::Log {
            lineage,
            doing: "given up",
            error: Box::new(error),
        })
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

    /// Lists what the log has found unreadable since it was last asked: readers pass it then.
    pub(crate) async fn lose_unreadable(&self) {
        let quarantined = self.options.log.quarantined();
        let news: Vec<_> = quarantined
            .into_iter()
            .filter(|range| {
                self.options.cluster.read(|state| {
                    let known = state.lineage(range.lineage);
                    known.is_some_and(|found| found.lost_between(range.from, range.to) == 0)
                })
            })
            .filter(|range| self.is_needed(range.lineage, range.to))
            .collect();
        for range in news {
            let losses: Vec<Loss> = loss_of_record(&range).into_iter().collect();
            match self.remember_lost(range.lineage, &losses).await {
                Ok(()) => self.list_lost(&range).await,
                // Asked again at the next change.
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    warn!(error, "cannot list a range as lost");
                }
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

/// What is lost to producers with a range that the log cannot read: nothing if that was no block.
fn loss_of_record(range: &Quarantined) -> Option<Loss> {
    if range.kind.is_some_and(|kind| kind != kind::PUT) {
        return None;
    }
    let ids = range.identity.map(|id| sdk_channel::record::LostIds {
        producer: id.producer,
        generation: id.generation,
        first: id.sequence,
        end: id.sequence.saturating_add(range.to - range.from),
    });
    Some(Loss { epoch: range.lineage.epoch, from: range.from, to: range.to, ids })
}

fn options_of(channel: &VersionChannel) -> ChannelOptions {
    let kind = if channel.durable { ChannelKind::Durable } else { ChannelKind::Memory };
    ChannelOptions { number: channel.number, kind, capacity: Arc::clone(&channel.capacity) }
}
