//! `cargo xtask bench flume`: Collector beside the program whose users it is for.
//!
//! Real Flume from Maven Central and a node, on the same machine, by turns: the same events through
//! a durable channel into text files. What each costs, how soon it acknowledges, how soon it is back
//! with a backlog, and what is in its files after `kill -9`.

mod agent;
mod client;
mod count;
mod measure;
mod node;
mod server;
mod system;
mod table;

use crate::command::{cargo, passes, say};
use crate::suite::{root, target};
use agent::Agent;
use anyhow::{Context, Result};
use measure::{Kills, Restart, Speed};
use node::Node;
use server::Server;
use std::path::{Path, PathBuf};
use system::{Load, System};
use table::Row;

/// The share of what Flume delivers at full speed that it is loaded with when latencies are measured.
const RATE_OF_FLUME: f64 = 0.6;

/// A rate without odd digits.
const RATE_STEP: u64 = 500;

#[derive(clap::Parser)]
struct Arguments {
    /// How long each is loaded at full speed, and as long again at a rate
    #[arg(long, value_name = "N", default_value_t = 20)]
    seconds: u64,
    /// How long each is loaded before that, so that it is warm
    #[arg(long, value_name = "N", default_value_t = 10)]
    warm_up: u64,
    /// How often, by turns
    #[arg(long, value_name = "N", default_value_t = 2)]
    rounds: u32,
    /// Events a second for the latencies and the kills [default: 60 % of what Flume delivers in this run]
    #[arg(long, value_name = "N")]
    rate: Option<u64>,
    /// Events that wait at the start after a kill
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    backlog: u64,
    /// How often each is killed
    #[arg(long, value_name = "N", default_value_t = 5)]
    kills: u32,
    /// HDFS sinks of Flume's
    #[arg(long, value_name = "N", default_value_t = 1)]
    sinks: u32,
    /// On the disk to be measured [default: the build directory]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Where collector-server and collector-loadtest are, instead of building them
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// One run of the benchmark.
struct Bench {
    arguments: Arguments,
    folder: PathBuf,
    programs: PathBuf,
    jars: PathBuf,
    rate: Option<u64>,
}

pub(crate) fn run(arguments: &[String]) -> Result<bool> {
    let words = std::iter::once("bench flume").chain(arguments.iter().map(String::as_str));
    let arguments = match <Arguments as clap::Parser>::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) => {
            error.print().context("print the usage")?;
            return Ok(!error.use_stderr());
        }
    };
    let jars = agent::jars()?;
    let programs = match &arguments.programs {
        Some(programs) => std::path::absolute(programs)?,
        None => {
            let words = ["build", "--release", "-p", "server-node", "-p", "loadtest", "--bins"];
            if !passes(cargo().current_dir(root()).args(words))? {
                return Ok(false);
            }
            target().join("release")
        }
    };
    let folder = arguments.folder.clone().unwrap_or_else(target).join("flume-bench");
    let folder = std::path::absolute(folder)?;
    let rate = arguments.rate;
    let mut bench = Bench { arguments, folder, programs, jars, rate };
    let measured = bench.all();
    bench.clear()?;
    measured?;
    Ok(true)
}

impl Bench {
    fn all(&mut self) -> Result<()> {
        table::head();
        let (mut full, mut paced) = (Vec::new(), Vec::new());
        for round in 1..=self.arguments.rounds {
            for flume in [true, false] {
                let system = self.system(flume)?;
                say(&format!("round {round}: {}", system.name()));
                let (at_full, at_rate) = self.speed(&*system)?;
                full.push(Row { name: system.name(), of: at_full });
                paced.push(Row { name: system.name(), of: at_rate });
            }
        }
        table::speeds("At full speed (closed loop)", table::GOAL, &full);
        let rate = self.rate.context("no round, no rate: choose one by --rate")?;
        table::speeds(&format!("At {rate} events/s (open loop)"), "", &paced);
        let restarts = self.each("start with a backlog", |bench, system| {
            measure::restart(system, bench.arguments.backlog)
        })?;
        table::restarts(&restarts as &[Row<Restart>]);
        let kills = self.each("kills", |bench, system| {
            measure::kills(system, &bench.programs, rate, bench.arguments.kills)
        })?;
        table::kills(rate, &kills as &[Row<Kills>]);
        table::limits();
        Ok(())
    }

    /// Full speed, and then a rate, on the same warm server.
    fn speed(&mut self, system: &dyn System) -> Result<(Speed, Speed)> {
        let seconds = self.arguments.seconds;
        let mut server = Server::start(system, true)?;
        if self.arguments.warm_up > 0 {
            measure::speed(&mut server, Load { rate: None, seconds: self.arguments.warm_up })?;
        }
        let full = measure::speed(&mut server, Load { rate: None, seconds })?;
        let rate = *self.rate.get_or_insert_with(|| {
            let rate = (full.delivered_per_second * RATE_OF_FLUME) as u64;
            (rate / RATE_STEP * RATE_STEP).max(RATE_STEP)
        });
        let paced = measure::speed(&mut server, Load { rate: Some(rate), seconds })?;
        server.stop()?;
        Ok((full, paced))
    }

    /// One measurement, of each.
    fn each<T>(
        &self,
        what: &str,
        measure: impl Fn(&Bench, &dyn System) -> Result<T>,
    ) -> Result<Vec<Row<T>>> {
        let one = |flume| {
            let system = self.system(flume)?;
            say(&format!("{what}: {}", system.name()));
            Ok(Row { name: system.name(), of: measure(self, &*system)? })
        };
        [true, false].into_iter().map(one).collect()
    }

    /// One of the two, on an empty disk.
    fn system(&self, flume: bool) -> Result<Box<dyn System>> {
        self.clear()?;
        let folder = self.folder.join(if flume { "flume" } else { "collector" });
        std::fs::create_dir_all(&folder).context("make a folder for the server")?;
        Ok(if flume {
            let Arguments { sinks, backlog, .. } = self.arguments;
            Box::new(Agent::new(folder, &self.jars, sinks, backlog)?)
        } else {
            Box::new(Node::new(folder, &self.programs)?)
        })
    }

    fn clear(&self) -> Result<()> {
        remove(&self.folder)
    }
}

fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("remove what the run before left")
        }
        _ => Ok(()),
    }
}
