//! What some tests need beside a Rust toolchain and a C compiler, and how to get it.

use crate::command::{exists, passes, say};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program that a test drives.
pub(crate) struct Tool {
    pub(crate) program: &'static str,
    source: Source,
    /// What is not tested without it.
    pub(crate) purpose: &'static str,
}

enum Source {
    /// A package of Debian.
    Debian(&'static str),
    /// A Go module, where Go is installed.
    Go(&'static str),
}

/// Every tool a test may need.
pub(crate) const TOOLS: &[Tool] = &[
    Tool {
        program: "nginx",
        source: Source::Debian("nginx-light"),
        purpose: "the agent on a real access log",
    },
    Tool {
        program: "logrotate",
        source: Source::Debian("logrotate"),
        purpose: "the agent while its log is rotated",
    },
    Tool {
        program: "chromium",
        source: Source::Debian("chromium"),
        purpose: "the status page in a browser",
    },
    Tool {
        program: "promtool",
        source: Source::Debian("prometheus"),
        purpose: "the format of /metrics",
    },
    Tool {
        program: "mkfs.ext4",
        source: Source::Debian("e2fsprogs"),
        purpose: "full disks and read-only directories",
    },
    Tool {
        program: "zstd",
        source: Source::Debian("zstd"),
        purpose: "compressed files in a stock reader",
    },
    Tool { program: "java", source: Source::Debian("default-jre-headless"), purpose: "HDFS" },
    Tool {
        program: "mvn",
        source: Source::Debian("maven"),
        purpose: "HDFS, whose jars Maven gets",
    },
    Tool { program: "krb5kdc", source: Source::Debian("krb5-kdc"), purpose: "HDFS with Kerberos" },
    Tool {
        program: "kadmin.local",
        source: Source::Debian("krb5-admin-server"),
        purpose: "HDFS with Kerberos",
    },
    Tool { program: "kinit", source: Source::Debian("krb5-user"), purpose: "HDFS with Kerberos" },
    Tool {
        program: "grpcurl",
        source: Source::Go("github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3"),
        purpose: "reflection and Send from a stock client",
    },
];

impl Tool {
    /// What a user runs to get it.
    pub(crate) fn remedy(&self) -> String {
        match self.source {
            Source::Debian(package) => format!("apt-get install {package}"),
            Source::Go(module) => format!("go install {module}"),
        }
    }

    pub(crate) fn is_there(&self, tools: &Path) -> bool {
        exists(self.program) || tools.join(self.program).is_file()
    }
}

/// Where tools that are no packages go: below the build directory.
pub(crate) fn folder() -> PathBuf {
    crate::suite::target().join("tools")
}

/// Installs what is missing. Fails only if nothing can install it.
pub(crate) fn install() -> Result<()> {
    let tools = folder();
    let missing: Vec<&Tool> = TOOLS.iter().filter(|tool| !tool.is_there(&tools)).collect();
    let packages: Vec<&str> = missing
        .iter()
        .filter_map(|tool| match tool.source {
            Source::Debian(package) => Some(package),
            Source::Go(_) => None,
        })
        .collect();
    if !packages.is_empty() {
        debian(&packages)?;
    }
    for tool in missing {
        let Source::Go(module) = tool.source else { continue };
        if !exists("go") {
            debian(&["golang-go"])?;
        }
        let built = passes(Command::new("go").arg("install").arg(module).env("GOBIN", &tools))?;
        if !built {
            say(&format!("could not build {}: {}", tool.program, tool.remedy()));
        }
    }
    crate::hdfs::fetch_jars()
}

fn debian(packages: &[&str]) -> Result<()> {
    if !exists("apt-get") {
        bail!("--install knows Debian's packages only; install by hand: {}", packages.join(" "));
    }
    // Installing a package must not start a service on this machine.
    let apt = |arguments: &[&str]| {
        let root = is_root();
        let mut command = Command::new(if root { "apt-get" } else { "sudo" });
        if !root {
            command.arg("apt-get");
        }
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
        passes(&mut command)
    };
    apt(&["update", "-qq"])?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend_from_slice(packages);
    if !apt(&arguments)? {
        bail!("apt-get could not install {}", packages.join(" "));
    }
    Ok(())
}

fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status
            .lines()
            .find_map(|line| line.strip_prefix("Uid:"))
            .and_then(|ids| ids.split_whitespace().nth(1).map(|id| id == "0"))
            .unwrap_or(false)
    })
}
