//! Hadoop's own readers, from Maven Central into a cache of the user's.

use crate::program::Finished;
use crate::skip::{need, skip};
use std::path::PathBuf;
use std::process::{Command, Stdio};

const POM: &str = include_str!("hadoop/pom.xml");
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";

/// Stands in a folder whose jars are all there.
const COMPLETE: &str = ".complete";

/// Hadoop's shell and the codecs that it finds on a class path, without its native library.
#[derive(Debug)]
pub struct Hadoop {
    java: PathBuf,
    jars: PathBuf,
}

impl Hadoop {
    /// Fetches what is missing, or says why the test is skipped.
    pub fn new() -> Option<Self> {
        let java = need("java", "apt-get install default-jre-headless")?;
        let jars = cache().join("hadoop-readers-3.5.0");
        if !jars.join(COMPLETE).exists() {
            let maven = need("mvn", "apt-get install maven")?;
            let scratch = tempfile::tempdir().expect("a folder");
            let pom = scratch.path().join("pom.xml");
            std::fs::write(&pom, POM).expect("write the list of jars");
            let output = Command::new(maven)
                .args(["-B", "-q", "-DincludeScope=runtime", COPY, "-f"])
                .arg(&pom)
                .arg(format!("-DoutputDirectory={}", jars.display()))
                .stdin(Stdio::null())
                .output()
                .expect("run Maven");
            if !output.status.success() {
                skip("Maven could not fetch Hadoop's jars from Maven Central");
                return None;
            }
            // It wants a configuration, be it empty.
            let empty = "<configuration/>";
            std::fs::write(jars.join("core-site.xml"), empty).expect("write a configuration");
            std::fs::write(jars.join(COMPLETE), b"").expect("mark the jars as complete");
        }
        Some(Self { java, jars })
    }

    /// `hadoop fs -text` of files on the local disk.
    pub fn text(&self, files: &[PathBuf]) -> Finished {
        let urls = files.iter().map(|file| format!("file://{}", file.display()));
        let output = Command::new(&self.java)
            .args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
            .arg(format!("{0}:{0}/*", self.jars.display()))
            .args(["org.apache.hadoop.fs.FsShell", "-text"])
            .args(urls)
            .stdin(Stdio::null())
            .output()
            .expect("run java");
        Finished {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

fn cache() -> PathBuf {
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from);
    named("COLLECTOR_CACHE_DIR").unwrap_or_else(|| {
        let home = || named("HOME").unwrap_or_default().join(".cache");
        named("XDG_CACHE_HOME").unwrap_or_else(home).join("collector")
    })
}
