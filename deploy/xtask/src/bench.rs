//! `cargo xtask bench`: the benchmarks of `collector-loadtest`, in an optimised build.

use crate::command::{cargo, passes};
use crate::suite::root;
use anyhow::Result;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// `hdfs`, `flume`, or a benchmark and its arguments as `collector-loadtest bench` takes them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    match options.arguments.split_first().map(|(name, rest)| (name.as_str(), rest)) {
        Some(("hdfs", rest)) => return crate::hdfs::bench::run(rest),
        Some(("flume", rest)) => return crate::flume::run(rest),
        _ => {}
    }
    // The node under load is the same program that users run.
    let built =
        passes(cargo().current_dir(root()).args(["build", "--release", "--workspace", "--bins"]))?;
    Ok(built
        && passes(
            cargo()
                .current_dir(root())
                .args([
                    "run",
                    "--quiet",
                    "--release",
                    "-p",
                    "loadtest",
                    "--bin",
                    "collector-loadtest",
                    "--",
                    "bench",
                ])
                .args(&options.arguments),
        )?)
}
