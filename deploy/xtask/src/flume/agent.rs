//! Apache Flume: file channel, HDFS sink on local files, and its own client.

use super::system::{
    BATCH_EVENTS, BODY_BYTES, IN_FLIGHT, Load, ROLL_BYTES, ROLL_SECONDS, System, TIMEOUT_SECONDS,
    fill,
};
use crate::jars::Jars;
use crate::java::{compiles, java};
use crate::loopback::{free_ports, get, listens};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

const FLUME: Jars = Jars {
    name: "Flume",
    version: "1.11.0",
    property: "flume.version",
    pom: include_str!("pom.xml"),
};

/// Its own scripts give it 20 MB, with which it does not get far.
const HEAP: &str = "-Xmx4g";

const CLIENT_HEAP: &str = "-Xmx1g";

/// Events that its channel may hold at least.
const CAPACITY_MIN: u64 = 2_000_000;

/// One agent.
pub(super) struct Agent {
    folder: PathBuf,
    jars: PathBuf,
    port: u16,
    monitor: u16,
    sinks: u32,
    capacity: u64,
}

/// Flume's jars, or what is missing and how to get it.
pub(super) fn jars() -> Result<PathBuf> {
    match compiles() {
        None => bail!("java is not installed: apt-get install default-jdk-headless"),
        Some(false) => bail!(
            "this Java has no compiler, which Flume's client is run with from its source: \
             apt-get install default-jdk-headless"
        ),
        Some(true) => FLUME.fetch(),
    }
}

impl Agent {
    /// An agent whose channel can hold `backlog` events.
    pub(super) fn new(folder: PathBuf, jars: &Path, sinks: u32, backlog: u64) -> Result<Agent> {
        let ports = free_ports(2)?;
        let capacity = CAPACITY_MIN.max(2 * backlog);
        let agent = Agent {
            folder,
            jars: jars.to_owned(),
            port: ports[0],
            monitor: ports[1],
            sinks,
            capacity,
        };
        std::fs::write(agent.source(), include_str!("Load.java"))
            .context("write the source of Flume's client")?;
        Ok(agent)
    }

    fn source(&self) -> PathBuf {
        self.folder.join("Load.java")
    }

    fn class_path(&self) -> PathBuf {
        self.jars.join("*")
    }

    fn configuration(&self, delivers: bool) -> String {
        let agent = include_str!("agent.properties");
        let folder = self.folder.display();
        let words: [(&str, &dyn std::fmt::Display); 3] =
            [("port", &self.port), ("folder", &folder), ("capacity", &self.capacity)];
        let mut text = fill(agent, &words);
        let names = (1..=self.sinks).map(|number| format!("out{number}")).collect::<Vec<_>>();
        if delivers {
            text += &format!("a.sinks = {}\n", names.join(" "));
            for name in &names {
                text += &fill(
                    include_str!("sink.properties"),
                    &[
                        ("sink", name),
                        ("folder", &folder),
                        ("roll_seconds", &ROLL_SECONDS),
                        ("roll_bytes", &ROLL_BYTES),
                    ],
                );
            }
        }
        text
    }
}

impl System for Agent {
    fn name(&self) -> &'static str {
        "Flume 1.11"
    }

    fn folder(&self) -> &Path {
        &self.folder
    }

    fn server(&self, delivers: bool) -> Result<Command> {
        let path = self.folder.join("agent.properties");
        std::fs::write(&path, self.configuration(delivers)).context("write Flume's settings")?;
        std::fs::create_dir_all(self.files()).context("make a folder for Flume's files")?;
        let mut command = java();
        command
            .arg(HEAP)
            .args(["-Dflume.monitoring.type=http"])
            .arg(format!("-Dflume.monitoring.port={}", self.monitor))
            .arg("-cp")
            .arg(self.class_path())
            .args(["org.apache.flume.node.Application", "--no-reload-conf", "-n", "a", "-f"])
            .arg(path);
        Ok(command)
    }

    fn accepts(&self) -> bool {
        // Its sources start when its channel has been read.
        listens(self.port)
    }

    fn pending(&self) -> Result<u64> {
        let page = get(self.monitor, "/metrics").context("ask Flume's metrics")?;
        let page: Value = serde_json::from_str(&page).context("read Flume's metrics")?;
        let channel = &page["CHANNEL.disk"];
        let count = |name: &str| {
            let text = channel[name].as_str().with_context(|| format!("no {name}"))?;
            text.parse::<u64>().with_context(|| format!("{name} is {text}"))
        };
        // What a sink has in hand is no longer in the channel's size.
        let (put, taken) = (count("EventPutSuccessCount")?, count("EventTakeSuccessCount")?);
        Ok(count("ChannelSize")?.max(put.saturating_sub(taken)))
    }

    fn client(&self, load: Load, ledger: &Path) -> Command {
        let mut command = java();
        command.arg(CLIENT_HEAP).arg("-cp").arg(self.class_path()).arg(self.source());
        command.arg("127.0.0.1");
        let numbers = [
            u64::from(self.port),
            load.seconds,
            load.rate.unwrap_or(0),
            IN_FLIGHT,
            BATCH_EVENTS,
            BODY_BYTES,
            TIMEOUT_SECONDS,
        ];
        command.args(numbers.map(|number| number.to_string())).arg(ledger);
        command
    }

    fn client_ends_by_signal(&self) -> bool {
        false
    }

    fn is_unfinished(&self, file: &Path) -> bool {
        file.extension().is_some_and(|extension| extension == "tmp")
    }
}
