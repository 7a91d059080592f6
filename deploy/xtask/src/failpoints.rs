//! `cargo xtask failpoints`: the build in which a process can be killed or paused at a named step, or have a deliberate bug
//! (`sdk/failpoints`).
//!
//! Only the workspace's own crates are built for it. They see `--cfg failpoints` through a compiler wrapper that cargo
//! uses for no others, and cargo keeps what such a wrapper made apart, so that both builds share one folder of
//! intermediate files. What comes out stands in a folder of its own: `failpoints/` in the build directory, with the
//! node, and with the tests that mutants are tried on.

use crate::command::{cargo, say};
use crate::programs;
use crate::suite::{root, target};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// Whose tests see mutants: the node in one thread, and the parts that have seeds of their own.
const TESTED: &[&str] = &["sdk-wal", "sdk-channel", "sdk-files", "server-sim"];

/// Of these crates the code is compiled for its own sake, and less of it optimised: compiling takes longer than running.
const OURS: &[&str] = &[
    "proto",
    "sdk-channel",
    "sdk-config",
    "sdk-edge",
    "sdk-event",
    "sdk-failpoints",
    "sdk-files",
    "sdk-flow",
    "sdk-producer",
    "sdk-seeds",
    "sdk-sinks",
    "sdk-sources",
    "sdk-tls",
    "sdk-wal",
    "server-cluster",
    "server-hdfs",
    "server-ingest",
    "server-node",
    "server-raft",
    "server-sim",
];

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only the node, without the tests that mutants are tried on
    #[arg(long)]
    node: bool,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    build(!options.node)
}

/// Makes the node, and with `tests` those too.
pub(crate) fn build(tests: bool) -> Result<bool> {
    let begun = Instant::now();
    let crates = || TESTED.iter().flat_map(|name| ["-p", name]);
    let mut node = cargo();
    // Selected with those of the tests, or some dependencies would be built again with fewer features.
    node.args(["build", "--release", "--bin", "collector-server", "-p", "server-node"])
        .args(crates());
    say("\n$ cargo build --release -p server-node, with fail points");
    let mut built = programs::built(ours(&mut node))?.is_some();
    if tests && built {
        let mut tests = cargo();
        tests.args(["test", "--release", "--no-run", "--test", "it"]).args(crates());
        say("\n$ cargo test --release --no-run, with fail points");
        let programs = programs::built(ours(&mut tests))?;
        built = programs.is_some();
        let into = folder().join("tests");
        std::fs::create_dir_all(&into).context("make a folder for tests")?;
        programs.iter().flatten().try_for_each(|program| program.copy_into(&into))?;
    }
    say(&format!("{} after {:.0?}", folder().display(), begun.elapsed()));
    Ok(built)
}

/// Where it is.
fn folder() -> PathBuf {
    target().join("failpoints")
}

/// Has cargo make this build.
fn ours(command: &mut Command) -> &mut Command {
    for name in OURS {
        for light in ["opt-level=1", "debug=false"] {
            command.args(["--config", &format!("profile.release.package.{name}.{light}")]);
        }
    }
    command
        .env("RUSTC_WORKSPACE_WRAPPER", root().join("deploy/xtask/src/failpoints/rustc.sh"))
        .env("CARGO_BUILD_BUILD_DIR", target())
        .env("CARGO_TARGET_DIR", folder())
}
