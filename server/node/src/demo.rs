//! The main job in one terminal: a web server's log, an agent's flow, a node, files, the books.

mod weblog;

use crate::arguments::DemoArguments;
use crate::figures::Figures;
use crate::http::Faces;
use crate::node::{Addresses, Node, NodeOptions, StopSignals};
use anyhow::{Context, Result, anyhow};
use proto::v1;
use proto::v1::admin_client::AdminClient;
use sdk_config::{Address, FlowSpec, NodeConfig, parse_agent};
use sdk_edge::{Edge, EdgeOptions};
use sdk_flow::{Clock, Entropy, SystemClock, SystemEntropy, Tasks};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use weblog::WebLog;

/// How often the figures on stderr are written anew.
const FIGURES_EVERY: Duration = Duration::from_secs(2);
/// Files roll this often, so that there is something to see.
const ROLL: &str = "10s";
/// How long the last lines may take from the log into files.
const SETTLE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How a demo ended.
#[derive(Debug)]
pub struct DemoOutcome {
    /// Whether the books balance.
    pub balanced: bool,
    /// The audit as one line of JSON.
    pub audit: String,
}

/// Runs the demo until its time is up, or Ctrl-C, and returns the audit.
pub async fn demo(arguments: DemoArguments) -> Result<DemoOutcome> {
    // The signal counts from the first moment on, also while everything is still starting.
    let mut signals = StopSignals::listen();
    let folder = folder(arguments.data_dir.as_deref())?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let config = node_config(&folder)?;
    say(&format!("demo: everything it makes is kept in {}", folder.display()));
    let node = Node::start(NodeOptions {
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
        ..NodeOptions::new(config)
    });
    let node = node.await.context("start the node")?;
    let addresses = node.addresses();
    say(&format!(
        "demo: status page http://{0}/ · in a second terminal: collector-cli --endpoint http://{0} status",
        addresses.admin
    ));

    let writers = Tasks::new();
    let web = folder.join("web");
    std::fs::create_dir_all(&web).context("make the web server's folder")?;
    let log = WebLog::new(&web, arguments.rate, Arc::clone(&clock), Arc::clone(&entropy));
    let written = log.written();
    writers.start("web log", |stop| log.run(stop));
    let edge = start_edge(&folder, &web, &addresses, &clock, &entropy).await?;

    let figures = Arc::clone(node.figures());
    let length = Duration::from_secs(arguments.seconds);
    tokio::select! {
        () = signals.told() => say("demo: interrupted, putting everything into files"),
        () = tokio::time::sleep(length) => say("demo: time is up, putting everything into files"),
        () = show(&figures, &written) => (),
    }
    writers.stop(Duration::from_secs(5)).await;
    let lines = written.load(Ordering::Relaxed);
    // A second Ctrl-C ends it where it is; the next start would take it up.
    tokio::select! {
        () = arrived(&figures, lines) => (),
        () = tokio::time::sleep(SETTLE) => say("demo: not every line has arrived in time"),
        () = signals.told() => (),
    }
    edge.stop(Duration::from_secs(5)).await;
    node.roll_now();
    tokio::select! {
        () = delivered(&figures) => (),
        () = tokio::time::sleep(SETTLE) => say("demo: not every event is in a file in time"),
        () = signals.told() => (),
    }
    let audit = audit(&addresses).await.context("audit")?;
    tree(&folder);
    node.stop().await;
    Ok(DemoOutcome { balanced: audit.balanced, audit: serde_json::to_string(&audit)? })
}

fn folder(told: Option<&Path>) -> Result<PathBuf> {
    let folder = match told {
        Some(folder) => {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("make {}", folder.display()))?;
            folder.to_owned()
        }
        None => tempfile::Builder::new()
            .prefix("collector-demo-")
            .tempdir()
            .context("make a folder")?
            .keep(),
    };
    folder.canonicalize().with_context(|| format!("find {}", folder.display()))
}

/// A node with the defaults, but for a shorter roll, on the default ports where they are free.
fn node_config(folder: &Path) -> Result<NodeConfig> {
    let text = |path: &Path| {
        path.to_str().map(str::to_owned).ok_or_else(|| anyhow!("{} is not UTF-8", path.display()))
    };
    let data_dir = text(&folder.join("data"))?;
    let mut config = NodeConfig::without_file(&data_dir, &text(&folder.join("files"))?);
    for flow in config.flows.values_mut() {
        // One producer needs one shard; more would only make smaller files.
        flow.shards = 1;
        for sink in flow.sinks.values_mut() {
            if let sdk_config::SinkSpec::Files(files) = sink {
                files.roll_interval = ROLL.parse().map_err(|error| anyhow!("{error}"))?;
            }
        }
    }
    for address in [&mut config.node.ingest, &mut config.node.peer, &mut config.node.admin] {
        if TcpListener::bind(address.to_string()).is_err() {
            *address = Address::new("127.0.0.1", 0);
        }
    }
    Ok(config)
}

async fn start_edge(
    folder: &Path,
    web: &Path,
    addresses: &Addresses,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<Edge> {
    // What an agent's file would say.
    let toml = format!(
        r#"
[flow.default.sources.log]
type = "taildir"
channels = ["spool"]
filegroups = {{ access = "{web}/access.log*" }}
poll_interval = "100ms"
[flow.default.channels.spool]
type = "durable"
capacity = "1GiB"
[flow.default.sinks.tier]
type = "collector"
channel = "spool"
endpoints = ["http://{ingest}"]
"#,
        web = web.display(),
        ingest = addresses.ingest
    );
    let parsed = parse_agent(&toml, "demo", &|_| None).map_err(|error| anyhow!("{error}"))?;
    let flows: BTreeMap<String, FlowSpec> = parsed.value.flows;
    let options = EdgeOptions {
        clock: Arc::clone(clock),
        entropy: Arc::clone(entropy),
        ..EdgeOptions::new(folder.join("agent"), flows)
    };
    Edge::start(options).await.context("start the agent's flow")
}

/// Live figures, for ever.
async fn show(figures: &Figures, written: &AtomicU64) {
    let mut every = tokio::time::interval(FIGURES_EVERY);
    loop {
        every.tick().await;
        let status = figures.status().await;
        let flow = status.flows.first().cloned().unwrap_or_default();
        let files: u64 = status.sinks.iter().map(|sink| sink.files_rolled).sum();
        let backlog: u64 = status.sinks.iter().map(|sink| sink.backlog_events).sum();
        say(&format!(
            "demo: {:>8} lines logged · {:>8} acknowledged ({:.0}/s) · {backlog:>7} not in a file yet · {files:>3} files · final before {}",
            written.load(Ordering::Relaxed),
            flow.acknowledged_events,
            flow.events_per_second,
            flow.final_before.get(11..19).unwrap_or("-"),
        ));
        for reason in status.reasons {
            say(&format!("demo: {reason}"));
        }
    }
}

/// Returns when so many events are stored.
async fn arrived(figures: &Figures, lines: u64) {
    while figures.stored_events() < lines {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Returns when nothing waits.
async fn delivered(figures: &Figures) {
    while figures.sinks().iter().any(|sink| sink.backlog_events > 0) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn audit(addresses: &Addresses) -> Result<v1::AuditReply> {
    let mut admin = AdminClient::connect(format!("http://{}", addresses.admin)).await?;
    Ok(admin.audit(v1::AuditRequest { deep: true, since_ms: 0 }).await?.into_inner())
}

/// The directories with finished files.
fn tree(folder: &Path) {
    let files = folder.join("files").join("default");
    let mut directories: Vec<(PathBuf, usize)> = Vec::new();
    for day in children(&files) {
        for minute in children(&day) {
            let count = children(&minute).len();
            directories.push((minute, count));
        }
    }
    directories.sort();
    for (directory, count) in directories {
        say(&format!("demo: {} · {count} files", directory.display()));
    }
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let visible =
        entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with(['.', '_']));
    visible.map(|entry| entry.path()).collect()
}

fn say(line: &str) {
    // Whoever closed stderr does not want to read it.
    drop(writeln!(std::io::stderr(), "{line}"));
}
