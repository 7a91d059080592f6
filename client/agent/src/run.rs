//! Running the agent until it is told to stop.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use sdk_config::{AgentSettings, Port};
use sdk_edge::{Edge, EdgeError, EdgeFailure, EdgeOptions};
use sdk_flow::{Tasks, code};
use sdk_tls::Gate;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use crate::arguments::AgentArguments;
use crate::{check, pages, serve};

/// How long pages that are being served may take when the agent has stopped.
const PAGES_GRACE: Duration = Duration::from_secs(1);

/// `collector-agent --config FILE`.
pub(crate) async fn run(arguments: AgentArguments) -> ExitCode {
    let ended = agent(arguments).await;
    ExitCode::from(ended.unwrap_or_else(|error| {
        crate::complain(&format!("{error:#}"));
        let locked = error.downcast_ref::<EdgeError>().is_some_and(EdgeError::is_locked);
        if locked { code::LOCKED } else { code::BAD }
    }))
}

async fn agent(arguments: AgentArguments) -> anyhow::Result<u8> {
    let file = arguments.config.context("clap requires it")?;
    let Some(config) = check::read(&file) else { return Ok(code::BAD) };
    let settings = config.agent;
    let mut signals = Signals::new().context("listen for signals")?;
    let gate = Gate::load(settings.tls.as_ref(), &settings.access, "agent")
        .context("guard the admin port")?;
    let data_dir = arguments.data_dir.unwrap_or_else(|| settings.data_dir.clone().into());
    let options = EdgeOptions {
        log: settings.log.clone(),
        cache: settings.cache,
        discard_orphans: arguments.discard,
        ..EdgeOptions::new(data_dir, config.flows)
    };
    // Whoever starts the same agent twice should hear of the directory, not of the port.
    let listener = bind(&settings).await;
    let edge = tokio::select! {
        started = Edge::start(options) => started?,
        () = signals.stop() => return Ok(code::OK),
    };
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => {
            edge.stop(Duration::ZERO).await;
            return Err(error);
        }
    };
    let tasks = Tasks::new();
    let address = listener.local_addr().context("ask for the admin address")?;
    // Scripts read it: with port 0 nobody else knows it.
    drop(writeln!(anstream::stdout(), "admin {}://{address}", gate.scheme(Port::Admin)));
    info!(version = env!("CARGO_PKG_VERSION"), %address, "agent is running");
    let (router, of_pages) = (pages::pages(edge.clone(), &gate), tasks.clone());
    let watching = gate.clone();
    tasks.start("gate", |stop| watching.watch(stop));
    tasks.start("admin", |stop| serve::serve(listener, router, gate, of_pages, stop));
    let code = until_the_end(&edge, settings.shutdown_timeout.get(), &mut signals).await;
    tasks.stop(PAGES_GRACE).await;
    Ok(code)
}

async fn until_the_end(edge: &Edge, grace: Duration, signals: &mut Signals) -> u8 {
    let failure = tokio::select! {
        () = signals.stop() => None,
        failure = edge.failed() => Some(failure),
    };
    let (code, grace) = match &failure {
        None => {
            info!("stopping");
            (code::OK, grace)
        }
        Some(failure) => {
            error!(error = failure as &dyn std::error::Error, "agent cannot go on");
            let dead = matches!(failure, EdgeFailure::LogDead(_));
            (if dead { code::LOG_DEAD } else { code::BAD }, Duration::ZERO)
        }
    };
    tokio::select! {
        stopped = edge.stop(grace) => {
            info!(pending_bytes = stopped.pending_bytes, cut_off = ?stopped.aborted, "agent has stopped");
            code
        }
        () = signals.stop() => {
            warn!("told to stop again, not waiting any longer");
            code::BAD
        }
    }
}

async fn bind(settings: &AgentSettings) -> anyhow::Result<TcpListener> {
    let address = &settings.admin;
    let listener = TcpListener::bind((address.host.as_str(), address.port)).await;
    listener.with_context(|| format!("serve the admin port at {address}"))
}

/// What tells a process to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Signals { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one. Cancel-safe.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => (),
            _ = self.interrupt.recv() => (),
        }
    }
}
