//! `taildir` on real directories.

mod files;
mod lines;
mod log;
mod random;
mod resume;
mod rotation;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sdk_config::{DurationText, TaildirSource};
use sdk_flow::{Source as _, Stopped, SystemClock, Tasks};
use sdk_sources::{Taildir, TaildirStats};
use tempfile::TempDir;

use crate::spool::Spool;

/// A directory, a `taildir` over it, and where that puts.
pub(crate) struct Tailing {
    directory: TempDir,
    pub(crate) spool: Arc<Spool>,
    pub(crate) spec: TaildirSource,
    pub(crate) open_files_max: usize,
    running: Mutex<Option<(Tasks, Arc<TaildirStats>)>>,
}

impl Tailing {
    /// Over files that `glob`, relative to the directory, means.
    pub(crate) fn over(glob: &str) -> Tailing {
        let directory = tempfile::tempdir().unwrap();
        let pattern = directory.path().join(glob).to_str().unwrap().to_owned();
        let spec = TaildirSource {
            filegroups: BTreeMap::from([("g".to_owned(), pattern)]),
            idle_timeout: DurationText::ZERO,
            ..TaildirSource::default()
        };
        Tailing {
            directory,
            spool: Spool::new(),
            spec,
            open_files_max: Taildir::OPEN_FILES_MAX,
            running: Mutex::default(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        append(&self.path(name), text.as_ref());
    }

    pub(crate) fn rename(&self, from: &str, to: &str) {
        // The seam is for the product: a test plays the other programs.
        #[expect(clippy::disallowed_methods, reason = "the test is the writer of these files")]
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        #[expect(clippy::disallowed_methods, reason = "the test is the writer of these files")]
        fs::remove_file(self.path(name)).unwrap();
    }

    pub(crate) fn truncate(&self, name: &str) {
        OpenOptions::new().write(true).truncate(true).open(self.path(name)).unwrap();
    }

    /// Starts the source where the spool says.
    pub(crate) fn start(&self) {
        let clock = Arc::new(SystemClock::new());
        let source = Taildir::build(&self.spec, self.spool.start(), clock).unwrap();
        let source = source.without_hints().with_open_files_max(self.open_files_max);
        self.run(source);
    }

    pub(crate) fn run(&self, source: Taildir) {
        let stats = source.stats();
        let tasks = Tasks::new();
        let intake = self.spool.clone();
        tasks.start("source", |stop| Box::new(source).run(intake, stop));
        *self.running.lock().unwrap() = Some((tasks, stats));
    }

    pub(crate) fn stats(&self) -> Arc<TaildirStats> {
        self.running.lock().unwrap().as_ref().unwrap().1.clone()
    }

    /// Ends it in order.
    pub(crate) async fn stop(&self) {
        let stopped = self.end(Duration::from_secs(60)).await;
        assert!(stopped.aborted.is_empty() && stopped.first_error.is_none(), "{stopped:?}");
    }

    /// Ends it as `kill -9` does.
    pub(crate) async fn kill(&self) {
        self.end(Duration::ZERO).await;
    }

    async fn end(&self, grace: Duration) -> Stopped {
        let (tasks, _) = self.running.lock().unwrap().take().unwrap();
        tasks.stop(grace).await
    }

    /// Long enough for several looks at everything.
    pub(crate) async fn look_around(&self) {
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

pub(crate) fn append(path: &Path, text: &[u8]) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text).unwrap();
}
