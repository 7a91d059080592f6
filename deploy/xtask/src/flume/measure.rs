//! The three measurements: a load, a start with a backlog, and `kill -9` under load.

use super::client::{self, Client, Report};
use super::count::{Counted, count};
use super::server::Server;
use super::system::{Load, System};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the backlog is in coming, if the server keeps up; if not, it takes longer.
const FILL_SECONDS: u64 = 20;

/// A server has so long to itself between two kills, and a little more each time: they are to hit
/// it at different moments.
const BETWEEN_KILLS: Duration = Duration::from_millis(6_000);
const LATER_EACH_TIME: Duration = Duration::from_millis(1_700);

/// When so much is in its files, a load is under way.
const UNDER_WAY_BYTES: u64 = 1 << 20;
const UNDER_WAY_WITHIN: Duration = Duration::from_secs(300);

/// Longer than five kills take.
const UNTIL_ENDED: u64 = 7_200;

/// What a load came to.
pub(super) struct Speed {
    pub(super) report: Report,
    /// Until all was delivered.
    pub(super) delivered_per_second: f64,
    /// Of the server, until all was delivered.
    pub(super) cpu_seconds: f64,
    pub(super) resident_max_mib: u64,
    pub(super) waited_percent: f64,
}

impl Speed {
    /// CPU seconds per million events.
    pub(super) fn server_cpu(&self) -> f64 {
        self.cpu_seconds / self.millions()
    }

    pub(super) fn client_cpu(&self) -> f64 {
        self.report.client_cpu_seconds / self.millions()
    }

    fn millions(&self) -> f64 {
        self.report.acked_events as f64 / 1e6
    }
}

pub(super) fn speed(server: &mut Server<'_>, load: Load) -> Result<Speed> {
    let (pressure, cpu) = (Pressure::now(), server.cpu_seconds()?);
    let report = client::run(server.system, load)?;
    if report.acked_events == 0 || report.unknown + report.rejected > 0 {
        bail!(
            "{}: {} events acknowledged, {} refused, {} unanswered",
            server.system.name(),
            report.acked_events,
            report.rejected,
            report.unknown
        );
    }
    let ended = Instant::now();
    let ago = server.delivered()?;
    let rest = ended.elapsed().saturating_sub(ago);
    let loaded = report.acked_events as f64 / report.acked_events_per_second;
    Ok(Speed {
        delivered_per_second: report.acked_events as f64 / (loaded + rest.as_secs_f64()),
        cpu_seconds: server.cpu_seconds()? - cpu,
        resident_max_mib: server.resident_max_mib()?,
        waited_percent: pressure.waited_percent(),
        report,
    })
}

/// What a start came to.
pub(super) struct Restart {
    pub(super) waiting: u64,
    pub(super) seconds: f64,
    pub(super) cpu_seconds: f64,
    pub(super) resident_max_mib: u64,
    pub(super) waited_percent: f64,
}

/// `kill -9` with that many events waiting.
pub(super) fn restart(system: &dyn System, backlog: u64) -> Result<Restart> {
    let mut server = Server::start(system, false)?;
    // What is due and cannot be sent yet is sent later: the number of events is that of the rate.
    let load = Load { rate: Some(backlog / FILL_SECONDS), seconds: FILL_SECONDS };
    client::run(system, load)?;
    let waiting = system.pending()?;
    let pressure = Pressure::now();
    let seconds = server.restart()?.as_secs_f64();
    Ok(Restart {
        waiting,
        seconds,
        cpu_seconds: server.cpu_seconds()?,
        resident_max_mib: server.resident_max_mib()?,
        waited_percent: pressure.waited_percent(),
    })
}

/// What the kills came to.
pub(super) struct Kills {
    pub(super) report: Report,
    pub(super) counted: Counted,
    /// From each kill until events were accepted again.
    pub(super) outages: Vec<Duration>,
    pub(super) waited_percent: f64,
}

pub(super) fn kills(system: &dyn System, programs: &Path, rate: u64, times: u32) -> Result<Kills> {
    let pressure = Pressure::now();
    let ledger = system.folder().join("ledger");
    let mut server = Server::start(system, true)?;
    let load = Load { rate: Some(rate), seconds: UNTIL_ENDED };
    let mut client = Client::start(system, load, &ledger)?;
    let begun = Instant::now();
    while super::count::bytes(&system.files())? < UNDER_WAY_BYTES {
        if begun.elapsed() > UNDER_WAY_WITHIN {
            bail!("nothing arrives in the files of {}", system.name());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut outages = Vec::new();
    for time in 0..times {
        std::thread::sleep(BETWEEN_KILLS + LATER_EACH_TIME * time);
        outages.push(server.restart().context("start it again")?);
    }
    std::thread::sleep(BETWEEN_KILLS);
    client.end()?;
    let report = client.report()?;
    server.delivered()?;
    server.stop()?;
    let counted = count(system, programs, &ledger)?;
    Ok(Kills { report, counted, outages, waited_percent: pressure.waited_percent() })
}

/// How much of the time some task on this machine waits for a CPU.
struct Pressure {
    waited_us: u64,
    since: Instant,
}

impl Pressure {
    fn now() -> Pressure {
        Pressure { waited_us: waited_us(), since: Instant::now() }
    }

    fn waited_percent(&self) -> f64 {
        let waited = waited_us().saturating_sub(self.waited_us);
        100.0 * waited as f64 / self.since.elapsed().as_micros() as f64
    }
}

fn waited_us() -> u64 {
    std::fs::read_to_string("/proc/pressure/cpu")
        .ok()
        .and_then(|text| text.lines().next()?.rsplit_once("total=")?.1.trim().parse().ok())
        .unwrap_or(0)
}
