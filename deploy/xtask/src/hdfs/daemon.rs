//! Processes that go on after this one, known by a file with their id.

use crate::loopback::listens;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a process may take to end when it is asked to.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// How soon a process that was started can be seen.
const SEEN_WITHIN: Duration = Duration::from_secs(2);

/// How long a port may be held after its process was killed.
const PORT_FREE_WITHIN: Duration = Duration::from_secs(5);

/// A process of a cluster.
pub(super) struct Daemon {
    name: String,
    dir: PathBuf,
    /// What stands on the command line of this process and of no other.
    mark: String,
}

impl Daemon {
    /// A JVM, which is started with [`Daemon::mark`] as one of its own arguments.
    pub(super) fn new(dir: &Path, name: impl Into<String>) -> Daemon {
        let name = name.into();
        let mark = format!("-Dcollector.hdfs={}/{name}", dir.display());
        Daemon { name, dir: dir.to_owned(), mark }
    }

    /// A process that has `mark` on its command line anyway.
    pub(super) fn marked(dir: &Path, name: &str, mark: String) -> Daemon {
        Daemon { name: name.to_owned(), dir: dir.to_owned(), mark }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn mark(&self) -> &str {
        &self.mark
    }

    fn pid_file(&self) -> PathBuf {
        self.dir.join("pid").join(&self.name)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("log").join(format!("{}.log", self.name))
    }

    /// Its process, if it runs. A number that some other process has by now is not believed.
    pub(super) fn pid(&self) -> Option<Pid> {
        let text = std::fs::read_to_string(self.pid_file()).ok()?;
        let pid: i32 = text.trim().parse().ok()?;
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let ours = line.split(|byte| *byte == 0).any(|word| word == self.mark.as_bytes());
        if ours { Pid::from_raw(pid) } else { None }
    }

    /// Starts it, with its mark among the arguments already.
    pub(super) fn start(&self, command: &mut Command, ports: &[u16]) -> Result<()> {
        for port in ports {
            wait_free(*port)?;
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .with_context(|| format!("open {}", self.log().display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", self.name))?;
        std::fs::write(self.pid_file(), child.id().to_string()).context("note its process id")?;
        // For a moment after its start a process has no command line.
        let begun = Instant::now();
        while self.pid().is_none() {
            if begun.elapsed() > SEEN_WITHIN {
                bail!("{} has ended at once:\n{}", self.name, self.complaint());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Sends a signal; false if it does not run.
    pub(super) fn signal(&self, signal: Signal) -> Result<bool> {
        let Some(pid) = self.pid() else { return Ok(false) };
        kill_process(pid, signal).with_context(|| format!("signal {}", self.name))?;
        Ok(true)
    }

    /// Ends it and waits until it is gone.
    pub(super) fn end(&self, signal: Signal) -> Result<()> {
        // One that is stopped takes no other signal.
        self.signal(Signal::CONT)?;
        self.signal(signal)?;
        let begun = Instant::now();
        while self.pid().is_some() {
            if begun.elapsed() > ENDS_WITHIN {
                self.signal(Signal::KILL)?;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The last lines of its log that say what went wrong.
    pub(super) fn complaint(&self) -> String {
        let text = std::fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let wrong = |line: &&str| {
            ["ERROR", "FATAL", "Exception", "Caused by"].iter().any(|word| line.contains(word))
        };
        let lines: Vec<&str> = text.lines().filter(wrong).collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }
}

fn wait_free(port: u16) -> Result<()> {
    let begun = Instant::now();
    // A killed JVM may hold its port a moment longer than its process can be seen.
    while listens(port) {
        if begun.elapsed() > PORT_FREE_WITHIN {
            bail!("port {port} on 127.0.0.1 is taken by another process: choose one by --port");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
