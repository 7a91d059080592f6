//! The command line of `collector-cli`.

use clap::{Args, Parser, Subcommand, ValueEnum};
use sdk_event::limits::{HEADER_KEY_BYTES_MAX, HEADER_VALUE_BYTES_MAX};
use sdk_producer::{Client, ClientFiles, LoadError};
use std::path::PathBuf;

/// Looks at a collector cluster, and changes it
#[derive(Debug, Parser)]
#[command(name = "collector-cli", version, about)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Admin addresses of nodes; the first that answers is asked
    #[arg(
        long,
        global = true,
        value_name = "URL[,URL…]",
        env = "COLLECTOR_ENDPOINT",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:7402"
    )]
    pub(crate) endpoint: Vec<String>,
    #[command(flatten)]
    pub(crate) security: Security,
    /// Tables for people, or JSON as the last line of standard output
    #[arg(long, short, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    /// error, warn, info, debug, trace
    #[arg(long, global = true, value_name = "LEVEL", default_value = "warn")]
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
    /// Nodes, flows with rates, backlog and freshness, sinks, penalties, disks; exit 1 with the reasons if something is not well
    Status(StatusArguments),
    /// Sends lines of standard input as events and prints what was acknowledged
    ///
    /// All of them come from one producer and are stored in their order. An event's timestamp is when
    /// its line was read. When one is not acknowledged in time, no more are sent. Exit 0 if all
    /// were acknowledged, 1 if not, 2 if no node could be reached.
    #[command(after_help = SEND_JSON)]
    Send(SendArguments),
    /// Shows events as they are stored
    Tap(TapArguments),
    /// The books: what was stored, and what became of it; exit 1 if they do not balance
    Audit(AuditArguments),
    /// Flows: list, get, check, apply
    #[command(subcommand)]
    Flows(Flows),
    /// Sinks with backlog, open files and what they delivered
    Sinks(SinksArguments),
    /// Sinks that are left alone for a while because they failed
    Penalties(PenaltiesArguments),
    /// Buckets that were set aside because their path does not work
    Buckets(BucketsArguments),
    /// Events that could not be placed
    #[command(subcommand, name = "dead-letters")]
    DeadLetters(DeadLetters),
    /// Lineages: give one up
    #[command(subcommand)]
    Lineages(Lineages),
    /// A log on disk: read-only, offline, also beside a running node
    #[command(subcommand)]
    Wal(Wal),
    /// Prints shell completions
    Completions {
        /// Whose
        shell: clap_complete::Shell,
    },
    /// Writes the man pages into a directory
    Man {
        /// The directory
        directory: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// Shows it again every two seconds until interrupted
    #[arg(long, short)]
    pub(crate) watch: bool,
    /// Waits until everything is well
    #[arg(long, conflicts_with = "watch")]
    pub(crate) exit_when_healthy: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SendArguments {
    /// The flow [default: the node's only one]
    #[arg(long, value_name = "F", default_value = "")]
    pub(crate) flow: String,
    /// A header of every event
    #[arg(long = "header", value_name = "K=V", value_parser = header)]
    pub(crate) headers: Vec<(String, String)>,
    /// received, local, replicated or committed [default: the flow's own]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) ack: Option<sdk_event::Level>,
    /// How long a node is waited for, and an event retried with the same ids, before it counts as
    /// not acknowledged
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub(crate) timeout: sdk_config::DurationText,
    /// Ingest addresses, instead of those the nodes tell
    #[arg(long, value_name = "URL[,URL…]", value_delimiter = ',')]
    pub(crate) ingest: Vec<String>,
}

const SEND_JSON: &str = "\
JSON: {\"acked_events\": N, \"acked_level\": LEVEL|null, \"failed_events\": N, \"unknown_events\": N, \
\"first_failed\": N|null, \"error\": TEXT|null}
`unknown_events` are those of the failed that may be stored all the same; `first_failed` is the number \
of the first line (or record) that was not acknowledged, from 1.";

fn header(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not key=value"))?;
    if key.is_empty() || key.len() > HEADER_KEY_BYTES_MAX {
        return Err(format!("a key has 1 to {HEADER_KEY_BYTES_MAX} bytes"));
    }
    if value.len() > HEADER_VALUE_BYTES_MAX {
        return Err(format!("a value has at most {HEADER_VALUE_BYTES_MAX} bytes"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

#[derive(Debug, Args)]
pub(crate) struct TapArguments {
    /// The flow [default: the node's only one]
    #[arg(default_value = "")]
    pub(crate) flow: String,
    /// Ends after so many events
    #[arg(long, short = 'n', value_name = "N", default_value_t = 0)]
    pub(crate) limit: u64,
}

#[derive(Debug, Args)]
pub(crate) struct AuditArguments {
    /// Reads every final file back: counts and CRC, and ids where the serializer writes them
    #[arg(long)]
    pub(crate) deep: bool,
    /// Only files committed since then: a time (2026-11-21T10:00:00Z) or an age (2h)
    #[arg(long, value_name = "T", requires = "deep")]
    pub(crate) since: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Flows {
    /// Every flow with its rates
    List,
    /// The spec in force, as TOML that `apply` takes
    Get {
        /// The flow
        name: String,
    },
    /// Says what is wrong with a file, and what applying it would change
    Check {
        /// A file with `[flow.*]` tables
        file: PathBuf,
    },
    /// Applies the `[flow.*]` tables of a file
    Apply {
        /// A file with `[flow.*]` tables
        file: PathBuf,
        /// Book what removed groups have not delivered as dropped
        #[arg(long)]
        discard: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SinksArguments {
    #[command(subcommand)]
    pub(crate) command: Option<Sinks>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Sinks {
    /// Records a new marker for a root whose old one has vanished
    AdoptRoot {
        /// The flow
        flow: String,
        /// The sink
        sink: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct PenaltiesArguments {
    #[command(subcommand)]
    pub(crate) command: Option<Penalties>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Penalties {
    /// Lets penalised sinks be tried at once
    Clear {
        /// Only this sink
        #[arg(default_value = "")]
        sink: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct BucketsArguments {
    #[command(subcommand)]
    pub(crate) command: Option<Buckets>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Buckets {
    /// Has a bucket tried again now, after its cause was mended
    Resolve {
        /// The flow
        flow: String,
        /// The sink
        sink: String,
        /// The lineage, as `flow/shard/epoch`
        lineage: String,
        /// The directory
        directory: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLetters {
    /// Every file of dead letters
    List {
        /// Only of this flow
        #[arg(default_value = "")]
        flow: String,
    },
    /// The records of one file, as JSON lines
    Show {
        /// The path, as `list` prints it
        path: String,
    },
    /// Sends the events of one file again, under new ids; a header that is given replaces the event's own
    ///
    /// What was sent again before is not remembered: to go on after a replay that failed, skip what
    /// came before its first failure.
    #[command(after_help = SEND_JSON)]
    Replay {
        /// The path, as `list` prints it
        path: String,
        /// Leaves out the first N events
        #[arg(long, value_name = "N", default_value_t = 0)]
        skip: u64,
        #[command(flatten)]
        send: SendArguments,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Lineages {
    /// Ends a lineage where it is and books what it still waits for as lost
    Abandon {
        /// The lineage, as `flow/shard/epoch`
        lineage: String,
        /// Without it, only says what it would do
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Wal {
    /// Segments and what is in them
    Ls(WalArguments),
    /// Reads everything and checks every CRC; exit 1 if something is bad
    Verify(WalArguments),
    /// The records, one JSON object a line: kind, lineage, offsets, put time, ids, counts
    Dump(DumpArguments),
}

#[derive(Debug, Args)]
pub(crate) struct WalArguments {
    /// The data directory of a node or an agent
    #[arg(long, value_name = "D")]
    pub(crate) data_dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct DumpArguments {
    #[command(flatten)]
    pub(crate) wal: WalArguments,
    /// Only this lineage, as `flow/shard/epoch`
    #[arg(long, value_name = "LINEAGE")]
    pub(crate) lineage: Option<sdk_event::Lineage>,
    /// The Raft log instead of the events'
    #[arg(long)]
    pub(crate) raft: bool,
    /// Also the events: ids, timestamps, headers, bodies
    #[arg(long, conflicts_with = "raft")]
    pub(crate) bodies: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn headers_are_key_and_value_within_the_limits() {
        assert_eq!(header("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(header("a="), Ok(("a".to_owned(), String::new())));
        for wrong in
            ["a", "=b", &format!("{}=x", "k".repeat(129)), &format!("k={}", "v".repeat(4_097))]
        {
            assert!(header(wrong).is_err(), "{wrong}");
        }
    }
}
