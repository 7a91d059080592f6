//! Jars from Maven Central, in a cache of the user's.

use crate::command::{exists, say};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::{Command, Stdio};

const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";

/// Stands in a folder whose jars are all there.
const COMPLETE: &str = ".complete";

/// What a program in Java is made of.
pub(crate) struct Jars {
    /// Whose they are, as people call it.
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// The property of the list that is the version.
    pub(crate) property: &'static str,
    /// The list, as Maven reads it.
    pub(crate) pom: &'static str,
}

impl Jars {
    /// Where they are, or will be.
    fn folder(&self) -> PathBuf {
        let cache =
            std::env::var_os("COLLECTOR_CACHE_DIR").map(PathBuf::from).unwrap_or_else(|| {
                let home =
                    || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
                std::env::var_os("XDG_CACHE_HOME")
                    .map_or_else(home, PathBuf::from)
                    .join("collector")
            });
        cache.join(format!("{}-{}", self.name.to_lowercase(), self.version))
    }

    /// Whether nothing has to be fetched.
    pub(crate) fn are_there(&self) -> bool {
        self.folder().join(COMPLETE).exists()
    }

    /// The folder with all of them, fetched if need be.
    pub(crate) fn fetch(&self) -> Result<PathBuf> {
        let folder = self.folder();
        if self.are_there() {
            return Ok(folder);
        }
        let (name, version) = (self.name, self.version);
        if !exists("mvn") {
            bail!("Maven is not installed, and it gets {name}'s jars: apt-get install maven");
        }
        say(&format!("fetching the jars of {name} {version} from Maven Central, once"));
        let scratch = folder.with_extension(format!("{}.new", std::process::id()));
        std::fs::create_dir_all(&scratch).context("make a folder for the jars")?;
        let pom = scratch.join("pom.xml");
        std::fs::write(&pom, self.pom).context("write the list of jars")?;
        let output = Command::new("mvn")
            .args(["-B", "-q", "-f"])
            .arg(&pom)
            .arg(format!("-D{}={version}", self.property))
            .arg(format!("-DoutputDirectory={}", scratch.display()))
            .args(["-DincludeScope=runtime", COPY])
            .stdin(Stdio::null())
            .output()
            .context("run Maven")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let errors: Vec<&str> = said.lines().filter(|line| line.contains("ERROR")).collect();
            let errors = errors[..errors.len().min(3)].join("\n");
            let _ = std::fs::remove_dir_all(&scratch);
            bail!("Maven could not fetch the jars of {name} {version}:\n{errors}");
        }
        std::fs::write(scratch.join(COMPLETE), "").context("mark the jars as complete")?;
        match std::fs::rename(&scratch, &folder) {
            Ok(()) => Ok(folder),
            // Somebody else was faster, which is as good.
            Err(_) if self.are_there() => {
                let _ = std::fs::remove_dir_all(&scratch);
                Ok(folder)
            }
            Err(error) => Err(error).context("put the jars into the cache"),
        }
    }
}
