//! `cargo xtask`: the few recipes a developer and CI run alike.

mod bench;
mod command;
mod failpoints;
mod flume;
mod hdfs;
mod jars;
mod java;
mod lint;
mod loopback;
mod programs;
mod suite;
mod test;
mod tool;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The recipes of this repository")]
struct Arguments {
    #[command(subcommand)]
    recipe: Recipe,
}

#[derive(Subcommand)]
enum Recipe {
    /// Runs every test, prints the minutes of each suite, and says what was skipped and why
    Test(test::Options),
    /// Formatting, Clippy with warnings as errors, and the dependency check
    Lint(lint::Options),
    /// Prints the tables of the benchmarks, each with its raw loop beside it in the same run
    Bench(bench::Options),
    /// Makes the build in which a process can be killed at a named step, or have a deliberate bug
    Failpoints(failpoints::Options),
    /// A real HDFS on this machine, from Maven Central
    Hdfs(hdfs::Options),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { 64 } else { 0 };
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    let outcome = match arguments.recipe {
        Recipe::Test(options) => test::run(&options),
        Recipe::Lint(options) => lint::run(&options),
        Recipe::Bench(options) => bench::run(&options),
        Recipe::Failpoints(options) => failpoints::run(&options),
        Recipe::Hdfs(options) => hdfs::run(&options),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            command::say(&format!("error: {error:#}"));
            ExitCode::from(1)
        }
    }
}
