//! What delivers: one drain for each sink group and lineage of this node.

mod begun;

pub(crate) use begun::{BEGINS_WITHIN, Idle};

use crate::cluster::Cluster;
use crate::ledger::{RaftCursor, RaftLedger};
use crate::letters::Letters;
use crate::lineages::{Held, HeldLineage, Lineages};
use crate::losses::ListedReader;
use crate::memory::{MemoryCursor, MemoryFloors};
use crate::penalties::{ClusterPenalties, Reports};
use crate::version::{Version, VersionGroup};
use begun::Begun;
use futures::FutureExt as _;
use sdk_config::{BalanceSelector, Policy as SpecPolicy, SinkSpec};
use sdk_edge::{SinkBuilder, StandardSinks};
use sdk_event::Lineage;
use sdk_files::archive::Archive;
use sdk_files::fs::FileSystems;
use sdk_files::ledger::{Ledger, LedgerError, MemoryLedger, MemoryRoots};
use sdk_files::metrics::SinkMetrics;
use sdk_files::name::Names;
use sdk_files::{Drain, DrainHandle, DrainLimits, DrainMemory, Preference, Readers};
use sdk_files::{FileSink, SinkIdentity};
use sdk_flow::{
    BoxError, ChannelReader, Clock, Cursor, Entropy, GroupOptions, GroupRunner, GroupStats, Member,
    Order, Penalties, Policy, ReadError, Tasks, with_causes,
};
use sdk_wal::Log;
use server_cluster::{FlowId, GroupNumber};
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

/// Changes of the state are followed in strides: many come at once.
const STRIDE: Duration = Duration::from_millis(20);
/// A drain that failed is started again after this.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// What drains work with.
pub(crate) struct DrainOptions {
    pub(crate) cluster: Cluster,
    pub(crate) lineages: Arc<Lineages>,
    pub(crate) log: Log,
    pub(crate) archive: Option<Arc<Archive>>,
    /// Where sinks that write no files put what they refuse.
    pub(crate) letters: Arc<Letters>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) metrics: sdk_files::metrics::Metrics,
    pub(crate) file_systems: Arc<dyn FileSystems>,
}

/// Which drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DrainKey {
    pub(crate) lineage: Lineage,
    pub(crate) group: GroupNumber,
}

/// A drain that runs.
#[derive(Clone)]
pub(crate) enum Running {
    /// Into files.
    Files(DrainHandle),
    /// Into a sink without files.
    Events(Arc<GroupStats>),
}

/// All drains of this node.
pub(crate) struct Drains {
    options: DrainOptions,
    begun: Mutex<BTreeMap<DrainKey, Begun>>,
    /// Told when a drain has ended that may have to begin again.
    ended: Notify,
    /// When the oldest was put of what each drain found when it began.
    found: Mutex<BTreeMap<DrainKey, i64>>,
    /// File sinks by flow, version and number: all lineages of a version share one.
    sinks: Mutex<BTreeMap<(FlowId, u32, u32), Arc<FileSink>>>,
    sinks_without_files: StandardSinks,
    memory_roots: MemoryRoots,
    /// What all drains into files hold in memory.
    file_memory: Arc<DrainMemory>,
    reports: Arc<Reports>,
    tasks: Tasks,
}

/// Why a drain does not begin.
#[derive(Debug, thiserror::Error)]
enum BeginError {
    #[error("sink {sink} cannot be built")]
    Sink {
        sink: Arc<str>,
        #[source]
        error: BoxError,
    },
    #[error("the group's token was refused")]
    Ledger(#[from] LedgerError),
    #[error("the channel cannot be read")]
    Read(#[from] ReadError),
}

impl Drains {
    /// Starts to follow what the state says this node is to drain.
    pub(crate) fn start(options: DrainOptions, tasks: &Tasks) -> Arc<Self> {
        let entropy = Arc::clone(&options.entropy);
        let drains = Arc::new(Self {
            options,
            sinks_without_files: StandardSinks::new(entropy),
            begun: Mutex::default(),
            ended: Notify::new(),
            found: Mutex::default(),
            sinks: Mutex::default(),
            memory_roots: MemoryRoots::default(),
            file_memory: Arc::default(),
            reports: Arc::default(),
            tasks: Tasks::new(),
        });
        tasks.start("drains", |stop| Arc::clone(&drains).follow(stop));
        drains
    }

    /// Every running drain.
    pub(crate) fn running(&self) -> Vec<(DrainKey, Running)> {
        let begun = self.lock();
        begun.iter().filter_map(|(key, it)| Some((*key, it.running().cloned()?))).collect()
    }

    /// Why a drain gets nowhere, if that is so. It needs no request in between to notice.
    pub(crate) fn idle(&self, key: DrainKey) -> Option<Idle> {
        let now = self.options.clock.monotonic();
        match self.lock().get(&key) {
            Some(begun) => begun.idle(now),
            None => Some(Idle::Unbegun),
        }
    }

    fn runs(&self, key: DrainKey, running: Running) {
        if let Some(begun) = self.lock().get_mut(&key) {
            begun.runs(running);
        }
    }

    fn fails(&self, key: DrainKey, why: String) {
        let now = self.options.clock.monotonic();
        if let Some(begun) = self.lock().get_mut(&key) {
            begun.fails(now, why);
        }
    }

    /// A time before which nothing was put that waits for a drain, as it was when the drain began: all
    /// that is known of it while it gets nowhere.
    pub(crate) fn found(&self) -> BTreeMap<DrainKey, i64> {
        self.found.lock().expect("no panic while the lock is held").clone()
    }

    /// The file sinks of a version, by number.
    pub(crate) fn file_sink(&self, flow: FlowId, sink: u32) -> Option<Arc<FileSink>> {
        let sinks = self.sinks.lock().expect("no panic while the lock is held");
        let mut of_sink =
            sinks.iter().filter(|((id, _, number), _)| *id == flow && *number == sink);
        of_sink.next_back().map(|(_, sink)| Arc::clone(sink))
    }

    /// What a file sink has counted since the node started.
    pub(crate) fn sink_metrics(&self, flow: &str, sink: &str) -> SinkMetrics {
        self.options.metrics.sink(flow, sink)
    }

    /// Has the drains of a lineage read their ledger again, after an operator has changed it.
    pub(crate) fn refresh(&self, lineage: Option<Lineage>) {
        for (key, running) in self.running() {
            if let Running::Files(handle) = running
                && lineage.is_none_or(|lineage| lineage == key.lineage)
            {
                handle.refresh();
            }
        }
    }

    /// Finishes every open file now, and goes on.
    pub(crate) fn roll_now(&self) {
        for (_, running) in self.running() {
            if let Running::Files(handle) = running {
                handle.roll_now();
            }
        }
    }

    /// Finishes what is open and ends, within `grace`.
    pub(crate) async fn finish(&self, grace: Duration) {
        self.tasks.stop(grace).await;
    }

    async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut changes = self.options.cluster.changes();
        loop {
            changes.mark_seen();
            self.options.lineages.follow_floors();
            self.options.lineages.lose_unreadable().await;
            // A node that stops begins nothing: what has ended was told to.
            if !self.tasks.shutdown().is_cancelled() {
                self.begin_due();
            }
            self.forget_sinks();
            let changed = stop.run_until_cancelled(async {
                tokio::select! {
                    biased;
                    () = changes.changed() => (),
                    // What the state named before it was open here begins now: the state may never
                    // change again.
                    () = self.options.lineages.opened() => (),
                    () = self.ended.notified() => (),
                }
                tokio::time::sleep(STRIDE).await;
            });
            if changed.await.is_none() {
                return;
            }
        }
    }

    /// Forgets the sinks of versions that are forgotten.
    fn forget_sinks(&self) {
        let known = self.options.lineages.versions();
        let mut sinks = self.sinks.lock().expect("no panic while the lock is held");
        sinks.retain(|(flow, version, _), _| known.contains(&(*flow, *version)));
    }

    #[cfg(test)]
    pub(crate) fn known_sinks(&self) -> usize {
        self.sinks.lock().expect("no panic while the lock is held").len()
    }

    fn begin_due(self: &Arc<Self>) {
        let node = self.options.cluster.node();
        let due = self.options.cluster.read(|state| state.drains(node));
        let due =
            due.into_iter().map(|drain| DrainKey { lineage: drain.lineage, group: drain.group });
        let of_memory = self.options.lineages.all().into_iter().flat_map(|(lineage, held)| {
            let groups = held.version.groups.iter().filter(|group| !group.durable);
            let written = matches!(held.held, Held::Written(_));
            let numbers: Vec<_> = groups.filter(|_| written).map(|group| group.number).collect();
            numbers.into_iter().map(move |group| DrainKey { lineage, group })
        });
        for key in due.chain(of_memory) {
            let Some(held) = self.options.lineages.get(key.lineage) else { continue };
            if self.lock().contains_key(&key) {
                continue;
            }
            let at = self.options.clock.monotonic();
            self.lock().insert(key, Begun::new(at));
            let (drains, found) = (Arc::clone(self), held.clone());
            self.tasks.start(format!("look {} {}", key.lineage, key.group), |stop| async move {
                stop.run_until_cancelled(drains.look(key, found)).await;
            });
            let drains = Arc::clone(self);
            self.tasks.start(format!("drain {} {}", key.lineage, key.group), |stop| async move {
                drains.drain(key, held, stop).await;
            });
        }
    }

    /// Looks up when the oldest was put of what a drain finds.
    async fn look(self: Arc<Self>, key: DrainKey, held: HeldLineage) {
        let ledger = |state: &server_cluster::State| {
            Some(state.ledger(key.lineage, key.group)?.first_needed())
        };
        let first = self.options.cluster.read(ledger);
        let (Some(first), Some(group)) = (first, held.version.group(key.group)) else { return };
        let readers = self.readers(key.lineage, &held, group);
        if let Ok(Some(put_ms)) = sdk_files::put_ms(&readers, first).await
            && self.lock().contains_key(&key)
        {
            self.found.lock().expect("no panic while the lock is held").insert(key, put_ms);
        }
    }

    /// Drains until there is nothing left, whatever fails in between.
    async fn drain(self: Arc<Self>, key: DrainKey, held: HeldLineage, stop: CancellationToken) {
        let durable = held.version.group(key.group).is_some_and(|group| group.durable);
        while !stop.is_cancelled() {
            let drained = AssertUnwindSafe(self.drain_once(key, &held, &stop)).catch_unwind();
            let error: BoxError = match drained.await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => error,
                Err(_) if durable => "it has panicked".into(),
                // Where it stood was in memory alone.
                Err(_) => return self.fails(key, "it has panicked".to_owned()),
            };
            let why = with_causes(&*error);
            error!(lineage = %key.lineage, group = key.group, error = why, "drain failed, will begin again");
            self.fails(key, why);
            stop.run_until_cancelled(tokio::time::sleep(RESTART_AFTER)).await;
        }
        debug!(lineage = %key.lineage, group = key.group, "drain ended");
        let now = self.options.clock.monotonic();
        if let Some(begun) = self.lock().get_mut(&key) {
            begun.ends(now);
        }
        // A group of a memory channel is not in the state: its drain has ended for good.
        if durable {
            // Drained, mostly. Fenced, perhaps, or refused: if it is still ours, it begins again.
            let stopped =
                stop.run_until_cancelled(tokio::time::sleep(RESTART_AFTER)).await.is_none();
            self.lock().remove(&key);
            self.found.lock().expect("no panic while the lock is held").remove(&key);
            if !stopped {
                self.ended.notify_one();
            }
        }
    }

    async fn drain_once(
        &self,
        key: DrainKey,
        held: &HeldLineage,
        stop: &CancellationToken,
    ) -> Result<(), BoxError> {
        let version = &held.version;
        let Some(group) = version.group(key.group) else { return Ok(()) };
        match (group.writes_files(), group.durable) {
            (true, true) => {
                let ledger = Arc::new(self.ledger(key, group));
                self.drain_to_files(key, held, group, ledger, stop).await
            }
            (true, false) => {
                let ledger = MemoryLedger::new(self.memory_roots.clone());
                let floors = MemoryFloors { ledger, held: held.clone(), channel: group.channel };
                self.drain_to_files(key, held, group, Arc::new(floors), stop).await
            }
            (false, true) => {
                let (ledger, stats) = (Arc::new(self.ledger(key, group)), Arc::default());
                let acquired = RaftCursor::acquire(ledger, Arc::clone(&stats)).await;
                let (cursor, floor) = acquired.map_err(BeginError::from)?;
                let at = (Arc::new(cursor) as Arc<dyn Cursor>, floor);
                self.drain_events(key, held, group, at, stats, stop).await
            }
            (false, false) => {
                let cursor = MemoryCursor::new(held.clone(), group.channel);
                let at = (Arc::new(cursor) as Arc<dyn Cursor>, 0);
                self.drain_events(key, held, group, at, Arc::default(), stop).await
            }
        }
    }

    fn readers(&self, lineage: Lineage, held: &HeldLineage, group: &VersionGroup) -> HeldReaders {
        let (held, cluster) = (held.held.clone(), self.options.cluster.clone());
        HeldReaders { held, channel: group.channel, lineage, cluster }
    }

    fn ledger(&self, key: DrainKey, group: &VersionGroup) -> RaftLedger {
        let (cluster, log) = (self.options.cluster.clone(), self.options.log.clone());
        RaftLedger::new(cluster, key.lineage, key.group, group.channel, log)
    }

    async fn drain_to_files(
        &self,
        key: DrainKey,
        held: &HeldLineage,
        group: &VersionGroup,
        ledger: Arc<dyn Ledger>,
        stop: &CancellationToken,
    ) -> Result<(), BoxError> {
        let members = self.file_sinks(&held.version, group)?;
        let cluster = self.options.cluster.read(|state| state.cluster());
        let cluster = cluster.ok_or("the cluster has no id yet")?;
        let mut channels = held.version.channels.iter();
        let channel = channels.find(|channel| channel.number == group.channel);
        let channel = channel.ok_or("the group's channel is not in the spec")?;
        let options = sdk_files::DrainOptions {
            channel: Arc::clone(&channel.name),
            group: Arc::clone(&group.name),
            names: Names { cluster: cluster.0, lineage: key.lineage },
            members,
            preference: match group.policy {
                SpecPolicy::Failover => Preference::Order,
                _ => Preference::Spread,
            },
            ledger,
            readers: Arc::new(self.readers(key.lineage, held, group)),
            file_systems: Arc::clone(&self.options.file_systems),
            penalties: self.penalties(&held.version, group),
            archive: self.options.archive.clone(),
            clock: Arc::clone(&self.options.clock),
            entropy: Arc::clone(&self.options.entropy),
            memory: Arc::clone(&self.file_memory),
            limits: DrainLimits::default(),
        };
        let (drain, handle) = Drain::new(options);
        self.runs(key, Running::Files(handle));
        drain.run(stop.clone()).await?;
        Ok(())
    }

    async fn drain_events(
        &self,
        key: DrainKey,
        held: &HeldLineage,
        group: &VersionGroup,
        (cursor, floor): (Arc<dyn Cursor>, u64),
        stats: Arc<GroupStats>,
        stop: &CancellationToken,
    ) -> Result<(), BoxError> {
        let members = group.members.iter().map(|member| {
            let sink = self.sinks_without_files.build(
                &held.version.flow_name,
                &member.name,
                &member.spec,
            )?;
            let (name, priority) = (Arc::clone(&member.name), member.priority);
            Ok(Member { name, priority, sink })
        });
        let members = members.collect::<Result<Vec<_>, BoxError>>()?;
        let readers = self.readers(key.lineage, held, group);
        let reader = readers.reader(floor).map_err(BeginError::from)?;
        let runner = GroupRunner::new(GroupOptions {
            name: Arc::clone(&group.name),
            reader,
            cursor,
            members,
            policy: policy(group.policy),
            penalties: self.penalties(&held.version, group),
            dead_letters: Some(self.options.letters.of_sinks(&held.version.flow_name)),
            entropy: Arc::clone(&self.options.entropy),
            batch_bytes_max: GroupRunner::BATCH_BYTES_MAX,
            stats: Arc::clone(&stats),
        });
        self.runs(key, Running::Events(stats));
        runner.run(stop.clone()).await?;
        Ok(())
    }

    fn file_sinks(
        &self,
        version: &Version,
        group: &VersionGroup,
    ) -> Result<Vec<Arc<FileSink>>, BeginError> {
        let mut sinks = self.sinks.lock().expect("no panic while the lock is held");
        let mut members = Vec::new();
        for member in &group.members {
            let SinkSpec::Files(spec) = &member.spec else { continue };
            let key = (version.flow, version.number, member.number);
            if let Some(known) = sinks.get(&key) {
                members.push(Arc::clone(known));
                continue;
            }
            let identity = SinkIdentity {
                flow: Arc::clone(&version.flow_name),
                name: Arc::clone(&member.name),
                number: member.number,
            };
            let metrics = self.options.metrics.sink(&version.flow_name, &member.name);
            let sink = FileSink::new(spec, identity, &*self.options.file_systems, metrics)
                .map_err(|error| BeginError::Sink {
                    sink: Arc::clone(&member.name),
                    error: Box::new(error),
                })?;
            let sink = Arc::new(sink);
            sinks.insert(key, Arc::clone(&sink));
            members.push(sink);
        }
        Ok(members)
    }

    fn penalties(&self, version: &Version, group: &VersionGroup) -> Arc<dyn Penalties> {
        let sinks = group.members.iter().map(|member| (member.name.to_string(), member.number));
        Arc::new(ClusterPenalties::new(
            self.options.cluster.clone(),
            version.flow,
            sinks.collect(),
            Arc::clone(&self.reports),
            Arc::clone(&self.options.clock),
            Arc::clone(&self.options.entropy),
        ))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<DrainKey, Begun>> {
        self.begun.lock().expect("no panic while the lock is held")
    }
}

impl Running {
    /// Everything put before this is delivered, as far as it has read. `None`: nothing yet.
    pub(crate) fn final_before_ms(&self) -> Option<i64> {
        match self {
            Running::Files(handle) => handle.status().read_final_before_ms(),
            Running::Events(stats) => stats.delivered_before_ms(),
        }
    }

    /// What sinks without files have done.
    pub(crate) fn stats(&self) -> Option<&GroupStats> {
        match self {
            Running::Events(stats) => Some(stats),
            Running::Files(_) => None,
        }
    }
}

fn policy(policy: SpecPolicy) -> Policy {
    match policy {
        SpecPolicy::Default => Policy::Default,
        SpecPolicy::Failover => Policy::Failover,
        SpecPolicy::LoadBalance { selector, backoff } => Policy::LoadBalance {
            order: match selector {
                BalanceSelector::RoundRobin => Order::RoundRobin,
                BalanceSelector::Random => Order::Random,
            },
            backoff,
        },
    }
}

/// Readers of one channel of a lineage.
struct HeldReaders {
    held: Held,
    channel: u8,
    lineage: Lineage,
    cluster: Cluster,
}

impl Readers for HeldReaders {
    fn reader(&self, from: u64) -> Result<Box<dyn ChannelReader>, ReadError> {
        let reader = self.held.reader(self.channel, from)?;
        Ok(Box::new(ListedReader::new(reader, self.cluster.clone(), self.lineage)))
    }
}
