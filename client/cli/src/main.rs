//! `collector-cli`: what operators look at and change.
//!
//! Exit codes: 0 done and well; 1 the answer is bad; 2 no node answers; 64 usage.

mod admin;
mod arguments;
mod audit;
mod buckets;
mod dead_letters;
mod flows;
mod lineages;
mod penalties;
mod print;
mod send;
mod sinks;
mod status;
mod tap;
mod wal;

use arguments::{Arguments, Command, Global, LogFormat};
use clap::{CommandFactory, Parser};
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

/// How a command ended; an error is bad too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Well,
    Bad,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { 64 } else { 0 };
            // Whoever closed our output does not want to read it.
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    log_to_stderr(&arguments.global);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            print::complaint(&format!("cannot start: {error}"));
            return ExitCode::from(1);
        }
    };
    match runtime.block_on(run(arguments)) {
        Ok(Verdict::Well) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::from(1),
        Err(error) => {
            print::complaint(&format!("{error:#}"));
            ExitCode::from(if error.is::<admin::Unreachable>() { 2 } else { 1 })
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<Verdict> {
    let Arguments { global, command } = arguments;
    match command {
        Command::Status(arguments) => status::run(&global, &arguments).await,
        Command::Send(arguments) => send::run(&global, &arguments).await,
        Command::Tap(arguments) => tap::run(&global, &arguments).await,
        Command::Audit(arguments) => audit::run(&global, &arguments).await,
        Command::Flows(command) => flows::run(&global, &command).await,
        Command::Sinks(arguments) => sinks::run(&global, &arguments).await,
        Command::Penalties(arguments) => penalties::run(&global, &arguments).await,
        Command::Buckets(arguments) => buckets::run(&global, &arguments).await,
        Command::DeadLetters(command) => dead_letters::run(&global, &command).await,
        Command::Lineages(command) => lineages::run(&global, &command).await,
        Command::Wal(command) => wal::run(&global, &command),
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Arguments::command(),
                "collector-cli",
                &mut anstream::stdout(),
            );
            Ok(Verdict::Well)
        }
        Command::Man { directory } => man(&directory),
    }
}

fn man(directory: &Path) -> anyhow::Result<Verdict> {
    clap_mangen::generate_to(Arguments::command(), directory)?;
    Ok(Verdict::Well)
}

fn log_to_stderr(global: &Global) {
    let filter = tracing_subscriber::EnvFilter::new(&global.log_level);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match global.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}
