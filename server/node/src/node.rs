//! A node from its first file to its last: what is started, in which order, and how it ends.

use crate::admin::AdminService;
use crate::data_dir::{DataDir, DataDirError};
use crate::door::guard;
use crate::drains::Drains;
use crate::figures::Figures;
use crate::file_systems::NodeFileSystems;
use crate::http::pages;
use crate::lineages::{LineageError, Lineages};
use crate::sources::LocalSources;
use crate::works::{FIRST_NODE, Works, WorksOptions};
use prometheus_client::registry::Registry;
use proto::v1::admin_server::AdminServer;
use sdk_channel::{SledView, record};
use sdk_config::{Address, NodeConfig, Port};
use sdk_files::archive::{Archive, ArchiveLimits};
use sdk_flow::{
    BoxError, Clock, Entropy, Exit, HostNames, ProcessExit, SystemClock, SystemEntropy, Tasks, code,
};
use sdk_tls::{Gate, Protocols, incoming};
use sdk_wal::{Log, LogOptions, Marks, OpenError};
use server_ingest::Health;
use server_raft::{Raft, RaftOptions};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

/// How long what is left may take after everything was told to stop.
const TASKS_GRACE: Duration = Duration::from_secs(5);
/// Who asks the admin port is few; one connection more is closed at once.
const ADMIN_CONNECTIONS_MAX: usize = 1_024;
/// An HTTP/2 connection of the admin port whose peer is gone is found out so.
const ADMIN_KEEPALIVE: Duration = Duration::from_secs(60);
/// The node raises its soft limit of open files to this, as far as it may.
const OPEN_FILES: u64 = 65_536;

/// What a node is started with.
pub struct NodeOptions {
    /// What it is told.
    pub config: NodeConfig,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where randomness comes from.
    pub entropy: Arc<dyn Entropy>,
    /// How it ends when its log is dead.
    pub exit: Arc<dyn Exit>,
}

impl NodeOptions {
    /// On this machine.
    #[must_use]
    pub fn new(config: NodeConfig) -> Self {
        Self {
            config,
            clock: Arc::new(SystemClock::new()),
            entropy: Arc::new(SystemEntropy),
            exit: Arc::new(ProcessExit),
        }
    }
}

/// A running node.
pub struct Node {
    tasks: Tasks,
    ingest: Tasks,
    lineages: Arc<Lineages>,
    drains: Arc<Drains>,
    sources: Arc<LocalSources>,
    health: Health,
    figures: Arc<Figures>,
    log: Log,
    addresses: Addresses,
    shutdown_timeout: Duration,
}

/// Where a node listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// For producers.
    pub ingest: SocketAddr,
    /// For operators.
    pub admin: SocketAddr,
}

/// Why a node does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its data directory.
    #[error(transparent)]
    DataDir(Box<dyn std::error::Error + Send + Sync>),
    /// Another process uses its data directory.
    #[error(transparent)]
    Locked(BoxError),
    /// A log cannot be opened.
    #[error("cannot open the {what}")]
    Log {
        /// Which.
        what: &'static str,
        /// Why.
        #[source]
        error: BoxError,
    },
    /// A log has died while it started: a write or an fsync failed.
    #[error("the {what} is dead: {reason}")]
    LogDead {
        /// Which.
        what: &'static str,
        /// Why.
        reason: Arc<str>,
    },
    /// An address cannot be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// Who may connect, and what they may do.
    #[error("the ports cannot be guarded")]
    Gate(#[source] BoxError),
    /// The control plane.
    #[error("the control plane does not work")]
    Cluster(#[source] BoxError),
    /// The lineages.
    #[error("the flows cannot be served")]
    Lineages(#[source] BoxError),
    /// A flow's sinks.
    #[error("the sinks cannot be built")]
    Sinks(#[source] BoxError),
}

impl RunError {
    /// What the process ends with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Locked(_) => code::LOCKED,
            Self::LogDead { .. } => code::LOG_DEAD,
            error if is_of_the_disk(error) => code::LOG_DEAD,
            _ => code::BAD,
        }
    }
}

/// Whether it comes from a disk that has failed (`EIO`), not from what is on it or from what was asked for.
fn is_of_the_disk(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<std::io::Error>()?.raw_os_error())
        .any(|code| code == rustix::io::Errno::IO.raw_os_error())
}

impl From<DataDirError> for RunError {
    fn from(error: DataDirError) -> Self {
        match error {
            DataDirError::Locked { .. } => Self::Locked(Box::new(error)),
            error => Self::DataDir(Box::new(error)),
        }
    }
}

impl From<LineageError> for RunError {
    fn from(error: LineageError) -> Self {
        Self::Lineages(Box::new(error))
    }
}

impl Node {
    /// Starts everything, in this order: data directory, control plane, log, lineages, sinks, sources,
    /// and the doors last. When this returns the node accepts.
    pub async fn start(options: NodeOptions) -> Result<Self, RunError> {
        let NodeOptions { config, clock, entropy, exit } = options;
        raise_file_limit();
        let gate = Gate::load(config.node.tls.as_ref(), &config.node.access, "node")
            .map_err(|error| RunError::Gate(Box::new(error)))?;
        let ingest_listener = listen(&config.node.ingest).await;
        let admin_listener = listen(&config.node.admin).await;
        let data_dir = DataDir::open(config.node.data_dir.as_ref(), &*entropy)?;
        let mut registry = Registry::default();
        gate.register(&mut registry);
        let tasks = Tasks::new();

        // The log first: its lock says whether this directory is ours.
        let view = SledView::open_or_memory(data_dir.view());
        let log_options = LogOptions {
            view: Arc::clone(&view),
            quota_bytes: config.node.log.quota.map(|quota| quota.0),
            segment_bytes: u32::try_from(config.node.log.segment.0).unwrap_or(u32::MAX),
            free_bytes_floor: config.node.log.free_min.0,
            marks: Marks {
                warn_percent: config.node.log.warn_percent,
                stop_ingest_percent: config.node.log.stop_ingest_percent,
                sinks_only_percent: config.node.log.sinks_only_percent,
            },
            cache_bytes: usize::try_from(config.node.cache.0).unwrap_or(usize::MAX),
            kind_name: record::kind::name,
            ..LogOptions::new(data_dir.log())
        };
        let (log, recovery) =
            blocking(move || Log::open(log_options)).await.map_err(log_error("log"))?;
        // Whoever starts the same node twice should hear of the directory, not of the ports.
        let (ingest_listener, admin_listener) = (ingest_listener?, admin_listener?);
        let addresses = Addresses {
            ingest: local(&ingest_listener, &config.node.ingest)?,
            admin: local(&admin_listener, &config.node.admin)?,
        };
        info!(
            took_ms = recovery.took.as_millis(),
            segments = recovery.segments,
            scanned = recovery.segments_scanned,
            "log recovered"
        );
        log.register(&mut registry);
        watch(log.failure(), Arc::clone(&exit), "log", &tasks);

        let raft_options = RaftOptions {
            quota_bytes: config.node.raft.quota.0,
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            ..RaftOptions::new(data_dir.raft(), FIRST_NODE)
        };
        let raft = {
            let tasks = tasks.clone();
            blocking(move || Raft::start(raft_options, &tasks)).await
        };
        let mut failures = vec![("log", log.failure())];
        let raft = raft.map_err(|error| {
            log_dead(&failures).unwrap_or_else(|| RunError::Cluster(Box::new(error)))
        })?;
        failures.push(("control plane", raft.failure()));
        watch(raft.failure(), exit, "control plane", &tasks);
        let limits = ArchiveLimits {
            bytes: config.node.archive.bytes.0,
            age_ms: i64::try_from(Duration::from(config.node.archive.keep).as_millis())
                .unwrap_or(i64::MAX),
        };
        let archive = Archive::open(data_dir.archive(), limits)
            .map_err(|error| RunError::Log { what: "archive", error: error.into() })?;
        let archive = Arc::new(archive);
        let hdfs_metrics = server_hdfs::Metrics::register(&mut registry);
        let file_systems =
            NodeFileSystems::new(&config.node.hdfs, hdfs_metrics, Arc::clone(&clock));
        let identity = data_dir.identity();
        let works = WorksOptions {
            cluster: identity.cluster.into_bytes(),
            directory: identity.directory.into_bytes(),
            addresses: vec![
                ("ingest".to_owned(), addresses.ingest.to_string()),
                ("admin".to_owned(), addresses.admin.to_string()),
            ],
            log: log.clone(),
            view,
            raft,
            file_systems: Arc::new(file_systems.clone()),
            archive: Some(Arc::clone(&archive)),
            dead_letters: data_dir.dead_letters(),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            host: HostNames::of_this_machine(),
            config: config.clone(),
        };
        let works = Works::start(works, &mut registry, &tasks).await;
        let works = works.map_err(|error| log_dead(&failures).unwrap_or(error))?;
        let Works { cluster, flows, lineages, drains, letters, penalty_timer } = works;
        let sources = Arc::new(LocalSources::new(
            flows.clone(),
            Arc::clone(&letters),
            Arc::clone(&entropy),
            Arc::clone(&clock),
        ));
        sources.settle();

        let ingest_metrics = server_ingest::Metrics::default();
        let connections = ingest_metrics.connections.clone();
        ingest_metrics.register(registry.sub_registry_with_prefix("collector"));
        let figures = Figures::new(
            cluster.clone(),
            flows.clone(),
            Arc::clone(&lineages),
            Arc::clone(&drains),
            log.clone(),
            penalty_timer,
            Arc::clone(&clock),
            data_dir.clone(),
            addresses,
            gate.clone(),
            connections,
            registry,
        );
        tasks.start("rates", |stop| Arc::clone(&figures).follow_rates(stop));

        let health = Health::new().await;
        let ingest = Tasks::new();
        let mut ingest_options = server_ingest::Options::new(health.clone());
        ingest_options.entropy = Arc::clone(&entropy);
        ingest_options.metrics = ingest_metrics;
        ingest_options.limits = limits_of(&config);
        ingest_options.gate = gate.clone();
        ingest_options.grace = config.node.shutdown_timeout.into();
        let router: Arc<dyn server_ingest::Router> = Arc::new(flows.clone());
        ingest.start("ingest", |stop| {
            server_ingest::serve(ingest_listener, router, ingest_options, stop)
        });
        let admin = AdminService {
            figures: Arc::clone(&figures),
            cluster,
            lineages: Arc::clone(&lineages),
            flows,
            drains: Arc::clone(&drains),
            archive,
            auditing: Arc::default(),
            file_systems,
            letters,
            sources: Arc::clone(&sources),
            tasks: tasks.clone(),
        };
        serve_admin(admin_listener, admin, &figures, &gate, &tasks);
        tasks.start("gate", |stop| gate.watch(stop));
        health.set_serving(true).await;
        figures.set_ready(true);
        info!(ingest = %addresses.ingest, admin = %addresses.admin, "the node accepts");
        let shutdown_timeout = config.node.shutdown_timeout.into();
        Ok(Self {
            tasks,
            ingest,
            lineages,
            drains,
            sources,
            health,
            figures,
            log,
            addresses,
            shutdown_timeout,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// What it knows about itself.
    #[must_use]
    pub fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }

    /// Finishes every open file now, and goes on.
    pub fn roll_now(&self) {
        self.drains.roll_now();
    }

    /// Refuses what is new, answers what is in flight, rolls what is open, and ends. What does not
    /// get that far within the shutdown timeout is taken up by the next start.
    pub async fn stop(self) {
        self.figures.set_ready(false);
        self.health.set_serving(false).await;
        let stopped = self.sources.stop(self.shutdown_timeout).await;
        warn_aborted(&stopped.aborted);
        let stopped = self.ingest.stop(self.shutdown_timeout).await;
        warn_aborted(&stopped.aborted);
        self.lineages.stop().await;
        self.drains.finish(self.shutdown_timeout).await;
        self.lineages.close();
        let stopped = self.tasks.stop(TASKS_GRACE).await;
        warn_aborted(&stopped.aborted);
        let log = self.log;
        // The closing flush; a log that died has said so already.
        drop(tokio::task::spawn_blocking(move || log.stop()).await);
        info!("the node has stopped");
    }
}

fn warn_aborted(aborted: &[std::borrow::Cow<'static, str>]) {
    if !aborted.is_empty() {
        warn!(?aborted, "not everything stopped in time");
    }
}

/// What is dead ends the process: only a start can say what its disk holds.
fn watch(
    mut failure: watch::Receiver<Option<Arc<str>>>,
    exit: Arc<dyn Exit>,
    what: &'static str,
    tasks: &Tasks,
) {
    tasks.start(format!("{what} watch"), |stop| async move {
        let died = stop.run_until_cancelled(failure.wait_for(Option::is_some)).await;
        if let Some(Ok(reason)) = died {
            let reason = reason.as_deref().unwrap_or("for a reason it did not say").to_owned();
            exit.exit(code::LOG_DEAD, &format!("the {what} is dead: {reason}"));
        }
    });
}

fn serve_admin(
    listener: TcpListener,
    admin: AdminService,
    figures: &Arc<Figures>,
    gate: &Gate,
    tasks: &Tasks,
) {
    let service = AdminServer::new(admin);
    let router = tonic::service::Routes::new(service)
        .into_axum_router()
        .reset_fallback()
        .merge(pages(Arc::clone(figures) as Arc<dyn crate::http::Faces>))
        .layer(axum::middleware::from_fn_with_state(gate.clone(), guard));
    let tls = gate.tls(Port::Admin);
    let incoming = incoming(listener, tls, Protocols::Both, ADMIN_CONNECTIONS_MAX, tasks);
    tasks.start("admin", |stop| async move {
        tonic::transport::Server::builder()
            .accept_http1(true)
            .http2_keepalive_interval(Some(ADMIN_KEEPALIVE))
            .add_routes(tonic::service::Routes::from(router))
            .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
            .await
    });
}

fn limits_of(config: &NodeConfig) -> server_ingest::limits::Limits {
    let limits = &config.node.limits;
    let size = |bytes: sdk_config::ByteSize| usize::try_from(bytes.0).unwrap_or(usize::MAX);
    server_ingest::limits::Limits {
        connections_max: usize::try_from(limits.connections).unwrap_or(usize::MAX),
        streams_per_connection_max: limits.streams_per_connection,
        in_flight_bytes_max: size(limits.session_in_flight),
        memory_bytes_max: size(limits.ingest_memory),
        idle_stream: limits.idle_stream.into(),
        ..server_ingest::limits::Limits::default()
    }
}

async fn listen(address: &Address) -> Result<TcpListener, RunError> {
    let text = address.to_string();
    TcpListener::bind(&text).await.map_err(|error| RunError::Listen { address: text, error })
}

fn local(listener: &TcpListener, address: &Address) -> Result<SocketAddr, RunError> {
    listener.local_addr().map_err(|error| RunError::Listen { address: address.to_string(), error })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn log_error(what: &'static str) -> impl Fn(OpenError) -> RunError {
    move |error| match error {
        OpenError::Locked { .. } => RunError::Locked(Box::new(error)),
        error => RunError::Log { what, error: Box::new(error) },
    }
}

/// What lies behind an error, if a log has died: whatever asked it for something has failed then too.
fn log_dead(failures: &[(&'static str, watch::Receiver<Option<Arc<str>>>)]) -> Option<RunError> {
    failures.iter().find_map(|(what, failure)| {
        let reason = failure.borrow().clone()?;
        Some(RunError::LogDead { what, reason })
    })
}

fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < OPEN_FILES) {
        limit.current = Some(limit.maximum.map_or(OPEN_FILES, |maximum| maximum.min(OPEN_FILES)));
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            warn!(%error, "cannot raise the limit of open files");
        }
    }
}

/// Runs a node until it is told to stop.
pub async fn run(config: NodeConfig) -> Result<(), RunError> {
    let mut signals = StopSignals::listen();
    let node = Node::start(NodeOptions::new(config)).await?;
    signals.told().await;
    info!("stopping");
    tokio::select! {
        () = node.stop() => (),
        // Twice means now.
        () = signals.told() => warn!("stopping at once"),
    }
    Ok(())
}

/// SIGTERM and SIGINT, listened for from the moment this is made.
pub(crate) struct StopSignals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
}

impl StopSignals {
    /// Without a handler, which the system may refuse, a signal ends the process: safe as well.
    pub(crate) fn listen() -> Self {
        Self {
            interrupt: signal(SignalKind::interrupt()).ok(),
            terminate: signal(SignalKind::terminate()).ok(),
        }
    }

    /// Returns at the next of them. Cancel-safe.
    pub(crate) async fn told(&mut self) {
        tokio::select! {
            () = next(&mut self.interrupt) => (),
            () = next(&mut self.terminate) => (),
        }
    }
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}
