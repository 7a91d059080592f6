//! Snapshot files: the applied state with everything that must change together with it.
//!
//! A file is written aside, fsynced, renamed, and its directory fsynced. The newest two are kept: if
//! the newest cannot be read, the one before and a longer log are as good.

mod file;

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sdk_wal::{Storage, read_exact_at, write_all_at};
use server_cluster::codec::DecodeError;
use tracing::warn;

pub(crate) use self::file::SnapshotFile;
use crate::error::OpenError;

/// How many are kept.
const KEPT: usize = 2;
const ASIDE: &str = "snapshot.new";
const PREFIX: &str = "snapshot-";
/// Bytes in one write.
const WRITE_BYTES: usize = 1 << 20;

/// The directory of the snapshot files.
#[derive(Clone)]
pub(crate) struct Snapshots {
    dir: PathBuf,
    storage: Arc<dyn Storage>,
}

/// What is there at the start.
pub(crate) struct Found {
    /// The newest snapshot that can be read.
    pub(crate) newest: SnapshotFile,
    /// The offset from which on the log is to be kept.
    pub(crate) log_from: u64,
}

impl Snapshots {
    pub(crate) fn new(dir: &Path, storage: Arc<dyn Storage>) -> Snapshots {
        Snapshots { dir: dir.join("snapshots"), storage }
    }

    /// Reads the newest snapshot; `None` if there was never one.
    pub(crate) fn load(&self) -> Result<Option<Found>, OpenError> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { action, path, source }
        };
        self.storage.create_dir_all(&self.dir).map_err(failed("make", &self.dir))?;
        let names = self.names().map_err(failed("list", &self.dir))?;
        let mut readable: Vec<SnapshotFile> = Vec::new();
        for (_, name) in &names {
            let path = self.dir.join(name);
            let bytes = self.read(&path).map_err(failed("read", &path))?;
            match SnapshotFile::decode(&bytes) {
                Ok(file) => readable.push(file),
                Err(source @ DecodeError::Newer { .. }) => {
                    return Err(OpenError::Format { path, source });
                }
                Err(error) => warn!(%error, path = %path.display(), "snapshot cannot be read"),
            }
        }
        let log_from = readable.iter().map(|file| file.log_from).min().unwrap_or(0);
        match readable.into_iter().next() {
            Some(newest) => Ok(Some(Found { newest, log_from })),
            None if names.is_empty() => Ok(None),
            None => Err(OpenError::Damaged {
                dir: self.dir.clone(),
                reason: "no snapshot can be read".to_owned(),
            }),
        }
    }

    /// Writes a snapshot; durable when it returns. Then all but the newest two are removed.
    pub(crate) fn write(&self, file: &SnapshotFile) -> io::Result<()> {
        sdk_failpoints::before!(Snapshot);
        let aside = self.dir.join(ASIDE);
        match self.storage.remove(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => (),
        }
        let bytes = file.encode();
        let written = self.storage.create(&aside)?;
        for (at, chunk) in (0u64..).zip(bytes.chunks(WRITE_BYTES)) {
            write_all_at(&*written, &mut [IoSlice::new(chunk)], at * WRITE_BYTES as u64)?;
        }
        written.sync_all()?;
        drop(written);
        self.storage.rename(&aside, &self.dir.join(name(file.place.index)))?;
        self.storage.sync_dir(&self.dir)?;
        sdk_failpoints::after!(Snapshot);
        for (_, old) in self.names()?.into_iter().skip(KEPT) {
            if let Err(error) = self.storage.remove(&self.dir.join(&old)) {
                warn!(%error, old, "old snapshot cannot be removed");
            }
        }
        Ok(())
    }

    /// Indexes and names of the files, the newest first.
    fn names(&self) -> io::Result<Vec<(u64, String)>> {
        let files = self.storage.list(&self.dir)?.into_iter();
        let mut names: Vec<(u64, String)> = files
            .filter_map(|file| Some((file.name.strip_prefix(PREFIX)?.parse().ok()?, file.name)))
            .collect();
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(names)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.storage.open(path, true)?;
        let length = usize::try_from(file.length()?).map_err(io::Error::other)?;
        read_exact_at(&*file, length, 0)
    }
}

fn name(index: u64) -> String {
    format!("{PREFIX}{index:020}")
}
