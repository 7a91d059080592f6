//! `cargo xtask test`: every suite that is not to be named, on a machine that has only Rust and a C compiler.

use crate::command::say;
use crate::failpoints;
use crate::programs::{self, Program};
use crate::suite::{SUITES, Suite, target};
use crate::tool;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::time::Instant;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Install what is missing (Debian's packages, Go modules); implied by CI=true
    #[arg(long)]
    install: bool,
    /// Run the long versions, of one suite or of all
    #[arg(long, value_name = "SUITE", num_args = 0..=1, default_missing_value = "all")]
    full: Option<String>,
    /// The first seed of the long versions, to go on where a run before ended
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    from_seed: u64,
    /// How many seeds or rounds the long versions run, instead of their own number
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// Run only this suite, or only the tests whose name contains this
    #[arg(value_name = "SUITE|NAME")]
    only: Option<String>,
}

struct Ran {
    name: &'static str,
    minutes: f64,
    passed: bool,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    if options.install || ci {
        tool::install()?;
    }
    for tool in tool::TOOLS.iter().filter(|tool| !tool.is_there(&tool::folder())) {
        say(&format!(
            "without {}: {} is not tested; {}, or --install",
            tool.program,
            tool.purpose,
            tool.remedy()
        ));
    }
    let skips = target().join("skipped-tests");
    std::fs::create_dir_all(target()).context("create the build directory")?;
    if skips.exists() {
        std::fs::remove_file(&skips).context("remove the list of skipped tests")?;
    }
    let begun = Instant::now();
    let suites = chosen(options)?;
    let programs = programs::build()?;
    let mut ran = vec![Ran { name: "build", minutes: minutes(begun), passed: programs.is_some() }];
    if let Some(programs) = programs {
        for suite in suites {
            let begun = Instant::now();
            let ready = !suite.failpoints || failpoints::build(true)?;
            let passed = ready && one(suite, &programs, options, &skips)?;
            ran.push(Ran { name: suite.name, minutes: minutes(begun), passed });
        }
    }
    Ok(report(&ran, &skips, begun, ci))
}

fn chosen(options: &Options) -> Result<Vec<&'static Suite>> {
    let by_name = |name: &str| SUITES.iter().filter(|suite| suite.name == name).collect::<Vec<_>>();
    if let Some(name) = options.full.as_deref().filter(|name| *name != "all") {
        let suites = by_name(name);
        if suites.is_empty() {
            let names: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
            bail!("no suite is called {name}; there are: {}", names.join(", "));
        }
        return Ok(suites);
    }
    let suites = options.only.as_deref().map(by_name).unwrap_or_default();
    let normal = |suite: &&Suite| !suite.named || options.full.is_some();
    // The build with fail points is not made for the sake of one test of another suite.
    let wanted = |suite: &&Suite| !suite.failpoints || options.only.is_none();
    Ok(match suites.is_empty() {
        true => SUITES.iter().filter(normal).filter(wanted).collect(),
        false => suites,
    })
}

fn one(suite: &Suite, programs: &[Program], options: &Options, skips: &Path) -> Result<bool> {
    let only = options.only.as_deref().filter(|only| *only != suite.name);
    suite.run(programs, only, |command| {
        command.env("COLLECTOR_SKIPS", skips).env("COLLECTOR_TOOLS", tool::folder());
        if options.full.is_some() {
            command.envs(suite.full.iter().copied());
            command.env("COLLECTOR_FROM_SEED", options.from_seed.to_string());
            if let Some(seeds) = options.seeds {
                command.env("COLLECTOR_SEEDS", seeds.to_string());
            }
        }
    })
}

fn report(ran: &[Ran], skips: &Path, begun: Instant, ci: bool) -> bool {
    say("\nsuite          minutes");
    for suite in ran {
        let verdict = if suite.passed { "" } else { "  FAILED" };
        say(&format!("{:<14} {:>7.1}{verdict}", suite.name, suite.minutes));
    }
    say(&format!("{:<14} {:>7.1}", "all", minutes(begun)));
    let skipped = std::fs::read_to_string(skips).unwrap_or_default();
    for line in skipped.lines() {
        say(&format!("skipped: {line}"));
    }
    let failed = ran.iter().filter(|suite| !suite.passed).count();
    let skipped = skipped.lines().count();
    if skipped > 0 && ci {
        say("CI=true: a skipped test is a failure");
    }
    say(&format!(
        "suites: {} passed, {failed} failed, {skipped} tests skipped",
        ran.len() - failed
    ));
    failed == 0 && (skipped == 0 || !ci)
}

fn minutes(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() / 60.0
}
