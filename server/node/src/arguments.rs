//! The command line of `collector-server`.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// An aggregator node: takes events over gRPC, makes them durable, delivers them exactly once into files
#[derive(Debug, Parser)]
#[command(name = "collector-server", version, about, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// What to do instead of running a node.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The node to run.
    #[command(flatten)]
    pub node: NodeArguments,
    /// How to log.
    #[command(flatten)]
    pub logging: Logging,
}

/// Flags for the plain cases; without any, a cluster of one on loopback.
#[derive(Debug, Args)]
pub struct NodeArguments {
    /// A configuration file (see `collector-server config`)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the node keeps what it must not lose [default: ./collector-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where the default flow's files go: a directory, or hdfs://NAMESERVICE-or-HOST:PORT/PATH as
    /// HADOOP_CONF_DIR says [default: <data-dir>/files]
    #[arg(long, value_name = "DIR|hdfs://…", conflicts_with = "config")]
    pub files_dir: Option<String>,
    /// The host all three ports listen on
    #[arg(long, value_name = "HOST")]
    pub listen: Option<String>,
    /// The address producers send to [default: 127.0.0.1:7400]
    #[arg(long, value_name = "ADDR")]
    pub ingest: Option<SocketAddr>,
    /// The address other nodes use [default: 127.0.0.1:7401]
    #[arg(long, value_name = "ADDR")]
    pub peer: Option<SocketAddr>,
    /// The address of the status page, the metrics and the operators' commands [default: 127.0.0.1:7402]
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<SocketAddr>,
    /// Listen off loopback although nothing is encrypted
    #[arg(long)]
    pub insecure: bool,
}

/// How to log.
#[derive(Debug, Args)]
pub struct Logging {
    /// error, warn, info, debug, trace, or a filter such as `info,sdk_wal=debug`
    #[arg(long, global = true, value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
    /// Lines for people, or one JSON object a line
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// What the program can do beside running a node.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The main job in one terminal: a node, an agent's flow tailing a web log, files rolling, the audit at the end
    Demo(DemoArguments),
    /// Prints the annotated defaults
    Config,
    /// Checks a configuration file offline: every mistake with its line, key and remedy
    Check(CheckArguments),
}

/// How the demo runs.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// How long it runs
    #[arg(long, value_name = "N", default_value_t = 80, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Lines a second that the web server of the demo logs
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub rate: u64,
    /// Kept afterwards, and printed [default: a fresh temporary directory]
    #[arg(long, value_name = "D")]
    pub data_dir: Option<PathBuf>,
}

/// What to check.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The file
    pub file: PathBuf,
    /// Prints the channels, path and file prefix that such an event gets, for example
    /// '{"timestamp": 1340421394234, "headers": {"app": "shop"}, "body": "hello"}'
    #[arg(long, value_name = "JSON")]
    pub event: Option<String>,
}
