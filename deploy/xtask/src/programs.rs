//! The test programs of the workspace, built at once.
//!
//! `cargo test -p CRATE` would build the dependencies again, with the features that this crate alone asks
//! for. So the whole workspace is built together, and a suite runs what belongs to it.

use crate::command::{cargo, passes, say};
use crate::suite::root;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A test program.
pub(crate) struct Program {
    /// The crate it tests.
    pub(crate) package: String,
    target: String,
    executable: PathBuf,
    /// Where `cargo test` runs it.
    folder: PathBuf,
}

/// What `cargo` says of something it built.
#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Builds every program, test and example. `None` if something does not compile.
pub(crate) fn build() -> Result<Option<Vec<Program>>> {
    let mut programs = cargo();
    programs.current_dir(root()).args([
        "build",
        "--release",
        "--workspace",
        "--bins",
        "--examples",
    ]);
    if !passes(&mut programs)? {
        return Ok(None);
    }
    let mut command = cargo();
    command.args(["test", "--release", "--workspace", "--no-run", "--lib", "--bins", "--tests"]);
    say("\n$ cargo test --release --workspace --no-run");
    built(&mut command)
}

/// Builds what a command of cargo says; the tests that came out of it, `None` if it does not compile.
pub(crate) fn built(command: &mut Command) -> Result<Option<Vec<Program>>> {
    command
        .current_dir(root())
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn().context("run cargo")?;
    let messages = child.stdout.take().context("the output of cargo")?;
    let mut programs = Vec::new();
    for line in BufReader::new(messages).lines() {
        let line = line.context("read the output of cargo")?;
        let message: Message = serde_json::from_str(&line).context("understand cargo")?;
        programs.extend(program(message));
    }
    let built = child.wait().context("wait for cargo")?.success();
    programs.sort_by(|a, b| (&a.package, &a.target).cmp(&(&b.package, &b.target)));
    Ok(built.then_some(programs))
}

fn program(message: Message) -> Option<Program> {
    let target = message.target?;
    if message.reason != "compiler-artifact" || !message.profile?.test {
        return None;
    }
    let folder = message.manifest_path?.parent()?.to_owned();
    // A crate is named by its path.
    let below = folder.strip_prefix(root()).ok()?;
    let package = below.to_string_lossy().replace('/', "-");
    Some(Program { package, target: target.name, executable: message.executable?, folder })
}

impl Program {
    /// The program, to be run as `cargo test` does.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command.current_dir(&self.folder).env("CARGO_MANIFEST_DIR", &self.folder);
        command
    }

    /// Puts a copy into a folder, under the name of its crate.
    pub(crate) fn copy_into(&self, folder: &Path) -> Result<()> {
        let to = folder.join(&self.package);
        // One that runs cannot be written over, and need not be.
        drop(std::fs::remove_file(&to));
        std::fs::copy(&self.executable, &to)
            .with_context(|| format!("copy the tests of {}", self.package))?;
        Ok(())
    }

    /// Says that it runs now.
    pub(crate) fn announce(&self) {
        say(&format!("\n{}, {}", self.package, self.target));
    }
}
