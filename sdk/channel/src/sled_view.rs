//! The view on disk: sled, which is never asked what was acknowledged.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use sdk_wal::{KeyValue, MemoryView, View, ViewError};

/// Memory that sled may use for pages.
const CACHE_BYTES: u64 = 32 << 20;

/// How often sled writes what it has. Its garbage collection runs with that too,
/// so it is never off.
const FLUSH_EVERY_MS: u64 = 500;

/// Longer values would go to files of their own, which sled never gives back.
const VALUE_BYTES_MAX: usize = 4096;

/// The directory inside the one given, so that nothing else is ever removed.
const DATABASE: &str = "sled";

/// A [`View`] in a directory.
///
/// sled 0.34 calls no fsync and can open with silent losses, so the view is
/// emptied whenever it is opened, whatever the directory holds: an earlier
/// view, another node's, noise, or nothing. Every answer is checked by whoever
/// asks. A panic inside sled is an error of the call.
pub struct SledView {
    database: sled::Db,
    trees: RwLock<HashMap<String, sled::Tree>>,
    dir: PathBuf,
}

/// Why there is no view.
#[derive(Debug, thiserror::Error)]
pub enum SledViewError {
    /// What stands where the view should be can be neither removed nor moved away.
    #[error("cannot make room for the view at {}", path.display())]
    Room {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// sled does not open even an empty directory.
    #[error("cannot open the view at {}", path.display())]
    Open {
        /// Where.
        path: PathBuf,
        /// What it said.
        #[source]
        source: ViewError,
    },
}

impl SledView {
    /// An empty view below `dir`, which is made if need be.
    ///
    /// # Errors
    /// See [`SledViewError`].
    pub fn open(dir: impl Into<PathBuf>) -> Result<SledView, SledViewError> {
        let dir = dir.into();
        let path = dir.join(DATABASE);
        clear(&dir, &path).map_err(|source| SledViewError::Room { path: path.clone(), source })?;
        let config = sled::Config::new()
            .path(&path)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(Some(FLUSH_EVERY_MS))
            .mode(sled::Mode::LowSpace);
        let database = guarded(|| config.open())
            .map_err(|source| SledViewError::Open { path: path.clone(), source })?;
        Ok(SledView { database, trees: RwLock::default(), dir })
    }

    /// A view below `dir`, or one in memory where that cannot be: on a full disk
    /// sled does not open, and a node must start there all the same.
    #[must_use]
    pub fn open_or_memory(dir: impl Into<PathBuf>) -> Arc<dyn View> {
        match SledView::open(dir) {
            Ok(view) => Arc::new(view),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "view cannot be on disk, keeping it in memory");
                Arc::new(MemoryView::new())
            }
        }
    }

    /// The directory it was opened in.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn tree(&self, name: &str) -> Result<sled::Tree, ViewError> {
        let trees = self.trees.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = trees.get(name) {
            return Ok(tree.clone());
        }
        drop(trees);
        let tree = guarded(|| self.database.open_tree(name))?;
        let mut trees = self.trees.write().unwrap_or_else(PoisonError::into_inner);
        Ok(trees.entry(name.to_owned()).or_insert(tree).clone())
    }
}

/// Removes what an earlier process left, or moves it aside if it resists.
#[expect(clippy::disallowed_methods, reason = "the view is no part of the log's storage")]
fn clear(dir: &Path, path: &Path) -> std::io::Result<()> {
    if let Ok(found) = std::fs::symlink_metadata(dir)
        && !found.is_dir()
    {
        std::fs::rename(dir, aside(dir))?;
    }
    std::fs::create_dir_all(dir)?;
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    let removed = match found.is_dir() {
        true => std::fs::remove_dir_all(path),
        false => std::fs::remove_file(path),
    };
    removed.or_else(|error| {
        tracing::warn!(%error, path = %path.display(), "old view cannot be removed, moving it aside");
        std::fs::rename(path, aside(path))
    })
}

/// A name beside `path` that is free.
fn aside(path: &Path) -> PathBuf {
    let name = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".aside-{number}"));
        PathBuf::from(name)
    };
    (0..u32::MAX).map(name).find(|name| !name.exists()).unwrap_or_else(|| name(u32::MAX))
}

/// Calls into sled, which panics where others return an error.
fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, ViewError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(ViewError::from),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(format!("sled panicked: {}", text.unwrap_or("no message")).into())
        }
    }
}

fn pair((key, value): (sled::IVec, sled::IVec)) -> KeyValue {
    (key.to_vec(), value.to_vec())
}

impl View for SledView {
    fn put(&self, tree: &str, key: &[u8], value: &[u8]) -> Result<(), ViewError> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(format!("a value of {} bytes is too long for a view", value.len()).into());
        }
        let tree = self.tree(tree)?;
        guarded(|| tree.insert(key, value)).map(drop)
    }

    fn get(&self, tree: &str, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        let tree = self.tree(tree)?;
        guarded(|| tree.get(key)).map(|value| value.map(|value| value.to_vec()))
    }

    fn remove(&self, tree: &str, key: &[u8]) -> Result<(), ViewError> {
        let tree = self.tree(tree)?;
        guarded(|| tree.remove(key)).map(drop)
    }

    fn range(
        &self,
        tree: &str,
        from: &[u8],
        to: &[u8],
        max: usize,
    ) -> Result<Vec<KeyValue>, ViewError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let tree = self.tree(tree)?;
        guarded(|| tree.range(from..to).take(max).map(|found| found.map(pair)).collect())
    }

    fn last_at_or_below(&self, tree: &str, key: &[u8]) -> Result<Option<KeyValue>, ViewError> {
        let tree = self.tree(tree)?;
        guarded(|| tree.range(..=key).next_back().transpose()).map(|found| found.map(pair))
    }

    fn clear(&self, tree: &str) -> Result<(), ViewError> {
        let tree = self.tree(tree)?;
        guarded(|| tree.clear())
    }
}
