//! `cargo xtask bench hdfs`: the sink beside the client it is built on, with the same bytes.

use super::cluster::{Cluster, Wishes};
use crate::command::{cargo, passes, print, say};
use crate::loopback::{free_ports, get};
use crate::suite::{root, target};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Events a second that are taken in while HDFS is closed: how many there are is not to depend on how fast
/// the machine is, or a fast one would fill its disk.
const RATE: &str = "400000";

/// So many that events are in most shards: each has a file open, and the client alone as many at once.
const PRODUCERS: u32 = 24;
const FILES_AT_ONCE: u32 = 8;

const POLL: Duration = Duration::from_millis(100);

/// A cluster in safe mode is asked again every 5 s; the rest is writing.
const DRAINED_WITHIN: Duration = Duration::from_secs(600);

#[derive(clap::Parser)]
struct Arguments {
    /// How long events are taken in while HDFS is closed: 200 MB a second, of which HDFS keeps three
    /// copies, and as many of what the client alone writes
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// How often it is done
    #[arg(long, default_value_t = 2)]
    rounds: u64,
}

/// What one way of writing has taken.
struct Took {
    seconds: f64,
    cpu_seconds: f64,
}

pub(crate) fn run(arguments: &[String]) -> Result<bool> {
    let words = std::iter::once("bench hdfs").chain(arguments.iter().map(String::as_str));
    let arguments = match <Arguments as clap::Parser>::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) => {
            error.print().context("print the usage")?;
            return Ok(!error.use_stderr());
        }
    };
    let build = |words: &[&str]| passes(cargo().current_dir(root()).args(words));
    if !build(&["build", "--release", "--workspace", "--bins"])?
        || !build(&["build", "--release", "-p", "server-hdfs", "--example", "plain"])?
    {
        return Ok(false);
    }
    let dir = target().join("hdfs-bench");
    Cluster::wipe(&dir)?;
    Cluster::up(&dir, &Wishes::plain())?;
    let cluster = Cluster::open(&dir)?;
    let measured = (0..arguments.rounds).map(|round| one(&cluster, round, arguments.seconds));
    let measured = measured.collect::<Result<Vec<_>>>();
    Cluster::wipe(&dir)?;
    table(&measured?);
    Ok(true)
}

fn table(rounds: &[(u64, Took, Took)]) {
    print(
        "| round | MiB | sink MiB/s | client alone MiB/s | speed | sink CPU s/GiB | client alone | CPU |",
    );
    print("|---|---|---|---|---|---|---|---|");
    for (round, (bytes, sink, alone)) in rounds.iter().enumerate() {
        let mib = *bytes as f64 / f64::from(1 << 20);
        let gib = mib / 1024.0;
        print(&format!(
            "| {} | {mib:.0} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} |",
            round + 1,
            mib / sink.seconds,
            mib / alone.seconds,
            alone.seconds / sink.seconds,
            sink.cpu_seconds / gib,
            alone.cpu_seconds / gib,
            sink.cpu_seconds / alone.cpu_seconds,
        ));
    }
}

/// Fills the node's log while HDFS is closed, opens HDFS and lets the sink drain; then the client
/// alone writes as many bytes.
fn one(cluster: &Cluster, round: u64, seconds: u64) -> Result<(u64, Took, Took)> {
    let folder = cluster.dir().join(format!("node-{round}"));
    std::fs::create_dir_all(&folder).context("make the node's directory")?;
    // As it is by default, but that files are finished once nothing more comes: else the end would be that of the
    // roll interval.
    let path = format!("{}/bench-{round}/files/%Y-%m-%d/%H%M", cluster.url());
    let config = format!(
        "[flow.default]\nsources.in = {{ type = \"collector\", channels = [\"main\"] }}\n\
         channels.main = {{ type = \"durable\" }}\n\
         sinks.files = {{ type = \"files\", channel = \"main\", path = \"{path}\", idle_timeout = \"1s\" }}\n"
    );
    std::fs::write(folder.join("node.toml"), config).context("write the node's configuration")?;
    let ports = free_ports(3)?;
    let mut node = Node::start(cluster, &folder, &ports)?;
    let admin = ports[2];
    wait("the node accepts", || {
        node.has_ended() || get(admin, "/health/ready").is_ok_and(|body| !body.is_empty())
    })?;
    if node.has_ended() {
        let log = std::fs::read_to_string(folder.join("node.log")).unwrap_or_default();
        bail!("the node has ended:\n{log}");
    }
    cluster.safe_mode("enter")?;
    let load = Command::new(program("collector-loadtest"))
        .args(["--output", "json", "run", "--seconds", &seconds.to_string(), "--rate", RATE])
        .args(["--body-bytes", "500", "--batch-events", "500", "--ack", "local"])
        .args(["--producers", &PRODUCERS.to_string(), "--endpoint"])
        .arg(format!("http://127.0.0.1:{}", ports[0]))
        .output()
        .context("run the load")?;
    let before = Metrics::read(admin)?;
    cluster.safe_mode("leave")?;
    // Else the time that a sink is left alone after its failures would count.
    let cleared = Command::new(program("collector-cli"))
        .args(["--endpoint", &format!("http://127.0.0.1:{admin}"), "penalties", "clear"])
        .stdout(Stdio::null())
        .status()
        .context("clear the penalties")?;
    if !cleared.success() {
        bail!("the penalties could not be cleared");
    }
    wait("the sink begins", || {
        Metrics::read(admin).is_ok_and(|now| now.data_calls > before.data_calls)
    })?;
    let (begun, cpu) = (Instant::now(), node.cpu_seconds()?);
    let report = String::from_utf8_lossy(&load.stdout).into_owned();
    let report: serde_json::Value = serde_json::from_str(report.lines().last().unwrap_or_default())
        .context("read the report")?;
    let events = report["acked_events"].as_u64().context("how many events were acknowledged")?;
    wait("everything is final", || {
        Metrics::read(admin).is_ok_and(|now| now.events - before.events >= events)
    })?;
    let sink =
        Took { seconds: begun.elapsed().as_secs_f64(), cpu_seconds: node.cpu_seconds()? - cpu };
    let bytes = Metrics::read(admin)?.file_bytes - before.file_bytes;
    node.end();
    let alone = Command::new(target().join("release/examples/plain"))
        .args([
            cluster.url(),
            format!("/plain-{round}"),
            bytes.to_string(),
            FILES_AT_ONCE.to_string(),
        ])
        .env("HADOOP_CONF_DIR", cluster.conf())
        .stderr(Stdio::inherit())
        .output()
        .context("run the client alone")?;
    let alone: serde_json::Value =
        serde_json::from_slice(&alone.stdout).context("read what the client alone took")?;
    let parts = [format!("/bench-{round}"), format!("/plain-{round}")];
    let words = ["-rm", "-r", "-skipTrash"].map(str::to_owned);
    cluster.shell("org.apache.hadoop.fs.FsShell", &[&words[..], &parts[..]].concat())?;
    std::fs::remove_dir_all(&folder).context("remove what the node wrote")?;
    let field = |name: &str| alone[name].as_f64().with_context(|| format!("no {name}"));
    let alone = Took { seconds: field("seconds")?, cpu_seconds: field("cpu_seconds")? };
    Ok((bytes, sink, alone))
}

struct Node {
    child: Child,
}

impl Node {
    fn start(cluster: &Cluster, folder: &Path, ports: &[u16]) -> Result<Node> {
        let log = std::fs::File::create(folder.join("node.log")).context("make the node's log")?;
        let mut command = Command::new(program("collector-server"));
        command.arg("--config").arg(folder.join("node.toml"));
        command.arg("--data-dir").arg(folder.join("data"));
        for (flag, port) in ["--ingest", "--peer", "--admin"].iter().zip(ports) {
            command.args([*flag, &format!("127.0.0.1:{port}")]);
        }
        let child = command
            .env("HADOOP_CONF_DIR", cluster.conf())
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .context("start the node")?;
        Ok(Node { child })
    }

    fn cpu_seconds(&self) -> Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))
            .context("ask what the node has taken")?;
        let after_name = text.rsplit(") ").next().unwrap_or_default();
        let ticks = after_name.split(' ').skip(11).take(2).filter_map(|it| it.parse::<u32>().ok());
        Ok(ticks.map(f64::from).sum::<f64>() / 100.0)
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn end(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
    }
}

struct Metrics {
    events: u64,
    file_bytes: u64,
    data_calls: u64,
}

impl Metrics {
    fn read(admin: u16) -> Result<Metrics> {
        let page = get(admin, "/metrics")?;
        let sum = |name: &str, label: &str| {
            let lines = page.lines().filter(|line| line.starts_with(name) && line.contains(label));
            let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
            values.sum()
        };
        Ok(Metrics {
            events: sum("collector_sink_events_total", ""),
            file_bytes: sum("collector_sink_file_bytes_total", ""),
            data_calls: sum("collector_hdfs_calls_total", "part=\"datanode\""),
        })
    }
}

fn program(name: &str) -> PathBuf {
    target().join("release").join(name)
}

fn wait(what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
    let begun = Instant::now();
    while !holds() {
        if begun.elapsed() > DRAINED_WITHIN {
            bail!("{what}: not within {DRAINED_WITHIN:?}");
        }
        std::thread::sleep(POLL);
    }
    say(&format!("{what} after {:.1} s", begun.elapsed().as_secs_f64()));
    Ok(())
}
