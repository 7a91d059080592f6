//! `cargo xtask bench hdfs`: a node, the sink without a node, and the client it is built on write as many bytes.
//!
//! The client is measured twice: as it comes from the registry (`plain/`), where it computes CRCs from tables, and with
//! `server/hdfs/crc` under it, as node and sink have it.

use super::cluster::{Cluster, Wishes};
use crate::command::{cargo, passes, print, say};
use crate::loopback::{free_ports, get};
use crate::suite::{root, target};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The client alone, in a workspace of its own: without what ours patches.
pub(crate) const PLAIN: &str = "deploy/xtask/src/hdfs/plain/Cargo.toml";

/// Events a second that are taken in while HDFS is closed: how many there are is not to depend on how fast
/// the machine is, or a fast one would fill its disk.
const RATE: &str = "400000";

/// So many that events are in most shards: each has a file open, and the client alone as many at once.
const PRODUCERS: u32 = 24;
const FILES_AT_ONCE: u32 = 8;

const PLAIN_PROGRAM: &str = "plain/release/plain";

/// Left free besides: logs, checksums, and others on the disk.
const MARGIN_BYTES: u64 = 4 << 30;

const POLL: Duration = Duration::from_millis(100);

const BODY_BYTES: u64 = 500;

/// What write as much one after another, each into a folder of its own: node, sink, two clients.
const WRITERS: u64 = 4;

/// What a cluster without files has: logs, and the NameNode's edits.
const EMPTY_BYTES_MAX: u64 = 256 << 20;

/// What the page cache is filled with at most.
const WARM_BYTES_MAX: u64 = 32 << 30;

/// Nothing that is waited for takes so long.
const WAIT_MAX: Duration = Duration::from_secs(600);

#[derive(clap::Parser)]
struct Arguments {
    /// How long events are taken in while HDFS is closed: 200 MB a second, of which HDFS keeps three copies, and as
    /// many of what the sink alone and the client alone (twice) write; besides, up to 32 GiB fill the page cache
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// How often it is done
    #[arg(long, default_value_t = 2)]
    rounds: u64,
}

/// What was measured in one round.
struct Round {
    bytes: u64,
    /// A whole node, which reads what it writes from its log.
    node: Took,
    /// The sink without a node, which has the events in memory.
    sink: Took,
    /// The client without a sink, with our CRC.
    client: Took,
    /// The client as it comes from the registry.
    plain: Took,
}

/// What some work has taken.
#[derive(Clone, Copy)]
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
        || !build(&["build", "--release", "-p", "server-hdfs", "--examples"])?
        || !build(&[
            "build",
            "--release",
            "--locked",
            "--manifest-path",
            PLAIN,
            "--target-dir",
            &target().join("plain").display().to_string(),
        ])?
    {
        return Ok(false);
    }
    let dir = target().join("hdfs-bench");
    Cluster::wipe(&dir)?;
    has_room(arguments.seconds)?;
    Cluster::up(&dir, &Wishes::plain())?;
    let cluster = Cluster::open(&dir)?;
    let measured = (0..arguments.rounds).map(|round| one(&cluster, round, arguments.seconds));
    let measured = measured.collect::<Result<Vec<_>>>();
    Cluster::wipe(&dir)?;
    table(&measured?);
    Ok(true)
}

fn table(rounds: &[Round]) {
    print("| round | | MiB/s | of plain hdfs-native | CPU s/GiB | of plain hdfs-native |");
    print("|---|---|---|---|---|---|");
    for (number, round) in (1..).zip(rounds) {
        let mib = round.bytes as f64 / f64::from(1 << 20);
        let Round { node, sink, client, plain, .. } = round;
        let rows = [
            ("node", node),
            ("sink", sink),
            ("hdfs-native with our CRC", client),
            ("hdfs-native", plain),
        ];
        for (name, took) in rows {
            print(&format!(
                "| {number} | {name} | {:.0} | {:.2} | {:.2} | {:.2} |",
                mib / took.seconds,
                plain.seconds / took.seconds,
                took.cpu_seconds / mib * 1024.0,
                took.cpu_seconds / plain.cpu_seconds,
            ));
        }
    }
}

/// Whether the disk has room for all that a round writes. A client that meets a full one tries for minutes.
fn has_room(seconds: u64) -> Result<()> {
    let rate: u64 = RATE.parse().context("a number")?;
    let replicas = u64::from(Wishes::plain().replication);
    let logged = seconds * rate * BODY_BYTES;
    let needed = logged * (1 + WRITERS * replicas) + warm_bytes() + MARGIN_BYTES;
    let disk = rustix::fs::statvfs(target()).context("ask how much room the disk has")?;
    let free = disk.f_bavail * disk.f_frsize;
    if free < needed {
        bail!(
            "{} has {} GB free, a round of --seconds {seconds} needs {}: free some, or ask for fewer seconds",
            target().display(),
            free / 1_000_000_000,
            needed.div_ceil(1_000_000_000),
        );
    }
    Ok(())
}

/// What the page cache is filled with: all of memory, or a good part of it.
fn warm_bytes() -> u64 {
    let memory = rustix::system::sysinfo();
    (memory.totalram * u64::from(memory.mem_unit)).min(WARM_BYTES_MAX)
}

/// One round: a node's log is filled while HDFS is closed, HDFS opened, and the node writes it; then the sink alone
/// and the clients alone write as many bytes, the clients those of a file that the node has written. Every second round
/// these three come in the other order.
fn one(cluster: &Cluster, round: u64, seconds: u64) -> Result<Round> {
    let folder = cluster.dir().join(format!("node-{round}"));
    let [warm, of_node, of_sink, of_client, of_plain] =
        ["warm", "node", "sink", "client", "plain"].map(|name| format!("{name}-{round}"));
    // Whoever comes first would have to do with daemons whose code is not compiled yet, and with memory that the page
    // cache does not have (any more: the round before was deleted), which a hypervisor may have to get first: twice
    // the CPU time of the DataNodes.
    client(cluster, PLAIN_PROGRAM, &warm, warm_bytes() / u64::from(cluster.replication()), None)?;
    rustix::fs::sync();
    let safe_mode = |what| match cluster.safe_mode(what)? {
        true => Ok(()),
        false => bail!("safe mode: {what} was refused"),
    };
    safe_mode("enter")?;
    let events = fill(cluster, &folder, &of_node, seconds)?;
    safe_mode("leave")?;
    let (node, bytes) = drain(cluster, &folder, &of_node, events)?;
    let sink = || {
        let [length, at_once] = [bytes, u64::from(FILES_AT_ONCE)].map(|number| number.to_string());
        let path = format!("{}/{of_sink}/events/%Y-%m-%d/%H%M", cluster.url());
        measured(cluster, "release/examples/sink", &[&path, &length, &at_once])
    };
    let alone = |program, folder: &str| client(cluster, program, folder, bytes, Some(&of_node));
    let writers: [&dyn Fn() -> Result<Took>; 3] =
        [&sink, &|| alone("release/examples/client", &of_client), &|| {
            alone(PLAIN_PROGRAM, &of_plain)
        }];
    let mut order = [0, 1, 2];
    if round % 2 == 1 {
        order.reverse();
    }
    let mut took = [node; 3];
    for writer in order {
        rustix::fs::sync();
        took[writer] = writers[writer]()?;
    }
    let [sink, client, plain] = took;
    std::fs::remove_dir_all(&folder).context("remove the log")?;
    remove(cluster, &[&warm, &of_node, &of_sink, &of_client, &of_plain])?;
    Ok(Round { bytes, node, sink, client, plain })
}

/// Fills a node's log for so many seconds; gives how many events it has acknowledged.
fn fill(cluster: &Cluster, folder: &Path, to: &str, seconds: u64) -> Result<u64> {
    let node = Node::start(cluster, folder, to)?;
    let load = Command::new(program("collector-loadtest"))
        .args(["--output", "json", "run", "--seconds", &seconds.to_string(), "--rate", RATE])
        .args(["--body-bytes", &BODY_BYTES.to_string(), "--batch-events", "500", "--ack", "local"])
        .args(["--producers", &PRODUCERS.to_string(), "--endpoint"])
        .arg(format!("http://127.0.0.1:{}", node.ports[0]))
        .output()
        .context("run the load")?;
    let report = String::from_utf8_lossy(&load.stdout).into_owned();
    let report: serde_json::Value = serde_json::from_str(report.lines().last().unwrap_or_default())
        .context("read the report")?;
    let rate = report["acked_events_per_second"].as_f64().context("how many events a second")?;
    let p99 = report["ack_ms"]["p99"].as_f64().context("when they were acknowledged")?;
    print(&format!("with HDFS closed: {rate:.0} events/s acknowledged, p99 {p99:.1} ms"));
    report["acked_events"].as_u64().context("how many events were acknowledged")
}

/// Has a node drain so many events of its log; gives what that took, its start and recovery with it, and the bytes of
/// its files.
fn drain(cluster: &Cluster, folder: &Path, to: &str, events: u64) -> Result<(Took, u64)> {
    let begun = Instant::now();
    let node = Node::start(cluster, folder, to)?;
    // Else the time that a sink is left alone after its failures would count.
    node.clear_penalties()?;
    wait("everything is final", || node.metrics().is_ok_and(|now| now.events >= events))?;
    let took = Took { seconds: begun.elapsed().as_secs_f64(), cpu_seconds: node.cpu_seconds()? };
    Ok((took, node.metrics()?.file_bytes))
}

/// Has the client alone write so many bytes, of a file of `source` if there is one.
fn client(
    cluster: &Cluster,
    program: &str,
    folder: &str,
    bytes: u64,
    source: Option<&str>,
) -> Result<Took> {
    let (url, folder) = (cluster.url(), format!("/{folder}"));
    let [bytes, at_once] = [bytes, u64::from(FILES_AT_ONCE)].map(|number| number.to_string());
    let source = source.map(|source| format!("/{source}"));
    let mut words = vec![url.as_str(), &folder, &bytes, &at_once];
    words.extend(source.as_deref());
    measured(cluster, program, &words)
}

/// Runs a program that says what its work took.
fn measured(cluster: &Cluster, program: &str, words: &[&str]) -> Result<Took> {
    let said = Command::new(target().join(program))
        .args(words)
        .env("HADOOP_CONF_DIR", cluster.conf())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("run {program}"))?;
    let said: serde_json::Value = serde_json::from_slice(&said.stdout)
        .with_context(|| format!("read what {program} says"))?;
    let field = |name: &str| said[name].as_f64().with_context(|| format!("no {name}"));
    Ok(Took { seconds: field("seconds")?, cpu_seconds: field("cpu_seconds")? })
}

/// Removes folders, and waits until their blocks are gone too: DataNodes delete them later, which keeps a disk busy
/// for seconds, and none while the NameNode is in safe mode.
fn remove(cluster: &Cluster, folders: &[&str]) -> Result<()> {
    let folders = folders.iter().map(|folder| format!("/{folder}"));
    let words = ["-rm", "-r", "-skipTrash"].map(str::to_owned).into_iter().chain(folders);
    if !cluster.shell("org.apache.hadoop.fs.FsShell", &words.collect::<Vec<_>>())? {
        bail!("the folders could not be removed");
    }
    wait("the blocks are gone", || {
        bytes_in(cluster.dir()).is_ok_and(|bytes| bytes < EMPTY_BYTES_MAX)
    })?;
    // What a deletion has to tell the disk is told when the file system commits it.
    rustix::fs::sync();
    Ok(())
}

/// The bytes of all files of a directory. One that is going away meanwhile is an error.
fn bytes_in(directory: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_in(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// A node; killed when it goes.
struct Node {
    child: Child,
    ports: Vec<u16>,
}

impl Node {
    /// Starts a node in `folder` whose files go `to` a folder of HDFS, and waits until it accepts events.
    fn start(cluster: &Cluster, folder: &Path, to: &str) -> Result<Node> {
        std::fs::create_dir_all(folder).context("make the node's directory")?;
        // As it is by default, but that files are finished once nothing more comes: else the end of what a node takes
        // in would be that of the roll interval. What another life has left ends at once.
        let path = format!("{}/{to}/events/%Y-%m-%d/%H%M", cluster.url());
        let config = format!(
            "[flow.default]\nsources.in = {{ type = \"collector\", channels = [\"main\"] }}\n\
             channels.main = {{ type = \"durable\" }}\n\
             sinks.files = {{ type = \"files\", channel = \"main\", path = \"{path}\", idle_timeout = \"1s\" }}\n"
        );
        std::fs::write(folder.join("node.toml"), config)
            .context("write the node's configuration")?;
        let ports = free_ports(3)?;
        let log = std::fs::File::create(folder.join("node.log")).context("make the node's log")?;
        let mut command = Command::new(program("collector-server"));
        command.arg("--config").arg(folder.join("node.toml"));
        command.arg("--data-dir").arg(folder.join("data"));
        for (flag, port) in ["--ingest", "--peer", "--admin"].iter().zip(&ports) {
            command.args([*flag, &format!("127.0.0.1:{port}")]);
        }
        let child = command
            .env("HADOOP_CONF_DIR", cluster.conf())
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .context("start the node")?;
        let mut node = Node { child, ports };
        wait("the node accepts", || {
            node.has_ended()
                || get(node.ports[2], "/health/ready").is_ok_and(|body| !body.is_empty())
        })?;
        if node.has_ended() {
            let log = std::fs::read_to_string(folder.join("node.log")).unwrap_or_default();
            bail!("the node has ended:\n{log}");
        }
        Ok(node)
    }

    fn metrics(&self) -> Result<Metrics> {
        Metrics::read(self.ports[2])
    }

    fn clear_penalties(&self) -> Result<()> {
        let cleared = Command::new(program("collector-cli"))
            .args(["--endpoint", &format!("http://127.0.0.1:{}", self.ports[2])])
            .args(["penalties", "clear"])
            .stdout(Stdio::null())
            .status()
            .context("clear the penalties")?;
        if !cleared.success() {
            bail!("the penalties could not be cleared");
        }
        Ok(())
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
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

struct Metrics {
    events: u64,
    file_bytes: u64,
}

impl Metrics {
    fn read(admin: u16) -> Result<Metrics> {
        let page = get(admin, "/metrics")?;
        let sum = |name: &str| {
            let lines = page.lines().filter(|line| line.starts_with(name));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
        };
        Ok(Metrics {
            events: sum("collector_sink_events_total"),
            file_bytes: sum("collector_sink_file_bytes_total"),
        })
    }
}

fn program(name: &str) -> PathBuf {
    target().join("release").join(name)
}

fn wait(what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
    let begun = Instant::now();
    while !holds() {
        if begun.elapsed() > WAIT_MAX {
            bail!("{what}: not within {WAIT_MAX:?}");
        }
        std::thread::sleep(POLL);
    }
    say(&format!("{what} after {:.1} s", begun.elapsed().as_secs_f64()));
    Ok(())
}
