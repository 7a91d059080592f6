//! A running agent, driven as a user would.

use std::fmt::Debug;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use sdk_flow::{Clock as _, SystemClock};
use tempfile::TempDir;

/// Long enough for a busy machine; nothing waits this long unless it fails.
const SOON: Duration = Duration::from_secs(90);

/// Asks until the answer is `Ok`.
pub(crate) fn eventually<T, E: Debug>(what: &str, mut ask: impl FnMut() -> Result<T, E>) -> T {
    let clock = SystemClock::new();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(last) if clock.monotonic() >= SOON => panic!("{what}: last {last:?}"),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Lets the program work for a while, so that it is killed in the middle of something.
pub(crate) fn pause(length: Duration) {
    std::thread::sleep(length);
}

pub(crate) fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_collector-agent"))
}

/// A folder with a log that grows, a configuration, and what the agent leaves.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) lines: Vec<String>,
}

impl World {
    /// An agent that tails `logs/access.log*` and sends to `endpoint`. `more` goes
    /// to the sink.
    pub(crate) fn new(endpoint: &str, more: &str) -> World {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("logs")).unwrap();
        let config = format!(
            r#"
[agent]
data_dir = "{f}/data"
admin = "127.0.0.1:0"
shutdown_timeout = "10s"
[agent.log]
free_min = "0"
[flow.web.sources.log]
type = "taildir"
channels = ["spool"]
filegroups = {{ access = "{f}/logs/access.log*" }}
[flow.web.channels.spool]
type = "durable"
[flow.web.sinks.tier]
type = "collector"
channel = "spool"
endpoints = ["{endpoint}"]
{more}
[flow.web.groups.out]
type = "default"
sinks = ["tier"]
max_penalty = "200ms"
"#,
            f = folder.path().display()
        );
        write(&folder.path().join("agent.toml"), &config);
        World { folder, lines: Vec::new() }
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("logs/access.log")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("agent.toml")
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
        let number = std::fs::read_dir(self.folder.path().join("logs")).unwrap().count();
        let aside = self.folder.path().join(format!("logs/access.log.{number}"));
        std::fs::rename(self.log(), aside).unwrap();
    }

    /// What the agent said, all its lives together.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("agent.log")).unwrap_or_default()
    }

    pub(crate) fn start(&self) -> Agent {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.path().join("agent.log"))
            .unwrap();
        let mut child = command()
            .arg("--config")
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let admin = first.trim().strip_prefix("admin http://").map(str::to_owned);
        let admin = admin.unwrap_or_else(|| panic!("it said {first:?} and {}", self.said()));
        Agent { child, admin }
    }
}

pub(crate) fn append(path: &Path, text: &str) {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    file.unwrap().write_all(text.as_bytes()).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "a user's editor")]
pub(crate) fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

pub(crate) struct Agent {
    child: Child,
    admin: String,
}

impl Agent {
    /// Status and body of a page.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.admin).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("{answer}")), body.to_owned())
    }

    pub(crate) fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.get("/api/v1/status").1).unwrap()
    }

    pub(crate) fn admin(&self) -> &str {
        &self.admin
    }

    /// What it takes of memory, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// `SIGTERM`, and waits for its end.
    pub(crate) fn stop(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        eventually("the agent ends", || self.child.try_wait().unwrap().ok_or("it still runs"))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Of a test that failed; otherwise it has ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
