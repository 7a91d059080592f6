//! The client under way, and its report.

use super::system::{Load, System};
use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};

/// What both clients print, with the names that `collector-loadtest run` uses.
#[derive(Deserialize)]
pub(super) struct Report {
    pub(super) acked_events: u64,
    pub(super) acked_events_per_second: f64,
    pub(super) rejected: u64,
    pub(super) unknown: u64,
    pub(super) ack_ms: Quantiles,
    pub(super) client_cpu_seconds: f64,
    pub(super) retried_blocks: u64,
}

#[derive(Deserialize)]
pub(super) struct Quantiles {
    pub(super) p50: f64,
    pub(super) p99: f64,
}

pub(super) struct Client {
    child: Child,
    input: Option<ChildStdin>,
    ends_by_signal: bool,
    errors: PathBuf,
}

impl Client {
    pub(super) fn start(system: &dyn System, load: Load, ledger: &Path) -> Result<Client> {
        let errors = system.folder().join("client.log");
        let log = File::create(&errors).context("make the client's log")?;
        let mut child = system
            .client(load, ledger)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("start the client of {}", system.name()))?;
        let input = child.stdin.take();
        Ok(Client { child, input, ends_by_signal: system.client_ends_by_signal(), errors })
    }

    /// Nothing more is sent; what is under way is answered still.
    pub(super) fn end(&mut self) -> Result<()> {
        if self.ends_by_signal {
            let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
            kill_process(pid.context("no process id")?, Signal::INT).context("end the client")?;
        }
        self.input = None;
        Ok(())
    }

    /// Waits for its end.
    pub(super) fn report(mut self) -> Result<Report> {
        let mut output = String::new();
        if let Some(pipe) = &mut self.child.stdout {
            pipe.read_to_string(&mut output).context("read the client's report")?;
        }
        self.child.wait().context("wait for the client")?;
        let line = output.lines().last().unwrap_or_default();
        serde_json::from_str(line).with_context(|| {
            let errors = std::fs::read_to_string(&self.errors).unwrap_or_default();
            let lines: Vec<&str> = errors.lines().take(8).collect();
            format!("the client said `{line}` and\n{}", lines.join("\n"))
        })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A load from its beginning to its end. Its ledger is of no interest.
pub(super) fn run(system: &dyn System, load: Load) -> Result<Report> {
    let ledger = system.folder().join("unread-ledger");
    if ledger.exists() {
        std::fs::remove_file(&ledger).context("remove an old ledger")?;
    }
    Client::start(system, load, &ledger)?.report()
}
