//! The suites that `cargo xtask test` runs, in order.

use std::path::PathBuf;

/// Something that is run and timed as one.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    /// Arguments of `cargo` in the normal run.
    pub(crate) cargo: &'static [&'static str],
    /// What `--full` adds to the environment.
    pub(crate) full: &'static [(&'static str, &'static str)],
    /// Only run when named: it takes longer than a normal run may.
    pub(crate) named: bool,
}

/// One optimised build (`--release`) serves the programs and every suite.
pub(crate) const SUITES: &[Suite] = &[
    Suite {
        name: "parts",
        cargo: &[
            "test",
            "--release",
            "--workspace",
            "--exclude",
            "deploy-acceptance",
            "--exclude",
            "server-sim",
            "--lib",
            "--bins",
            "--tests",
        ],
        full: &[("COLLECTOR_SEEDS", "20000"), ("COLLECTOR_MUTATIONS", "10000000")],
        named: false,
    },
    Suite {
        name: "sim",
        cargo: &["test", "--release", "-p", "server-sim"],
        full: &[("COLLECTOR_SEEDS", "100000")],
        named: false,
    },
    Suite {
        name: "docs",
        cargo: &["test", "--release", "--workspace", "--doc"],
        full: &[],
        named: false,
    },
    Suite {
        name: "acceptance",
        cargo: &[
            "test",
            "--release",
            "-p",
            "deploy-acceptance",
            "--",
            "--test-threads=1",
            "--skip",
            "hdfs::faults::",
            "--skip",
            "hdfs::kerberos::",
            "--skip",
            "hdfs::kill::",
            "--skip",
            "hdfs::send::",
            "--skip",
            "hdfs::zombies::",
        ],
        full: &[("COLLECTOR_FULL", "1")],
        named: false,
    },
    Suite {
        name: "hdfs",
        cargo: &[
            "test",
            "--release",
            "-p",
            "deploy-acceptance",
            "--",
            "--test-threads=1",
            "hdfs::",
        ],
        full: &[("COLLECTOR_FULL", "1")],
        named: true,
    },
];

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
