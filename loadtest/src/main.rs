//! `collector-loadtest`: open-loop load, its ledger, and the benchmarks.
//!
//! Exit codes: 0 done and well; 1 the answer is bad; 2 no node answers; 64 usage.

mod arguments;
mod bench;
mod calls;
mod cpu;
mod idle;
mod ledger;
mod payload;
mod print;
mod raw;
mod report;
mod run;
mod verify;

use arguments::{Arguments, Command, Global, LogFormat, Output};
use clap::Parser;
use std::io::IsTerminal;
use std::process::ExitCode;

/// What was asked for is not possible.
#[derive(Debug)]
struct Usage(String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// No node answers.
#[derive(Debug)]
struct Unreachable(String);

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no node answers: {}", self.0)
    }
}

impl std::error::Error for Unreachable {}

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
    match execute(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            print::complain(&format!("{error:#}"));
            let unreachable = error.is::<Unreachable>();
            ExitCode::from(match unreachable {
                _ if error.is::<Usage>() => 64,
                true => 2,
                false => 1,
            })
        }
    }
}

fn execute(arguments: Arguments) -> anyhow::Result<bool> {
    let Arguments { global, command } = arguments;
    let runtime = tokio::runtime::Runtime::new()?;
    match command {
        Command::Run(arguments) => runtime.block_on(run::run(&global, &arguments)),
        Command::Calls(arguments) => runtime.block_on(calls::run(&global, &arguments)),
        Command::Idle(arguments) => runtime.block_on(idle::run(&global, &arguments)),
        Command::Verify(arguments) => {
            let verdict = verify::verify(&arguments.ledger, &arguments.files)?;
            for example in &verdict.examples {
                print::complain(example);
            }
            if global.output == Output::Json {
                print::say(&serde_json::to_string(&verdict)?);
            } else {
                print::say(&format!(
                    "acked {}, found {}: lost {}, duplicated {}, reordered {}, corrupt {}; {} found without an acknowledgement",
                    print::grouped(verdict.acked),
                    print::grouped(verdict.found),
                    verdict.lost,
                    verdict.duplicated,
                    verdict.reordered,
                    verdict.corrupt,
                    verdict.unacked_found
                ));
            }
            Ok(verdict.is_clean())
        }
        Command::RawServer(arguments) => runtime.block_on(async {
            let log = raw::RawLog::create(&arguments.folder, raw::FILE_BYTES)?;
            let listener = tokio::net::TcpListener::bind(arguments.listen).await?;
            raw::serve(listener, log).await?;
            Ok(true)
        }),
        Command::Bench(arguments) => bench::run(&arguments).map(|()| true),
    }
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
