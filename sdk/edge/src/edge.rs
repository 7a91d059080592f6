//! Flows that run by themselves on one machine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::registry::Registry;
use sdk_channel::ChannelMetrics;
use sdk_config::{FlowSpec, InterceptorSpec};
use sdk_flow::{BoxError, Clock, HostNames, Tasks};
use sdk_wal::{Log, LogOptions, Mark, Marks};
use tokio::time::{interval, timeout};
use tracing::{info, warn};

use crate::data_dir::DataDir;
use crate::dead_letters::{DEAD_LETTERS_BYTES_MAX, DeadLetterBox};
use crate::flow::{Flow, Shared};
use crate::metrics::EdgeMetrics;
use crate::status::{
    DeadLetterStatus, EdgeStatus, OrphanStatus, SinkState, SourceState, SpoolStatus,
};
use crate::{EdgeError, EdgeFailure, EdgeOptions};

/// Bytes that may wait to be written to the log.
const IN_FLIGHT_BYTES: u64 = 16 << 20;
/// How often a stop looks whether everything is delivered.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a delivery under way may take to end when its sink was not working.
const OUT_GRACE: Duration = Duration::from_secs(1);
/// So long may the log take to write what it has, beyond the grace of a stop.
const LOG_GRACE: Duration = Duration::from_secs(10);

/// Flows that run by themselves on one machine: what an agent is.
///
/// ```text
///  taildir, seq ─▶ interceptors, selector ─▶ spool (one log) ─▶ sink groups ─▶ collector, logger, null
///        position ───────────────────────────▲     ▲──────────────── cursor
/// ```
///
/// A source's position travels in the record of what it put, and a group's cursor
/// is a record too. So an edge that ends in whatever way, and starts again on the
/// same directory, has every event of its sources in its durable channels exactly
/// once, and delivers under the same ids what it cannot know to be delivered.
///
/// Cheap to clone; all clones are one. Dropping the last of them asks its tasks to
/// end; [`Edge::stop`] waits for them.
#[derive(Clone)]
pub struct Edge {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    /// Locked for as long as the log is open.
    data_dir: Mutex<Option<DataDir>>,
    dead_letter_dir: PathBuf,
    log: Log,
    flows: Vec<Flow>,
    /// What is kept for flows that are no longer there.
    orphans: Vec<OrphanStatus>,
    letters: Arc<DeadLetterBox>,
    channel_metrics: ChannelMetrics,
    clock: Arc<dyn Clock>,
    sources: Tasks,
    groups: Tasks,
}

/// How an edge ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EdgeStopped {
    /// Bytes that wait in the spool for the next start.
    pub pending_bytes: u64,
    /// Parts that did not end in time and were cut off. Nothing is lost by that.
    pub aborted: Vec<String>,
}

impl Edge {
    /// Recovers the spool and starts everything. When this returns, sinks and
    /// sources are running; the destinations of the sinks need not be there.
    ///
    /// # Errors
    /// See [`EdgeError`]. Nothing runs then, and the directory is free again.
    pub async fn start(options: EdgeOptions) -> Result<Edge, EdgeError> {
        let host = host_names(&options).await?;
        for (name, spec) in &options.flows {
            Flow::check(name, spec, &host, &options.clock)?;
        }
        let (data_dir, log) = open(&options).await?;
        let known: Vec<u64> = options.flows.keys().map(|name| data_dir.number(name)).collect();
        let orphans = orphans(&data_dir, &log, &known);
        let letters = Arc::new(DeadLetterBox::new(
            data_dir.dead_letters(),
            Arc::clone(&options.storage),
            Arc::clone(&options.clock),
            DEAD_LETTERS_BYTES_MAX,
        ));
        let shared = Shared {
            log: log.clone(),
            clock: Arc::clone(&options.clock),
            entropy: options.entropy,
            host,
            sinks: options.sinks,
            letters: Arc::clone(&letters),
            metrics: ChannelMetrics::default(),
            discard_orphans: options.discard_orphans,
        };
        let mut flows = Vec::new();
        for (name, spec) in &options.flows {
            flows.push(Flow::open(name, data_dir.number(name), spec, &shared).await?);
        }
        let inner = Inner {
            dead_letter_dir: data_dir.dead_letters(),
            data_dir: Mutex::new(Some(data_dir)),
            log,
            flows,
            orphans,
            letters,
            channel_metrics: shared.metrics,
            clock: options.clock,
            sources: Tasks::new(),
            groups: Tasks::new(),
        };
        for flow in &inner.flows {
            flow.start(&inner.sources, &inner.groups);
        }
        Ok(Edge { inner: Arc::new(inner) })
    }

    /// Waits until the edge cannot go on; at once if that is so. Then
    /// [`stop`](Edge::stop) it and end the process. Cancel-safe.
    pub async fn failed(&self) -> EdgeFailure {
        let mut death = self.inner.log.failure();
        let dead = async {
            let reason = death.wait_for(Option::is_some).await;
            reason.map_or_else(
                |_| "the log has ended".into(),
                |reason| reason.clone().expect("waited for"),
            )
        };
        tokio::select! {
            biased;
            reason = dead => EdgeFailure::LogDead(reason),
            error = self.inner.sources.failed() => EdgeFailure::Task(error),
            error = self.inner.groups.failed() => EdgeFailure::Task(error),
        }
    }

    /// Stops in order: sources, then sinks as far as they come within `grace`, then
    /// channels. Sinks that are not working are not waited for. What is left waits
    /// for the next start. A second call finds nothing to do.
    pub async fn stop(&self, grace: Duration) -> EdgeStopped {
        let inner = &self.inner;
        let until = inner.clock.monotonic() + grace;
        let left = || until.saturating_sub(inner.clock.monotonic());
        let mut aborted = inner.sources.stop(left()).await.aborted;
        // What does not come about in time is left for the next start.
        drop(timeout(left(), inner.delivered()).await);
        let grace = if inner.nobody_works() { left().min(OUT_GRACE) } else { left() };
        aborted.extend(inner.groups.stop(grace).await.aborted);
        for flow in &inner.flows {
            if timeout(left().max(LOG_GRACE), flow.stop()).await.is_err() {
                warn!(flow = flow.name(), "the spool did not end in time");
            }
        }
        let pending_bytes = inner.flows.iter().map(Flow::pending_bytes).sum();
        let log = inner.log.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || log.stop()).await {
            warn!(%error, "the log did not end well");
        }
        inner.data_dir.lock().expect("no panic while the lock is held").take();
        let aborted = aborted.into_iter().map(|name| name.into_owned()).collect();
        EdgeStopped { pending_bytes, aborted }
    }

    /// How everything is. Looks at the dead letters' directory, otherwise cheap.
    #[must_use]
    pub fn status(&self) -> EdgeStatus {
        self.inner.status()
    }

    /// Whether its sources run and its spool takes what they read; if not, why. A
    /// destination that is away changes nothing here until the spool is full.
    ///
    /// # Errors
    /// The first reason, as a sentence.
    pub fn ready(&self) -> Result<(), String> {
        let status = self.inner.status();
        match status.ready {
            true => Ok(()),
            false => Err(status.reasons.into_iter().next().unwrap_or_default()),
        }
    }

    /// Whether the process is worth keeping; if not, only a restart helps.
    ///
    /// # Errors
    /// Why not, as a sentence.
    pub fn live(&self) -> Result<(), String> {
        match &*self.inner.log.failure().borrow() {
            Some(reason) => Err(format!("the spool's log is dead: {reason}")),
            None => Ok(()),
        }
    }

    /// Puts its metrics, `collector_…`, into a registry without a prefix. They go on
    /// being read after the edge has stopped, and end with its last clone.
    pub fn register(&self, registry: &mut Registry) {
        self.inner.log.register(registry);
        let registry = registry.sub_registry_with_prefix("collector");
        self.inner.channel_metrics.register(registry);
        registry.register_collector(Box::new(EdgeMetrics::new(&self.inner)));
    }
}

impl Inner {
    pub(crate) fn status(&self) -> EdgeStatus {
        let mut reasons = Reasons::default();
        let spool = self.spool_status(&mut reasons);
        let flows: Vec<_> = self.flows.iter().map(Flow::status).collect();
        for flow in &flows {
            for source in &flow.sources {
                let why = source.reason.as_deref().unwrap_or("no reason given");
                let name = format!("source {} of flow {}", source.name, flow.name);
                match source.state {
                    SourceState::Starting => reasons.unready(format!("{name} is starting")),
                    SourceState::Failed => reasons.unready(format!("{name} failed: {why}")),
                    SourceState::Waiting => reasons.unready(format!("{name} waits: {why}")),
                    SourceState::Running | SourceState::Ended => (),
                }
            }
            for group in &flow.groups {
                if let Some(why) = &group.failure {
                    reasons
                        .say(format!("sinks {} of flow {} stopped: {why}", group.name, flow.name));
                }
            }
            for sink in &flow.sinks {
                let why = sink.reason.as_deref().unwrap_or("no reason given");
                let name = format!("sink {} of flow {}", sink.name, flow.name);
                match sink.state {
                    SinkState::Unavailable => reasons.say(format!("{name} is unavailable: {why}")),
                    SinkState::Paused => reasons.say(format!("{name} pauses: {why}")),
                    SinkState::Rejecting => reasons.say(format!("{name} rejects events: {why}")),
                    SinkState::Idle | SinkState::Working => (),
                }
            }
        }
        let bytes = self.letters.bytes();
        if bytes > 0 {
            reasons.say(format!("there are dead letters in {}", self.dead_letter_dir.display()));
        }
        EdgeStatus {
            ready: reasons.unready.is_empty(),
            healthy: reasons.unready.is_empty() && reasons.other.is_empty(),
            reasons: reasons.unready.into_iter().chain(reasons.other).collect(),
            spool,
            dead_letters: DeadLetterStatus { events: self.letters.kept(), bytes },
            flows,
        }
    }

    fn spool_status(&self, reasons: &mut Reasons) -> SpoolStatus {
        let usage = self.log.usage();
        let dead = self.log.failure().borrow().as_ref().map(ToString::to_string);
        let unreadable = self.log.quarantined().len();
        let orphans = self.flows.iter().flat_map(Flow::orphans).chain(&self.orphans);
        let orphans: Vec<OrphanStatus> = orphans.cloned().collect();
        if let Some(dead) = &dead {
            reasons.unready(format!("the spool's log is dead: {dead}"));
        }
        let mark = format!("the spool's disk is at the mark \"{}\"", usage.mark);
        match usage.mark {
            Mark::Fine => (),
            Mark::Warn => reasons.say(mark),
            Mark::StopIngest | Mark::SinksOnly => reasons.unready(mark),
        }
        if unreadable > 0 {
            reasons.say(format!("{unreadable} ranges of the spool cannot be read"));
        }
        if !orphans.is_empty() {
            reasons.say("the spool keeps events that nobody takes any more".to_owned());
        }
        SpoolStatus {
            used_bytes: usage.used_bytes,
            quota_bytes: usage.quota_bytes,
            free_bytes: usage.free_bytes,
            mark: usage.mark.to_string(),
            unreadable,
            dead,
            orphans,
        }
    }

    /// Returns once nothing is left that a working sink could still take.
    async fn delivered(&self) {
        let mut every = interval(LOOK_EVERY);
        let groups = || self.flows.iter().flat_map(|flow| &flow.groups);
        loop {
            every.tick().await;
            let dead = self.log.failure().borrow().is_some();
            if dead || groups().all(|group| group.is_out() || group.pending_events() == 0) {
                return;
            }
        }
    }

    fn nobody_works(&self) -> bool {
        let mut groups = self.flows.iter().flat_map(|flow| &flow.groups);
        groups.all(|group| group.is_out())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.sources.shutdown().cancel();
        self.groups.shutdown().cancel();
    }
}

/// What is wrong, and whether it keeps the edge from being ready.
#[derive(Default)]
struct Reasons {
    unready: Vec<String>,
    other: Vec<String>,
}

impl Reasons {
    fn unready(&mut self, reason: String) {
        self.unready.push(reason);
    }

    fn say(&mut self, reason: String) {
        self.other.push(reason);
    }
}

async fn host_names(options: &EdgeOptions) -> Result<HostNames, EdgeError> {
    if let Some(host) = &options.host {
        return Ok(host.clone());
    }
    let asks = |spec: &FlowSpec| {
        spec.interceptors.values().any(|spec| matches!(spec, InterceptorSpec::Host(_)))
    };
    if !options.flows.values().any(asks) {
        return Ok(HostNames::default());
    }
    // It may ask a name server.
    blocking(|| Ok(HostNames::of_this_machine())).await
}

async fn open(options: &EdgeOptions) -> Result<(DataDir, Log), EdgeError> {
    let (root, storage) = (options.data_dir.clone(), Arc::clone(&options.storage));
    let names: Vec<String> = options.flows.keys().cloned().collect();
    let clock = Arc::clone(&options.clock);
    let entropy = Arc::clone(&options.entropy);
    let (settings, cache) = (options.log.clone(), options.cache);
    let discard = options.discard_orphans;
    blocking(move || {
        let data_dir = DataDir::open(&root, &storage, &names, discard)?;
        let segment = settings.segment.bytes();
        let log = LogOptions {
            storage,
            quota_bytes: settings.quota.map(|quota| quota.bytes()),
            segment_bytes: u32::try_from(segment).unwrap_or(u32::MAX),
            free_bytes_floor: settings.free_min.bytes(),
            marks: Marks {
                warn_percent: settings.warn_percent,
                stop_ingest_percent: settings.stop_ingest_percent,
                sinks_only_percent: settings.sinks_only_percent,
            },
            cache_bytes: usize::try_from(cache.bytes()).unwrap_or(usize::MAX),
            in_flight_bytes_max: IN_FLIGHT_BYTES,
            monotonic: Arc::new(move || clock.monotonic()),
            random: Arc::new(move || entropy.next_u64()),
            ..LogOptions::new(data_dir.log())
        };
        let (log, recovery) = Log::open(log).map_err(EdgeError::Log)?;
        info!(?recovery, "spool's log is open");
        Ok((data_dir, log))
    })
    .await
}

/// What the log has of flows that are no longer there.
fn orphans(data_dir: &DataDir, log: &Log, known: &[u64]) -> Vec<OrphanStatus> {
    let mut left: BTreeMap<u64, u64> = BTreeMap::new();
    for extent in log.lineages() {
        let flow = extent.lineage.flow;
        if data_dir.is_given_up(flow) {
            // The log itself does not remember what it was told to forget.
            log.forget(extent.lineage);
        } else if !known.contains(&flow) {
            *left.entry(flow).or_default() += extent.end.saturating_sub(extent.first);
        }
    }
    let orphans = left.into_iter().map(|(flow, events)| {
        let flow = data_dir.name(flow).map_or_else(|| flow.to_string(), str::to_owned);
        warn!(flow, events, "the spool keeps events of a flow that is no longer there");
        OrphanStatus { flow, channel: None, group: None, events }
    });
    orphans.collect()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EdgeError> + Send + 'static,
) -> Result<T, EdgeError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| EdgeError::Interrupted(BoxError::from(error)))?
}
