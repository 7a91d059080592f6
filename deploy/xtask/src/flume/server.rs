//! The server under measurement, as a process of its own.

use super::system::System;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(20);

/// How often a server is asked what waits: its answer costs it something.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// Nothing has to wait so often in a row before all counts as delivered.
const EMPTY_TIMES: u32 = 4;

const ACCEPTS_WITHIN: Duration = Duration::from_secs(600);
const DELIVERS_WITHIN: Duration = Duration::from_secs(1_800);
const ENDS_WITHIN: Duration = Duration::from_secs(120);

/// Linux counts a process's time in these.
const TICKS_PER_SECOND: f64 = 100.0;

pub(super) struct Server<'a> {
    pub(super) system: &'a dyn System,
    child: Child,
}

impl<'a> Server<'a> {
    /// One that accepts. Without `delivers`, all that it takes in waits.
    pub(super) fn start(system: &'a dyn System, delivers: bool) -> Result<Server<'a>> {
        let child = spawn(system, delivers)?;
        let mut server = Server { system, child };
        server.accepts()?;
        Ok(server)
    }

    /// `kill -9`, a new start, and how long after the kill it accepts.
    pub(super) fn restart(&mut self) -> Result<Duration> {
        self.child.kill().context("kill the server")?;
        let begun = Instant::now();
        self.child.wait().context("wait for the server's end")?;
        self.child = spawn(self.system, true)?;
        self.accepts()?;
        Ok(begun.elapsed())
    }

    /// An orderly end.
    pub(super) fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("no process id")?, Signal::TERM).context("end the server")?;
        let begun = Instant::now();
        while self.child.try_wait()?.is_none() {
            if begun.elapsed() > ENDS_WITHIN {
                bail!("{} does not end", self.system.name());
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Waits until all that it took in is delivered; how long ago that was seen first.
    pub(super) fn delivered(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        let (mut empty, mut since) = (0, begun);
        while empty < EMPTY_TIMES {
            self.runs()?;
            // It may be too busy to answer.
            match self.system.pending() {
                Ok(0) if empty == 0 => (empty, since) = (1, Instant::now()),
                Ok(0) => empty += 1,
                Ok(_) | Err(_) => empty = 0,
            }
            if begun.elapsed() > DELIVERS_WITHIN {
                bail!("{} has not delivered all in {DELIVERS_WITHIN:?}", self.system.name());
            }
            std::thread::sleep(ASK_EVERY);
        }
        Ok(since.elapsed())
    }

    /// User and system time so far.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))
            .context("ask what the server has used")?;
        // The name of the program stands in brackets and may hold blanks.
        let rest = stat.rsplit_once(") ").context("no brackets in stat")?.1;
        let ticks = rest.split(' ').skip(11).take(2).map(str::parse::<f64>);
        Ok(ticks.sum::<Result<f64, _>>().context("read the times in stat")? / TICKS_PER_SECOND)
    }

    /// The most memory that was resident.
    pub(super) fn resident_max_mib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .context("ask what the server has used")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kib.context("no VmHWM in status")? >> 10)
    }

    fn accepts(&mut self) -> Result<()> {
        let begun = Instant::now();
        while !self.system.accepts() {
            self.runs()?;
            if begun.elapsed() > ACCEPTS_WITHIN {
                bail!("{} does not accept", self.system.name());
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    fn runs(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let text = std::fs::read(log(self.system)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            let lines = lines[lines.len().saturating_sub(8)..].join("\n");
            bail!("{} has ended with {status}:\n{lines}", self.system.name());
        }
        Ok(())
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn log(system: &dyn System) -> PathBuf {
    system.folder().join("server.log")
}

fn spawn(system: &dyn System, delivers: bool) -> Result<Child> {
    let mut command: Command = system.server(delivers)?;
    let log = File::options()
        .create(true)
        .append(true)
        .open(log(system))
        .context("open the server's log")?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("start {}", system.name()))
}
