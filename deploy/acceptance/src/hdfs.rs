//! A real HDFS under test: `cargo xtask hdfs`, one cluster for all tests that do not break it for good.

use crate::program::{Finished, program};
use crate::skip::skip;
use crate::tree::Tree;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// A cluster of this machine. It ends with this process.
#[derive(Debug)]
pub struct Hdfs {
    folder: PathBuf,
    environment: Vec<(String, String)>,
    url: String,
}

impl Hdfs {
    /// The plain cluster that tests share, up; `None` after having said that the test is skipped.
    pub fn shared() -> Option<&'static Hdfs> {
        static SHARED: OnceLock<Option<Hdfs>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| Hdfs::up(&[])).as_ref();
        if shared.is_none() {
            skip(
                "there is no HDFS: cargo xtask hdfs check says why, or cargo xtask test --install",
            );
        }
        shared
    }

    /// A cluster of the test's own; `None` after having said that the test is skipped.
    pub fn own(arguments: &[&str]) -> Option<Hdfs> {
        let own = Hdfs::up(arguments);
        if own.is_none() {
            skip(
                "there is no HDFS: cargo xtask hdfs check says why, or cargo xtask test --install",
            );
        }
        own
    }

    fn up(arguments: &[&str]) -> Option<Hdfs> {
        let check = Command::new(program("deploy-xtask")).args(["hdfs", "check"]).output();
        if !check.expect("run xtask").status.success() {
            return None;
        }
        let folder =
            tempfile::Builder::new().prefix("collector-hdfs-").tempdir().expect("a folder");
        // It goes with the cluster, which may outlive this value.
        let folder = folder.keep();
        let mut hdfs = Hdfs { folder, environment: Vec::new(), url: String::new() };
        let own = std::process::id().to_string();
        let mut words = vec!["up", "--port", "0", "--until-exit-of", &own];
        words.extend_from_slice(arguments);
        hdfs.xtask(&words);
        hdfs.url = hdfs.xtask(&["url"]).trim().to_owned();
        let said = hdfs.xtask(&["env"]);
        let lines = said.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        let pairs =
            lines.map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()));
        hdfs.environment = pairs.collect();
        Some(hdfs)
    }

    /// `hdfs://…` without a path.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What a client needs in its environment.
    pub fn environment(&self) -> Vec<(String, String)> {
        self.environment.clone()
    }

    /// One variable of it.
    ///
    /// # Panics
    ///
    /// If this kind of cluster has none.
    pub fn variable(&self, name: &str) -> &str {
        let found = self.environment.iter().find(|(known, _)| known == name);
        found.map_or_else(|| panic!("no {name}"), |(_, value)| value)
    }

    /// `cargo xtask hdfs …` on this cluster; its standard output.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn xtask(&self, arguments: &[&str]) -> String {
        self.try_xtask(arguments).expect(0).stdout
    }

    /// The same, whatever comes of it.
    ///
    /// # Panics
    ///
    /// If it cannot be run.
    pub fn try_xtask(&self, arguments: &[&str]) -> Finished {
        let output = Command::new(program("deploy-xtask"))
            .args(["hdfs", "--dir"])
            .arg(&self.folder)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("run xtask");
        Finished {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Hadoop's own `fs` shell.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn fs(&self, arguments: &[&str]) -> String {
        let mut words = vec!["fs"];
        words.extend_from_slice(arguments);
        self.xtask(&words)
    }

    /// What a job would read below a directory, by Hadoop's own client into a local folder. (In
    /// staging a file may be open, which that client does not read.)
    ///
    /// # Panics
    ///
    /// If it cannot be read.
    pub fn download(&self, path: &str) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let local = folder.path().join("files");
        std::fs::create_dir(&local).expect("a folder");
        self.fs(&["-get", &format!("{path}/[^._]*"), &local.display().to_string()]);
        (folder, local)
    }

    /// The final files below a directory, read by Hadoop's own client.
    pub fn tree(&self, path: &str) -> Tree {
        let (_folder, local) = self.download(path);
        Tree::read(&local)
    }
}

impl Drop for Hdfs {
    fn drop(&mut self) {
        // That of a cluster of a test's own; the shared one ends with this process.
        drop(self.try_xtask(&["wipe"]));
    }
}
