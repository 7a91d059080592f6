//! The command line of `collector-loadtest`.

use clap::{Args, Parser, Subcommand, ValueEnum};
use sdk_producer::{Client, ClientFiles, LoadError};
use std::path::PathBuf;
use std::str::FromStr;

/// Puts load on a collector, keeps a ledger of what was acknowledged, and holds it against the files
#[derive(Debug, Parser)]
#[command(name = "collector-loadtest", version, about)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Ingest addresses of nodes
    #[arg(
        long,
        global = true,
        value_name = "URL[,URL…]",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:7400"
    )]
    pub(crate) endpoint: Vec<String>,
    #[command(flatten)]
    pub(crate) security: Security,
    /// A table for people, or JSON as the last line of standard output
    #[arg(long, short, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    /// error, warn, info, debug, trace
    #[arg(long, global = true, value_name = "LEVEL", default_value = "error")]
    pub(crate) log_level: String,
    /// Lines for people, or one JSON object a line
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

/// Whom to trust, what to show, which token to send.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Security {
    /// The CAs of the nodes' certificates, for https:// [default: those of the system]
    #[arg(long, global = true, value_name = "FILE", env = "COLLECTOR_CA")]
    pub(crate) ca: Option<PathBuf>,
    /// The certificate to show
    #[arg(long, global = true, value_name = "FILE", env = "COLLECTOR_CERTIFICATE")]
    pub(crate) certificate: Option<PathBuf>,
    /// Its private key
    #[arg(long, global = true, value_name = "FILE", env = "COLLECTOR_KEY")]
    pub(crate) key: Option<PathBuf>,
    /// The file with the token to send, over https:// or to this machine
    #[arg(long, global = true, value_name = "FILE", env = "COLLECTOR_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// The name that the nodes' certificates are for [default: the host in the URL]
    #[arg(long, global = true, value_name = "NAME", env = "COLLECTOR_SERVER_NAME")]
    pub(crate) server_name: Option<String>,
}

impl Security {
    /// What connects with them.
    pub(crate) fn client(&self) -> Result<Client, LoadError> {
        Client::new(ClientFiles {
            ca: self.ca.clone(),
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            token_file: self.token_file.clone(),
            server_name: self.server_name.clone(),
            prefix: "--".to_owned(),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sends events at a steady rate (open loop) and prints what was acknowledged, and how soon; exit 1 if nothing was, if of some events it is not known (`unknown` above 0), or if the node refuses the load for what it is
    Run(RunArguments),
    /// Holds a ledger against files: lost, duplicated, reordered, corrupt; exit 1 if any is not 0
    Verify(VerifyArguments),
    /// Single-event `Send` calls, so many at once (closed loop)
    Calls(CallsArguments),
    /// Opens connections that say nothing, and keeps them until interrupted
    Idle(IdleArguments),
    /// The raw loop as a server: gRPC stream, CRC, one fdatasync for all that wait, nothing else
    RawServer(RawArguments),
    /// Prints a benchmark's table, with the raw loop beside it in the same run
    Bench(BenchArguments),
}

/// Events a second, or as many as are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RateArgument {
    PerSecond(u64),
    Max,
}

impl FromStr for RateArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match text.parse() {
            Ok(rate) if rate > 0 => Ok(Self::PerSecond(rate)),
            _ => Err(format!("`{text}` is neither a number of events a second nor `max`")),
        }
    }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RunArguments {
    /// How long
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) seconds: u64,
    /// Events a second; `max` waits for answers instead (closed loop)
    #[arg(long, value_name = "N|max", default_value = "max")]
    pub(crate) rate: RateArgument,
    /// The length of a body
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(40..=1_048_576))]
    pub(crate) body_bytes: u32,
    /// Events of one block
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) batch_events: u32,
    /// received, local, replicated or committed [default: the flow's own]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) ack: Option<sdk_event::Level>,
    /// The flow [default: the node's only one]
    #[arg(long, value_name = "F", default_value = "")]
    pub(crate) flow: String,
    /// Producers, each with a connection of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) producers: u32,
    /// Blocks of a producer that may wait for their answer; in an open loop what is due beyond is sent later, and counts from when it was due
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub(crate) in_flight: u32,
    /// Where the ledger goes; an existing one is never overwritten
    #[arg(long, value_name = "FILE")]
    pub(crate) ledger: Option<PathBuf>,
    /// How long a block without an answer is tried again, with the same ids, from when it was due; then it, and what waits behind it, is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) timeout: u64,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// The ledger of a run
    #[arg(long, value_name = "FILE")]
    pub(crate) ledger: PathBuf,
    /// The directory of the files (text, SequenceFile or Avro, whatever the codec)
    #[arg(long, value_name = "DIR")]
    pub(crate) files: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct CallsArguments {
    /// How long
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) seconds: u64,
    /// Calls at once
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) in_flight: u32,
    /// Calls without an event: what a call costs
    #[arg(long)]
    pub(crate) empty: bool,
}

#[derive(Debug, Args)]
pub(crate) struct IdleArguments {
    /// How many
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) connections: u32,
}

#[derive(Debug, Args)]
pub(crate) struct RawArguments {
    /// Where it listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7400")]
    pub(crate) listen: std::net::SocketAddr,
    /// Where its log goes
    #[arg(long, value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    /// Which table
    #[arg(value_enum, default_value_t = Table::All)]
    pub(crate) table: Table,
    /// Seconds of each measurement
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) seconds: u64,
    /// Where the data of the servers go; on the disk to be measured [default: the temporary directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Table {
    /// Each of the others.
    All,
    /// Rate, server CPU per event and latency at `local`, files rolling, beside the raw loop.
    Ingest,
    /// Single-event calls beside empty ones.
    Calls,
    /// The same load over TLS and in the clear: what encryption costs.
    Tls,
    /// How soon a node accepts again with 0, 1 and 10 GiB waiting.
    Restart,
}
