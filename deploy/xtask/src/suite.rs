//! The suites that `cargo xtask test` runs, in order.

use crate::command::{cargo, passes};
use crate::programs::Program;
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;

/// Something that is run and timed as one.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    tests: Tests,
    /// What `--full` adds to the environment.
    pub(crate) full: &'static [(&'static str, &'static str)],
    /// Only run when named: it takes longer than a normal run may.
    pub(crate) named: bool,
    /// It needs the build with fail points too.
    pub(crate) failpoints: bool,
}

/// Which tests a suite has.
enum Tests {
    /// Those of all crates but these.
    AllBut(&'static [&'static str]),
    /// Those of one crate, with arguments for its programs.
    Of(&'static str, &'static [&'static str]),
    /// The examples in the documentation.
    Documentation,
}

const LONG: &[(&str, &str)] = &[("COLLECTOR_FULL", "1")];

/// One optimised build (`--release`) serves the programs and every suite.
pub(crate) const SUITES: &[Suite] = &[
    Suite {
        name: "parts",
        tests: Tests::AllBut(&["deploy-acceptance", "server-sim"]),
        full: &[("COLLECTOR_FULL", "1"), ("COLLECTOR_MUTATIONS", "10000000")],
        named: false,
        failpoints: false,
    },
    Suite {
        name: "sim",
        tests: Tests::Of("server-sim", &["--nocapture"]),
        full: LONG,
        named: false,
        failpoints: false,
    },
    Suite { name: "docs", tests: Tests::Documentation, full: &[], named: false, failpoints: false },
    Suite {
        name: "acceptance",
        tests: Tests::Of(
            "deploy-acceptance",
            &[
                "--test-threads=1",
                "--skip=hdfs::buckets::",
                "--skip=hdfs::faults::",
                "--skip=mutants::",
                "--skip=named_steps::",
            ],
        ),
        full: LONG,
        named: false,
        failpoints: false,
    },
    Suite {
        name: "failpoints",
        tests: Tests::Of(
            "deploy-acceptance",
            &["--test-threads=1", "--nocapture", "mutants::", "named_steps::"],
        ),
        full: LONG,
        named: false,
        failpoints: true,
    },
    Suite {
        name: "hdfs",
        tests: Tests::Of("deploy-acceptance", &["--test-threads=1", "hdfs::"]),
        full: LONG,
        named: true,
        failpoints: true,
    },
];

impl Suite {
    /// Runs it, or of it what has `only` in its name. True if all passed.
    pub(crate) fn run(
        &self,
        programs: &[Program],
        only: Option<&str>,
        prepare: impl Fn(&mut Command),
    ) -> Result<bool> {
        let (mine, arguments): (Vec<&Program>, &[&str]) = match &self.tests {
            Tests::AllBut(others) => {
                let mine = programs.iter().filter(|it| !others.contains(&it.package.as_str()));
                (mine.collect(), &[])
            }
            Tests::Of(package, arguments) => {
                (programs.iter().filter(|it| it.package == *package).collect(), arguments)
            }
            Tests::Documentation => {
                let mut command = cargo();
                command.current_dir(root()).args(["test", "--release", "--workspace", "--doc"]);
                if let Some(only) = only {
                    command.args(["--", only]);
                }
                prepare(&mut command);
                return passes(&mut command);
            }
        };
        let mut all = true;
        for program in mine {
            let mut command = program.command();
            command.args(arguments).args(only);
            prepare(&mut command);
            program.announce();
            all &= passes(&mut command)?;
        }
        Ok(all)
    }
}

/// The build directory.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The repository.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .map(PathBuf::from)
        .unwrap_or_default()
}
