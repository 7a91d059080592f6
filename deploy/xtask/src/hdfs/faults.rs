//! What can happen to a cluster, done on purpose.

use super::cluster::Cluster;
use super::daemon::Daemon;
use anyhow::{Result, bail};
use rustix::process::Signal;
use std::time::Instant;

impl Cluster {
    pub(super) fn kill_data_nodes(&self, number: Option<usize>) -> Result<()> {
        self.each(number, |daemon, _| daemon.end(Signal::KILL))
    }

    pub(super) fn stop_data_nodes(&self, number: Option<usize>) -> Result<()> {
        self.each(number, |daemon, _| daemon.end(Signal::TERM))
    }

    pub(super) fn start_data_nodes(&self, number: Option<usize>) -> Result<()> {
        self.each(number, |_, number| self.launch_data_node(number))?;
        self.wait_live(Instant::now())
    }

    pub(super) fn pause_data_nodes(&self, number: Option<usize>) -> Result<()> {
        self.each(number, |daemon, _| send(daemon, Signal::STOP))
    }

    pub(super) fn resume_data_nodes(&self, number: Option<usize>) -> Result<()> {
        self.each(number, |daemon, _| send(daemon, Signal::CONT))
    }

    pub(super) fn kill_name_node(&self, number: usize) -> Result<()> {
        self.name_node(number)?.end(Signal::KILL)
    }

    pub(super) fn start_name_node(&self, number: usize, writable: bool) -> Result<()> {
        self.launch_name_node(number)?;
        self.wait_name_node(number, writable)
    }

    pub(super) fn safe_mode(&self, what: &str) -> Result<bool> {
        if !["enter", "leave", "get"].contains(&what) {
            bail!("safemode takes enter, leave or get");
        }
        let words = ["-safemode", what].map(str::to_owned);
        self.shell("org.apache.hadoop.hdfs.tools.DFSAdmin", &words)
    }

    pub(super) fn kinit(&self, lifetime: &str) -> Result<()> {
        match self.kdc() {
            Some(kdc) => kdc.kinit(lifetime),
            None => bail!("this cluster has no Kerberos: up --kerberos"),
        }
    }

    pub(super) fn kdestroy(&self) -> Result<()> {
        match self.kdc() {
            Some(kdc) => match std::fs::remove_file(kdc.cache()) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            },
            None => bail!("this cluster has no Kerberos: up --kerberos"),
        }
    }

    fn each(
        &self,
        number: Option<usize>,
        mut act: impl FnMut(&Daemon, usize) -> Result<()>,
    ) -> Result<()> {
        let numbers = number.map_or(1..=self.data_nodes(), |number| number..=number);
        for number in numbers {
            act(&self.data_node(number)?, number)?;
        }
        Ok(())
    }
}

fn send(daemon: &Daemon, signal: Signal) -> Result<()> {
    if !daemon.signal(signal)? {
        bail!("{} does not run", daemon.name());
    }
    Ok(())
}
