//! `collector-agent`: tails files on a machine and sends them to collector nodes.
//!
//! A thin program: what it runs is an [`sdk_edge::Edge`].
//!
//! Exit codes: 0 done and well; 1 the file is invalid, or the agent could not
//! start; 64 usage; 70 the spool's log is dead; 75 the data directory is in use.

mod arguments;
mod check;
mod pages;
mod run;
mod serve;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use sdk_flow::code;
use tracing_subscriber::EnvFilter;

use arguments::{Arguments, Command, LogFormat, Logging};

/// The agent waits for disk and network, it computes little.
const WORKER_THREADS: usize = 2;
/// Threads that read files and the spool.
const BLOCKING_THREADS_MAX: usize = 16;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Whoever closed our output does not want to read it.
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { code::USAGE } else { code::OK });
        }
    };
    let Arguments { command, agent, logging } = arguments;
    match command {
        Some(Command::Check { file }) => check::run(&file),
        Some(Command::Config) => {
            drop(anstream::stdout().write_all(sdk_config::annotated_agent_defaults().as_bytes()));
            ExitCode::SUCCESS
        }
        None => {
            if let Err(error) = log_to_stderr(&logging) {
                complain(&format!("--log-level is invalid: {error}"));
                return ExitCode::from(code::USAGE);
            }
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(WORKER_THREADS)
                .max_blocking_threads(BLOCKING_THREADS_MAX)
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => runtime.block_on(run::run(agent)),
                Err(error) => {
                    complain(&format!("cannot start: {error}"));
                    ExitCode::from(code::BAD)
                }
            }
        }
    }
}

fn log_to_stderr(logging: &Logging) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let filter = EnvFilter::try_new(&logging.log_level)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match logging.log_format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    }
}

/// A sentence for whoever started the program.
fn complain(text: &str) {
    drop(writeln!(anstream::stderr(), "collector-agent: {text}"));
}
