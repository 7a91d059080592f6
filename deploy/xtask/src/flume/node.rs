//! A node of Collector, a cluster of one: durable channel, local files, and its load generator.

use super::system::{
    BATCH_EVENTS, BODY_BYTES, IN_FLIGHT, Load, ROLL_BYTES, ROLL_SECONDS, System, TIMEOUT_SECONDS,
    fill,
};
use crate::loopback::{free_ports, get, is_well};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Connections of the client.
const PRODUCERS: u64 = 2;

/// One node.
pub(super) struct Node {
    folder: PathBuf,
    programs: PathBuf,
    /// Ingest, peer, admin.
    ports: [u16; 3],
}

impl Node {
    pub(super) fn new(folder: PathBuf, programs: &Path) -> Result<Node> {
        let Ok(ports) = <[u16; 3]>::try_from(free_ports(3)?) else { bail!("no three free ports") };
        Ok(Node { folder, programs: programs.to_owned(), ports })
    }

    /// In its place, files cannot be written.
    fn block(&self, blocked: bool) -> Result<()> {
        let files = self.files();
        if blocked {
            std::fs::write(&files, "").context("block the node's files")?;
        } else if files.is_file() {
            std::fs::remove_file(&files).context("unblock the node's files")?;
        }
        Ok(())
    }
}

impl System for Node {
    fn name(&self) -> &'static str {
        "Collector"
    }

    fn folder(&self) -> &Path {
        &self.folder
    }

    fn server(&self, delivers: bool) -> Result<Command> {
        self.block(!delivers)?;
        let path = self.folder.join("node.toml");
        let [ingest, peer, admin] = self.ports;
        let text = fill(
            include_str!("node.toml"),
            &[
                ("folder", &self.folder.display()),
                ("ingest", &ingest),
                ("peer", &peer),
                ("admin", &admin),
                ("roll_seconds", &ROLL_SECONDS),
                ("roll_bytes", &ROLL_BYTES),
            ],
        );
        std::fs::write(&path, text).context("write the node's settings")?;
        let mut command = Command::new(self.programs.join("collector-server"));
        command.args(["--log-level", "error", "--config"]).arg(path);
        Ok(command)
    }

    fn accepts(&self) -> bool {
        is_well(self.ports[2], "/health/ready")
    }

    fn pending(&self) -> Result<u64> {
        let page = get(self.ports[2], "/metrics").context("ask the node's metrics")?;
        let lines =
            page.lines().filter(|line| line.starts_with("collector_channel_pending_events"));
        let values = lines.map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        let values: Option<Vec<u64>> = values.collect();
        let values = values.filter(|values| !values.is_empty());
        Ok(values.context("read the node's metrics")?.iter().sum())
    }

    fn client(&self, load: Load, ledger: &Path) -> Command {
        let mut command = Command::new(self.programs.join("collector-loadtest"));
        command.args(["--output", "json", "--endpoint"]);
        command.arg(format!("http://127.0.0.1:{}", self.ports[0])).args(["run", "--ack", "local"]);
        let numbers = [
            ("--seconds", load.seconds),
            ("--body-bytes", BODY_BYTES),
            ("--batch-events", BATCH_EVENTS),
            ("--producers", PRODUCERS),
            ("--in-flight", IN_FLIGHT / PRODUCERS),
            ("--timeout", TIMEOUT_SECONDS),
        ];
        for (flag, number) in numbers {
            command.args([flag, &number.to_string()]);
        }
        let rate = load.rate.map_or_else(|| "max".to_owned(), |rate| rate.to_string());
        command.args(["--rate", &rate, "--ledger"]).arg(ledger);
        command
    }

    fn client_ends_by_signal(&self) -> bool {
        true
    }

    fn is_unfinished(&self, file: &Path) -> bool {
        file.components().any(|component| component.as_os_str() == ".staging")
    }
}
