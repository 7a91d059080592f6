//! `collector-server`.
//!
//! Exit codes: 0 done and well; 1 the answer is bad; 64 usage; 70 the log is dead; 75 the data
//! directory is locked.

use clap::Parser;
use sdk_flow::code;
use server_node::arguments::{Arguments, Command, LogFormat, Logging};
use server_node::{DemoOutcome, check, demo, run, settings};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let usage = if error.use_stderr() { code::USAGE } else { code::OK };
            // Whoever closed our output does not want to read it.
            drop(error.print());
            return ExitCode::from(usage);
        }
    };
    let quiet_demo = matches!(arguments.command, Some(Command::Demo(_)));
    log_to_stderr(&arguments.logging, quiet_demo);
    #[cfg(failpoints)]
    if let Err(mistake) = sdk_failpoints::check() {
        complain(&anyhow::Error::msg(mistake));
        return ExitCode::from(code::USAGE);
    }
    ExitCode::from(match arguments.command {
        Some(Command::Config) => {
            say(sdk_config::annotated_defaults());
            code::OK
        }
        Some(Command::Check(arguments)) => match check(&arguments) {
            Ok((valid, said)) => {
                say(&said);
                if valid { code::OK } else { code::BAD }
            }
            Err(error) => complain(&error),
        },
        Some(Command::Demo(arguments)) => match in_runtime(demo(arguments)) {
            Ok(Ok(DemoOutcome { balanced, audit })) => {
                say(&format!("{audit}\n"));
                if balanced { code::OK } else { code::BAD }
            }
            Ok(Err(error)) | Err(error) => complain(&error),
        },
        None => match settings(&arguments.node).map(|config| in_runtime(run(config))) {
            Ok(Ok(Ok(()))) => code::OK,
            Ok(Ok(Err(error))) => {
                let code = error.exit_code();
                complain(&error.into());
                code
            }
            Ok(Err(error)) | Err(error) => complain(&error),
        },
    })
}

fn in_runtime<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    // What still reads a disk in the background has nothing to finish: the log is closed.
    runtime.shutdown_background();
    Ok(result)
}

fn say(text: &str) {
    // A closed pipe (`| head`) is no error of ours.
    drop(std::io::stdout().write_all(text.as_bytes()));
}

fn complain(error: &anyhow::Error) -> u8 {
    drop(writeln!(std::io::stderr(), "{error:#}"));
    code::BAD
}

fn log_to_stderr(logging: &Logging, quiet: bool) {
    // The demo shows figures on stderr; the node inside it only what somebody should see.
    let level = if quiet && logging.log_level == "info" { "warn" } else { &logging.log_level };
    // The client below HDFS tells of each try; `server_hdfs` tells of an outage, once.
    let quiet = if level.contains("hdfs_native") { "" } else { ",hdfs_native=off" };
    let filter = tracing_subscriber::EnvFilter::new(format!("{level}{quiet}"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match logging.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}
