//! A node under test, with a data directory that outlives its processes.

use crate::program::{Finished, Running, program, run, run_with_input};
use crate::wait::eventually;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// How long a node may take until it accepts (G7 allows 30 s).
const ACCEPTS_WITHIN: Duration = Duration::from_secs(30);

/// What is special about a node.
#[derive(Debug, Clone, Default)]
pub struct NodeOptions {
    /// A configuration file's text, without `[node]` addresses; empty = none.
    pub config: Option<String>,
    /// Further arguments of `collector-server`.
    pub arguments: Vec<String>,
    /// What its environment has beyond ours.
    pub environment: Vec<(String, String)>,
    /// Where its data go, instead of a folder of its own.
    pub data_dir: Option<PathBuf>,
    /// Another build of `collector-server`.
    pub program: Option<PathBuf>,
}

/// A node and its folder. Ports are chosen once, so that clients find it again after a restart.
#[derive(Debug)]
pub struct Node {
    /// Goes before its folder: a node that runs makes files while they are removed, and gigabytes of spare segments stay.
    running: Option<Running>,
    folder: TempDir,
    options: NodeOptions,
    ports: [u16; 3],
}

impl Node {
    /// A node that is not running yet.
    pub fn new(options: NodeOptions) -> Self {
        let folder = tempfile::Builder::new().prefix("collector-").tempdir().expect("a folder");
        Self { folder, options, ports: free_ports(), running: None }
    }

    /// A node with the plain defaults, accepting.
    pub fn started() -> Self {
        let mut node = Self::new(NodeOptions::default());
        node.start();
        node
    }

    /// Its folder: data, logs, ledgers.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.options.data_dir.clone().unwrap_or_else(|| self.folder.path().join("data"))
    }

    /// Where the default flow's files go.
    pub fn files(&self) -> PathBuf {
        self.data_dir().join("files").join("default")
    }

    /// Puts a file where the directory of the sinks must be, before the node's first start: nothing
    /// drains until that file, whose path this is, has been removed.
    pub fn with_stuck_sinks(&self) -> PathBuf {
        let files = self.data_dir().join("files");
        std::fs::create_dir_all(self.data_dir()).expect("make the data directory");
        std::fs::write(&files, b"").expect("write");
        files
    }

    /// The ingest endpoint.
    pub fn ingest(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    /// The admin endpoint.
    pub fn admin(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[2])
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("node.log")).unwrap_or_default()
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Running::pid)
    }

    /// Starts the process without waiting for it.
    pub fn spawn(&mut self) {
        self.spawn_with(&[]);
    }

    /// The same, with something in its environment for this once.
    pub fn spawn_with(&mut self, more: &[(&str, &str)]) {
        let [ingest, peer, admin] = self.ports;
        let other = self.options.program.clone();
        let mut command = Command::new(other.unwrap_or_else(|| program("collector-server")));
        command
            .envs(more.iter().copied())
            .env("COLLECTOR_DATA_DIR", self.data_dir())
            .envs(self.options.environment.iter().map(|(name, value)| (name, value)))
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(["--ingest", &format!("127.0.0.1:{ingest}")])
            .args(["--peer", &format!("127.0.0.1:{peer}")])
            .args(["--admin", &format!("127.0.0.1:{admin}")]);
        if let Some(config) = &self.options.config {
            let path = self.folder.path().join("node.toml");
            std::fs::write(&path, config).expect("write the configuration");
            command.arg("--config").arg(path);
        }
        command.args(&self.options.arguments);
        self.running =
            Some(Running::start_logged(&mut command, &self.folder.path().join("node.log")));
    }

    /// Starts the process and waits until it accepts.
    ///
    /// # Panics
    ///
    /// If it does not within 30 s.
    pub fn start(&mut self) {
        self.spawn();
        self.accepts();
    }

    /// Waits until the node is ready.
    ///
    /// # Panics
    ///
    /// If it is not within 30 s, or its process ends.
    pub fn accepts(&mut self) {
        let url = format!("{}/health/ready", self.admin());
        let log = self.folder.path().join("node.log");
        eventually("the node accepts", ACCEPTS_WITHIN, || {
            if let Some(status) = self.running.as_mut().and_then(Running::ended) {
                panic!("the node ended with {status}:\n{}", tail(&log));
            }
            match http_get(&url) {
                Ok((200, _)) => Ok(()),
                Ok((code, body)) => Err(format!("{code} {body}")),
                Err(error) => Err(error),
            }
        });
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill();
        }
    }

    /// `SIGTERM`, and waits for its end.
    pub fn stop(&mut self) -> Finished {
        let running = self.running.take().expect("a running node");
        running.signal("TERM");
        running.finish(Duration::from_secs(60))
    }

    /// The process.
    ///
    /// # Panics
    ///
    /// If it is not running.
    pub fn process(&mut self) -> &mut Running {
        self.running.as_mut().expect("a running node")
    }

    /// `collector-cli` against this node.
    pub fn cli(&self, arguments: &[&str]) -> Finished {
        self.cli_with_input(arguments, b"")
    }

    /// The same with something on its standard input.
    pub fn cli_with_input(&self, arguments: &[&str], input: &[u8]) -> Finished {
        let endpoint = self.admin();
        let mut all = vec!["--endpoint", endpoint.as_str()];
        all.extend_from_slice(arguments);
        run_with_input("collector-cli", &all, input)
    }

    /// `collector-cli audit --output json`.
    pub fn audit(&self, deep: bool) -> serde_json::Value {
        let mut arguments = vec!["--output", "json", "audit"];
        if deep {
            arguments.push("--deep");
        }
        self.cli(&arguments).json()
    }

    /// Waits until everything stored is final and the books balance.
    ///
    /// # Panics
    ///
    /// If that is not so after `within`.
    pub fn drained(&self, within: Duration) -> serde_json::Value {
        eventually("everything is final", within, || {
            let audit = self.audit(false);
            let pending = audit["flows"]
                .as_array()
                .is_none_or(|rows| rows.iter().any(|row| row["pending"] != 0));
            if pending || audit["balanced"] != true { Err(audit) } else { Ok(audit) }
        })
    }

    /// Waits until it has acknowledged an event: what loads it has found it.
    ///
    /// # Panics
    ///
    /// If it has acknowledged none after 30 seconds.
    pub fn under_load(&self) {
        eventually("an event is acknowledged", Duration::from_secs(30), || {
            let (_, status) = self.get("/api/v1/status");
            let status: serde_json::Value = serde_json::from_str(&status).expect("a status");
            let mut flows = status["flows"].as_array().into_iter().flatten();
            if flows.any(|flow| flow["acknowledged_events"].as_u64() > Some(0)) {
                Ok(())
            } else {
                Err(status)
            }
        });
    }

    /// A page of the admin port.
    ///
    /// # Panics
    ///
    /// If it cannot be had.
    pub fn get(&self, path: &str) -> (u16, String) {
        http_get(&format!("{}{path}", self.admin())).expect("a page of the node")
    }

    /// The sum of a metric over all its labels; 0 if it is not there.
    pub fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics");
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .filter(|line| line.split(['{', ' ']).next() == Some(name))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// The resident memory of the process, in bytes.
    ///
    /// # Panics
    ///
    /// If it is not running.
    pub fn resident_bytes(&self) -> u64 {
        let pid = self.pid().expect("a running node");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
            .expect("its memory");
        kib * 1024
    }

    /// `collector-loadtest verify` of its files against a ledger, as JSON.
    ///
    /// # Panics
    ///
    /// If an event of the ledger is lost, or there twice, in another order, or altered.
    pub fn verified(&self, ledger: &Path) -> serde_json::Value {
        let words = ["--output", "json", "verify", "--ledger"].map(AsRef::as_ref);
        let files = self.files();
        let found = [ledger.as_os_str(), "--files".as_ref(), files.as_os_str()];
        let verified = run("collector-loadtest", &[&words[..], &found[..]].concat()).json();
        for what in ["lost", "duplicated", "reordered", "corrupt"] {
            assert_eq!(verified[what], 0, "{verified:#}");
        }
        verified
    }

    /// `collector-loadtest` against this node, to its end.
    pub fn loadtest(&self, arguments: &[&str]) -> Finished {
        let endpoint = self.ingest();
        let mut all: Vec<&str> = arguments.to_vec();
        all.extend_from_slice(&["--endpoint", &endpoint]);
        run("collector-loadtest", &all)
    }
}

/// What a failed test of it leaves to be read.
impl Drop for Node {
    #[allow(clippy::print_stderr, reason = "the test's own output")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let status = http_get(&format!("{}/api/v1/status", self.admin()));
            let status = status.map_or_else(|error| error, |(_, body)| body);
            let log = tail(&self.folder.path().join("node.log"));
            eprintln!("status of the node: {status}\nthe end of its log:\n{log}");
        }
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("its address").port())
}

/// A plain HTTP/1.1 GET: status and body.
fn http_get(url: &str) -> Result<(u16, String), String> {
    use std::io::{Read, Write};
    let rest = url.strip_prefix("http://").ok_or("not http")?;
    let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
    let socket = address.parse().map_err(|error| format!("{address}: {error}"))?;
    let mut stream = std::net::TcpStream::connect_timeout(&socket, Duration::from_secs(2))
        .map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(|error| error.to_string())?;
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
        .map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").ok_or("no HTTP answer")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or("no status")?;
    Ok((status, body.to_owned()))
}
