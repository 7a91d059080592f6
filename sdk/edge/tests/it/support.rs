//! A machine with a web server's log, an edge, and a tier that remembers ids.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use sdk_config::{AgentConfig, FlowSpec, SinkSpec, parse_agent};
use sdk_edge::{Edge, EdgeError, EdgeOptions, EdgeStatus, SinkBuilder};
use sdk_event::{EventId, ProducerId};
use sdk_flow::{Batch, BoxError, Clock as _, Entropy, SeededEntropy, Sink, SinkError, SystemClock};
use sdk_wal::{RealStorage, Storage};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Long enough for a busy machine; nothing waits this long unless it fails.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Asks until the answer is `Ok`.
pub(crate) fn eventually<T, E: Debug>(what: &str, mut ask: impl FnMut() -> Result<T, E>) -> T {
    let clock = SystemClock::new();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(last) if clock.monotonic() >= SOON => panic!("{what}: last {last:?}"),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Asks until the condition holds.
pub(crate) fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    eventually(what, || if holds() { Ok(()) } else { Err("it does not hold") });
}

/// What the sinks of a test deliver into. Like a node it takes each id once.
#[derive(Clone, Default)]
pub(crate) struct Tier(Arc<Mutex<TierState>>);

#[derive(Default)]
struct TierState {
    away: bool,
    /// Takes a part of a batch and fails, every so many deliveries.
    torn_every: Option<u64>,
    refuses: Option<String>,
    deliveries: u64,
    bodies: HashMap<EventId, String>,
    arrived: Vec<(EventId, String)>,
    last: BTreeMap<ProducerId, (u64, u64)>,
    headers: Vec<BTreeMap<String, String>>,
}

impl Tier {
    pub(crate) fn set_away(&self, away: bool) {
        self.lock().away = away;
    }

    /// Each so many deliveries it takes half of a batch and does not say so.
    pub(crate) fn tear_every(&self, deliveries: u64) {
        self.lock().torn_every = Some(deliveries);
    }

    /// A batch with this body in it is refused for good.
    pub(crate) fn refuse(&self, body: &str) {
        self.lock().refuses = Some(body.to_owned());
    }

    /// What has arrived, in its order.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.lock().arrived.iter().map(|(_, body)| body.clone()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().arrived.len()
    }

    pub(crate) fn headers(&self) -> Vec<BTreeMap<String, String>> {
        self.lock().headers.clone()
    }

    pub(crate) fn deliveries(&self) -> u64 {
        self.lock().deliveries
    }

    fn lock(&self) -> MutexGuard<'_, TierState> {
        self.0.lock().unwrap()
    }
}

struct TierSink(Tier);

#[async_trait]
impl Sink for TierSink {
    async fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let mut tier = self.0.lock();
        tier.deliveries += 1;
        if tier.away {
            return Err(SinkError::Unavailable("the node is away".into()));
        }
        let torn = tier.torn_every.is_some_and(|every| tier.deliveries.is_multiple_of(every));
        let taken = if torn { batch.len() / 2 } else { batch.len() };
        let refused = tier.refuses.clone();
        let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
        if batch.events().any(|(_, event)| Some(text(event.body())) == refused) {
            return Err(SinkError::Rejected("it holds a word we do not take".into()));
        }
        for (_, event) in batch.events().take(taken) {
            let (id, body) = (event.id(), text(event.body()));
            if let Some(known) = tier.bodies.get(&id) {
                assert_eq!(*known, body, "{id} came with another body");
                continue;
            }
            let place = (id.generation, id.sequence);
            let last = tier.last.insert(id.producer, place);
            assert!(last.is_none_or(|last| last < place), "{id} came after {last:?}");
            let headers = event.headers().map(|(key, value)| (key.to_owned(), value.to_owned()));
            tier.headers.push(headers.collect());
            tier.bodies.insert(id, body.clone());
            tier.arrived.push((id, body));
        }
        match torn {
            true => Err(SinkError::Unavailable("the connection broke".into())),
            false => Ok(()),
        }
    }
}

impl SinkBuilder for Tier {
    fn build(&self, _: &str, name: &str, _: &SinkSpec) -> Result<Box<dyn Sink>, BoxError> {
        match name {
            "impossible" => Err("there is no such thing".into()),
            _ => Ok(Box::new(TierSink(self.clone()))),
        }
    }
}

/// A folder with a log that grows, and a data directory.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) tier: Tier,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) config: AgentConfig,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) discard: bool,
    /// Every line that was written.
    pub(crate) lines: Vec<String>,
}

/// A flow that tails `access.log*` into a durable channel and a sink.
pub(crate) const PLAIN: &str = r#"
[agent.log]
segment = "1MiB"
quota = "64MiB"
free_min = "0"
[flow.web.sources.log]
type = "taildir"
channels = ["spool"]
filegroups = { access = "FOLDER/logs/access.log*" }
poll_interval = "20ms"
[flow.web.channels.spool]
type = "durable"
[flow.web.sinks.tier]
type = "null"
channel = "spool"
[flow.web.groups.out]
type = "default"
sinks = ["tier"]
max_penalty = "50ms"
"#;

impl World {
    pub(crate) fn new(config: &str) -> World {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("logs")).unwrap();
        let mut world = World {
            folder,
            tier: Tier::default(),
            storage: Arc::new(RealStorage),
            config: AgentConfig::default(),
            entropy: Arc::new(SeededEntropy::new(7)),
            discard: false,
            lines: Vec::new(),
        };
        world.configure(config);
        world
    }

    /// Runs another configuration from the next start on.
    pub(crate) fn configure(&mut self, config: &str) {
        let text = config.replace("FOLDER", &self.folder.path().display().to_string());
        let parsed = parse_agent(&text, "agent.toml", &|_| None);
        self.config = parsed.unwrap_or_else(|mistakes| panic!("{mistakes}")).value;
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("logs/access.log")
    }

    /// Writes as many lines as a web server would, numbered on.
    pub(crate) fn write(&mut self, lines: usize) {
        let first = self.lines.len();
        let new = (first..first + lines).map(|number| format!("GET /{number:08} HTTP/1.1"));
        let new: Vec<String> = new.collect();
        append(&self.log(), &(new.join("\n") + "\n"));
        self.lines.extend(new);
    }

    /// Turns the log by renaming it.
    #[expect(clippy::disallowed_methods, reason = "plays logrotate")]
    pub(crate) fn rotate(&self) {
        let numbers = std::fs::read_dir(self.folder.path().join("logs")).unwrap().count();
        let aside = self.folder.path().join(format!("logs/access.log.{numbers}"));
        std::fs::rename(self.log(), aside).unwrap();
    }

    pub(crate) fn options(&self) -> EdgeOptions {
        EdgeOptions {
            log: self.config.agent.log.clone(),
            sinks: Arc::new(self.tier.clone()),
            storage: Arc::clone(&self.storage),
            entropy: Arc::clone(&self.entropy),
            discard_orphans: self.discard,
            ..EdgeOptions::new(self.data_dir(), self.config.flows.clone())
        }
    }

    pub(crate) fn start(&self) -> Machine {
        self.try_start().unwrap_or_else(|error| panic!("{error:?}"))
    }

    pub(crate) fn try_start(&self) -> Result<Machine, EdgeError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let edge = runtime.block_on(Edge::start(self.options()))?;
        Ok(Machine { edge, runtime })
    }

    pub(crate) fn all_arrive(&self, machine: &Machine) {
        eventually("every line arrives", || {
            let arrived = self.tier.len();
            let missing = || (arrived, self.lines.len(), machine.status());
            if arrived >= self.lines.len() { Ok(()) } else { Err(missing()) }
        });
        assert!(
            self.tier.bodies() == self.lines,
            "other lines than were written, or another order"
        );
    }
}

pub(crate) fn append(path: &Path, text: &str) {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    file.unwrap().write_all(text.as_bytes()).unwrap();
}

/// The only flow of a status.
pub(crate) fn flow(spec: &BTreeMap<String, FlowSpec>) -> &FlowSpec {
    spec.values().next().unwrap()
}

/// A process with an edge in it.
pub(crate) struct Machine {
    pub(crate) edge: Edge,
    runtime: Runtime,
}

impl Machine {
    pub(crate) fn status(&self) -> EdgeStatus {
        self.edge.status()
    }

    /// Waits for a status that is as it should be; says the last one if it never is.
    pub(crate) fn wait_for(&self, what: &str, mut holds: impl FnMut(&EdgeStatus) -> bool) {
        eventually(what, || {
            let status = self.status();
            if holds(&status) { Ok(()) } else { Err(status) }
        });
    }

    /// An orderly stop. Returns what is left.
    pub(crate) fn stop(self, grace: Duration) -> u64 {
        let stopped = self.runtime.block_on(self.edge.stop(grace));
        assert!(stopped.aborted.is_empty(), "{:?}", stopped.aborted);
        stopped.pending_bytes
    }

    /// The process is gone, wherever it was.
    pub(crate) fn kill(self) {
        let Machine { edge, runtime } = self;
        drop(edge);
        drop(runtime);
    }
}
