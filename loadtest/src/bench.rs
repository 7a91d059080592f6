//! `bench`: each table with the raw loop beside it, in one run on one machine.
//!
//! Servers and generators are processes of their own, so that CPU seconds are those of the server
//! alone. These machines are shared: compare the rows of one run, not figures of different days.

mod rest;
mod server;

use crate::arguments::{BenchArguments, Table};
use crate::print::{grouped, say};
use crate::report::{CallsReport, RunReport};
use anyhow::{Context, Result, bail};
use server::{Server, Usage};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const BODY_BYTES: &str = "500";
const BATCH_EVENTS: &str = "500";
/// The rate at which latency is looked at: 60 % of the 600,000 events/s that a node is to reach.
const PACE: &str = "360000";

pub(crate) fn run(arguments: &BenchArguments) -> Result<()> {
    let folder = match &arguments.folder {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    }
    .context("make a folder for the servers")?;
    let (folder, seconds) = (folder.path(), arguments.seconds);
    machine();
    let all = arguments.table == Table::All;
    if all || arguments.table == Table::Ingest {
        ingest(folder, seconds)?;
    }
    if all || arguments.table == Table::Calls {
        calls(folder, seconds)?;
    }
    if all || arguments.table == Table::Tls {
        tls(folder, seconds)?;
    }
    if all || arguments.table == Table::Restart {
        restart(folder)?;
    }
    Ok(())
}

fn machine() {
    let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    say(&format!(
        "{cores} cores,{} — generator and server share them\n",
        model.trim_start_matches(['\t', ' ', ':'])
    ));
}

/// One row of the ingest table.
struct Row {
    name: &'static str,
    report: RunReport,
    usage: Usage,
    pressure: f64,
}

fn ingest(folder: &Path, seconds: u64) -> Result<()> {
    say("ingest: 500-byte events with three attributes, 500 a block, level local");
    headings();
    // Latency before the rows that leave most behind.
    measure("node at 360,000/s", Server::node(folder, true)?, seconds, PACE)?.show();
    measure("raw loop at 360,000/s", Server::raw(folder)?, seconds, PACE)?.show();
    let raw = measure("raw loop", Server::raw(folder)?, seconds, "max")?;
    raw.show();
    let node = measure("node, files rolling", Server::node(folder, true)?, seconds, "max")?;
    node.show();
    // Again the other way round: the machine may have changed in between.
    let node_again = measure("node, files rolling", Server::node(folder, true)?, seconds, "max")?;
    node_again.show();
    let raw_again = measure("raw loop", Server::raw(folder)?, seconds, "max")?;
    raw_again.show();
    let rate = (node.rate() + node_again.rate()) / 2.0;
    say(&format!(
        "node : raw   rate {:.2} (at least 0.60)   server CPU {:.2} (at most 1.5, aim 1.2)\n",
        rate * 2.0 / (raw.rate() + raw_again.rate()),
        (node.cpu() + node_again.cpu()) / (raw.cpu() + raw_again.cpu()),
    ));
    Ok(())
}

fn headings() {
    say(&format!(
        "{:<26} {:>10} {:>9} {:>9} {:>7} {:>7} {:>7} {:>7} {:>8} {:>9}",
        "", "events/s", "server", "client", "p50", "p99", "p99.9", "max", "RSS", "CPU wait"
    ));
    say(&format!(
        "{:<26} {:>10} {:>9} {:>9} {:>7} {:>7} {:>7} {:>7} {:>8} {:>9}",
        "", "", "CPU s/M", "CPU s/M", "ms", "ms", "ms", "ms", "MiB", "%"
    ));
}

fn measure(name: &'static str, mut server: Server, seconds: u64, rate: &str) -> Result<Row> {
    rest::wait(server.folder())?;
    let pressure = cpu_pressure_us();
    let begun = Instant::now();
    let seconds = seconds.to_string();
    let output = generator(&server)
        .args(["run", "--seconds", &seconds, "--rate", rate, "--body-bytes", BODY_BYTES])
        .args(["--batch-events", BATCH_EVENTS, "--ack", "local", "--producers", "2"])
        .output()
        .context("run the generator")?;
    let report: RunReport = last_line(&output)?;
    let waited = cpu_pressure_us().saturating_sub(pressure) as f64;
    let pressure = 100.0 * waited / begun.elapsed().as_micros() as f64;
    let usage = server.stop()?;
    Ok(Row { name, report, usage, pressure })
}

impl Row {
    fn rate(&self) -> f64 {
        self.report.acked_events_per_second
    }

    fn millions(&self) -> f64 {
        self.report.acked_events as f64 / 1e6
    }

    fn cpu(&self) -> f64 {
        self.usage.cpu_seconds / self.millions()
    }

    fn show(&self) {
        let ack = &self.report.ack_ms;
        say(&format!(
            "{:<26} {:>10} {:>9.2} {:>9.2} {:>7.1} {:>7.1} {:>7.1} {:>7.1} {:>8} {:>9.0}",
            self.name,
            grouped(self.rate() as u64),
            self.cpu(),
            self.report.client_cpu_seconds / self.millions(),
            ack.p50,
            ack.p99,
            ack.p999,
            ack.max,
            self.usage.resident_max_bytes >> 20,
            self.pressure,
        ));
    }
}

fn tls(folder: &Path, seconds: u64) -> Result<()> {
    say(
        "tls: the same load over TLS 1.3 (AES-128-GCM, ECDSA P-256) and in the clear, files rolling",
    );
    headings();
    let clear = || measure("in the clear", Server::node(folder, true)?, seconds, "max");
    let over_tls = || measure("over TLS", Server::node_with_tls(folder)?, seconds, "max");
    // There and back: the machine may have changed in between.
    let rows = [clear()?, over_tls()?, over_tls()?, clear()?];
    rows.iter().for_each(Row::show);
    let [clear, tls, tls_again, clear_again] = &rows;
    let cpu = |row: &Row| row.cpu() + row.report.client_cpu_seconds / row.millions();
    say(&format!(
        "TLS : clear   rate {:.2} (at least 0.65)   CPU of both ends {:.2}\n",
        (tls.rate() + tls_again.rate()) / (clear.rate() + clear_again.rate()),
        (cpu(tls) + cpu(tls_again)) / (cpu(clear) + cpu(clear_again)),
    ));
    Ok(())
}

fn calls(folder: &Path, seconds: u64) -> Result<()> {
    say("calls: one event each, 256 in flight");
    say(&format!(
        "{:<26} {:>10} {:>12} {:>8} {:>8}",
        "", "calls/s", "server s/M", "p50 ms", "p99 ms"
    ));
    let one = |name: &str, mut server: Server, empty: bool| -> Result<f64> {
        let mut command = generator(&server);
        command.args(["calls", "--seconds", &seconds.to_string(), "--in-flight", "256"]);
        if empty {
            command.arg("--empty");
        }
        let report: CallsReport = last_line(&command.output().context("run the generator")?)?;
        let usage = server.stop()?;
        say(&format!(
            "{name:<26} {:>10} {:>12.2} {:>8.1} {:>8.1}",
            grouped(report.calls_per_second as u64),
            usage.cpu_seconds / (report.calls as f64 / 1e6),
            report.call_ms.p50,
            report.call_ms.p99,
        ));
        Ok(report.calls_per_second)
    };
    let empty = one("empty unary calls", Server::raw(folder)?, true)?;
    let send = one("Send, one event, local", Server::node(folder, true)?, false)?;
    say(&format!("Send : empty {:.2} (at least 0.60, or 20,000 calls/s)\n", send / empty));
    Ok(())
}

fn restart(folder: &Path) -> Result<()> {
    say("restart: from the start of the process after kill -9 until it accepts");
    say(&format!("{:<26} {:>10} {:>14}", "waiting", "seconds", "RSS then, MiB"));
    for gibibytes in [0_u64, 1, 10] {
        let mut server = Server::node(folder, false)?;
        // 500 bytes and three attributes.
        let events = (gibibytes << 30) / 560;
        if gibibytes > 0 {
            let mut sent = 0;
            while sent < events {
                let output = generator(&server)
                    .args(["run", "--seconds", "10", "--rate", "max", "--body-bytes", BODY_BYTES])
                    .args(["--batch-events", BATCH_EVENTS, "--ack", "local", "--producers", "2"])
                    .output()
                    .context("run the generator")?;
                let report: RunReport = last_line(&output)?;
                if report.acked_events == 0 {
                    bail!("the node took no events while filling up: is the disk full?");
                }
                sent += report.acked_events;
            }
        }
        let took = server.restart()?;
        say(&format!(
            "{:<26} {:>10.2} {:>14}",
            format!("{gibibytes} GiB"),
            took.as_secs_f64(),
            server.resident_bytes()? >> 20
        ));
        server.stop()?;
    }
    say("");
    Ok(())
}

fn generator(server: &Server) -> Command {
    let own = std::env::current_exe().unwrap_or_else(|_| "collector-loadtest".into());
    let mut command = Command::new(own);
    command.args(["--output", "json", "--endpoint", server.endpoint()]);
    if let Some(ca) = server.ca() {
        command.arg("--ca").arg(ca);
    }
    command
}

fn last_line<T: serde::de::DeserializeOwned>(output: &std::process::Output) -> Result<T> {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line).with_context(|| {
        format!(
            "the generator said `{line}` and {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )
    })
}

/// Microseconds in which some task waited for a CPU, since the machine started.
fn cpu_pressure_us() -> u64 {
    std::fs::read_to_string("/proc/pressure/cpu")
        .ok()
        .and_then(|text| text.lines().next()?.rsplit_once("total=")?.1.trim().parse().ok())
        .unwrap_or(0)
}

/// How long a server may take until it accepts.
const ACCEPTS_WITHIN: Duration = Duration::from_secs(120);
