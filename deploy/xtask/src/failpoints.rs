//! `cargo xtask failpoints`: the build in which a process can be killed at a named step and can have a deliberate bug
//! (`sdk/failpoints`).
//!
//! Only the workspace's own crates are built for it. They see `--cfg failpoints` through a compiler wrapper that cargo
//! uses for no others, and cargo keeps what such a wrapper made apart, so that both builds share one folder of
//! intermediate files. What comes out stands in a folder of its own: `failpoints/` in the build directory, with the
//! node, and with the tests that mutants are tried on.

use crate::command::{cargo, say};
use crate::suite::{root, target};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
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
    // As the tests select their crates, or the node's dependencies would be built again with fewer features.
    let mut words: Vec<&str> = vec!["build", "--release", "--bin", "collector-server"];
    words.extend(["-p", "server-node"]);
    words.extend(TESTED.iter().flat_map(|name| ["-p", name]));
    let mut built = made(&words)?.is_some();
    if tests && built {
        let mut words = vec!["test", "--release", "--no-run", "--test", "it"];
        words.extend(TESTED.iter().flat_map(|name| ["-p", name]));
        match made(&words)? {
            Some(messages) => place(&messages)?,
            None => built = false,
        }
    }
    say(&format!("{} after {:.0?}", folder().display(), begun.elapsed()));
    Ok(built)
}

/// Where it is.
fn folder() -> PathBuf {
    target().join("failpoints")
}

/// Runs cargo for this build; what it says of what it made, or nothing if it failed.
fn made(words: &[&str]) -> Result<Option<String>> {
    let mut command = cargo();
    command.current_dir(root()).args(words).arg("--message-format=json-render-diagnostics");
    for name in OURS {
        for light in ["opt-level=1", "debug=false"] {
            command.args(["--config", &format!("profile.release.package.{name}.{light}")]);
        }
    }
    let wrapper = root().join("deploy/xtask/src/failpoints/rustc.sh");
    let output = with(&mut command, &wrapper)
        .stderr(Stdio::inherit())
        .stdin(Stdio::null())
        .output()
        .context("run cargo")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(output.status.success().then_some(said))
}

fn with<'a>(command: &'a mut Command, wrapper: &Path) -> &'a mut Command {
    command
        .env("RUSTC_WORKSPACE_WRAPPER", wrapper)
        .env("CARGO_BUILD_BUILD_DIR", target())
        .env("CARGO_TARGET_DIR", folder())
}

/// Puts each crate's tests where other tests find them: `failpoints/tests/CRATE`.
fn place(messages: &str) -> Result<()> {
    let tests = folder().join("tests");
    std::fs::create_dir_all(&tests).context("make a folder for tests")?;
    for message in messages.lines() {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(message) else { continue };
        let Some(made) = message["executable"].as_str() else { continue };
        let manifest = message["manifest_path"].as_str().unwrap_or_default();
        let folder =
            Path::new(manifest).parent().and_then(|folder| folder.strip_prefix(root()).ok());
        let Some(folder) = folder else { continue };
        let name = folder.to_string_lossy().replace('/', "-");
        let to = tests.join(&name);
        drop(std::fs::remove_file(&to));
        std::fs::copy(made, &to).with_context(|| format!("copy the tests of {name}"))?;
    }
    Ok(())
}
