//! `cargo xtask hdfs`: a real HDFS on this machine, for tests and for a first try.
//!
//! NameNodes and DataNodes are processes of their own, all on 127.0.0.1. The jars come from Maven
//! Central by themselves, once; what a cluster keeps lies in one directory, and commands find it
//! there again. Only processes that this directory lists are ever ended.

pub(crate) mod bench;
mod cluster;
mod configuration;
mod daemon;
mod faults;
mod jars;
mod java;
mod kerberos;

use crate::command::print;
use crate::suite::target;
use anyhow::Result;
use cluster::{Cluster, Wishes};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where the cluster keeps everything [default: hdfs in the build directory]
    #[arg(long, value_name = "DIR", global = true)]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Says whether a cluster can be had here, and if not, what to install
    Check,
    /// Only fetches the jars
    Fetch,
    /// Starts what does not run, and waits until files can be written
    Up(Wishes),
    /// Stops everything; the data stay
    Down,
    /// Stops everything and deletes the directory
    Wipe,
    /// One line for each process, then the NameNodes' own view
    Status,
    /// What a client needs, as `export` lines for `eval`
    Env,
    /// hdfs://…
    Url,
    /// kill -9 of a DataNode, or of all
    KillDn(Number),
    /// SIGTERM to a DataNode, or to all
    StopDn(Number),
    /// Starts a DataNode, or all, and waits until the NameNode has them
    StartDn(Number),
    /// SIGSTOP: the node hangs
    PauseDn(Number),
    /// SIGCONT
    ResumeDn(Number),
    /// kill -9 of a NameNode
    KillNn(Number),
    /// Starts a NameNode and waits until it can be written to; with `--nowait` only until it answers
    StartNn(StartNn),
    /// Makes a NameNode of an `--ha` cluster the active one, whatever the other says
    Activate(Number),
    /// `enter`, `leave` or `get`
    Safemode { what: String },
    /// A ticket for the user `collector` into the cache that `env` names
    Kinit(Kinit),
    /// Takes that ticket away
    Kdestroy,
    /// Hadoop's `fs` shell
    #[command(disable_help_flag = true)]
    Fs(Rest),
    /// Hadoop's `dfsadmin`
    #[command(disable_help_flag = true)]
    Dfsadmin(Rest),
    /// Wipes the cluster when that process has ended
    #[command(hide = true)]
    Watch { pid: i32 },
}

#[derive(clap::Args)]
struct Number {
    /// Which, from 1
    number: Option<usize>,
}

#[derive(clap::Args)]
struct StartNn {
    /// Which, from 1
    #[arg(default_value_t = 1)]
    number: usize,
    /// Do not wait for the end of safe mode
    #[arg(long)]
    nowait: bool,
}

#[derive(clap::Args)]
struct Kinit {
    /// How long it lasts, as `kinit -l` takes it
    #[arg(long, default_value = "1h")]
    lifetime: String,
}

#[derive(clap::Args)]
struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    let dir = options.dir.clone().unwrap_or_else(|| target().join("hdfs"));
    let dir = std::path::absolute(dir)?;
    let open = || Cluster::open(&dir);
    match &options.command {
        Command::Check => return jars::check(),
        Command::Fetch => drop(jars::fetch()?),
        Command::Up(wishes) => Cluster::up(&dir, wishes)?,
        Command::Down => open()?.down()?,
        Command::Wipe => Cluster::wipe(&dir)?,
        Command::Status => return open()?.status(),
        Command::Env => print(&open()?.env()),
        Command::Url => print(&open()?.url()),
        Command::KillDn(which) => open()?.kill_data_nodes(which.number)?,
        Command::StopDn(which) => open()?.stop_data_nodes(which.number)?,
        Command::StartDn(which) => open()?.start_data_nodes(which.number)?,
        Command::PauseDn(which) => open()?.pause_data_nodes(which.number)?,
        Command::ResumeDn(which) => open()?.resume_data_nodes(which.number)?,
        Command::KillNn(which) => open()?.kill_name_node(which.number.unwrap_or(1))?,
        Command::StartNn(which) => open()?.start_name_node(which.number, !which.nowait)?,
        Command::Activate(which) => return open()?.activate(which.number.unwrap_or(1)),
        Command::Safemode { what } => return open()?.safe_mode(what),
        Command::Kinit(kinit) => open()?.kinit(&kinit.lifetime)?,
        Command::Kdestroy => open()?.kdestroy()?,
        Command::Fs(rest) => return open()?.shell("org.apache.hadoop.fs.FsShell", &rest.arguments),
        Command::Dfsadmin(rest) => {
            return open()?.shell("org.apache.hadoop.hdfs.tools.DFSAdmin", &rest.arguments);
        }
        Command::Watch { pid } => open()?.watch(*pid)?,
    }
    Ok(true)
}

/// Fetches what no package has.
pub(crate) fn fetch_jars() -> Result<()> {
    jars::fetch().map(drop)
}
