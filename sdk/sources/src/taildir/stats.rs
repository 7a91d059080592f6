//! What can be watched from outside: lag per file, and counters.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Figures of one `taildir`. Cheap to read at any time.
#[derive(Debug, Default)]
pub struct TaildirStats {
    files: Mutex<BTreeMap<u64, Arc<Gauge>>>,
    pub(super) events: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) puts: AtomicU64,
    pub(super) truncations: AtomicU64,
    pub(super) over_long_lines: AtomicU64,
    pub(super) dead_letters: AtomicU64,
    pub(super) read_errors: AtomicU64,
}

/// The counters at one moment, since the source began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TaildirCounts {
    /// Events that are stored.
    pub events: u64,
    /// Bytes of files that lie behind stored positions.
    pub bytes: u64,
    /// Puts that are stored.
    pub puts: u64,
    /// Files that were found shorter than what was read of them, or beginning
    /// with other bytes, and are read again from the beginning.
    pub truncations: u64,
    /// Lines longer than a body may be.
    pub over_long_lines: u64,
    /// Events that went to the dead letters.
    pub dead_letters: u64,
    /// Files and directories that could not be read, each time.
    pub read_errors: u64,
}

/// How far behind one file the source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLag {
    /// Where the file was last seen.
    pub path: String,
    /// Its length.
    pub size: u64,
    /// How much of it is stored.
    pub stored: u64,
}

impl FileLag {
    /// Bytes that are not stored yet, an unfinished last line included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.size.saturating_sub(self.stored)
    }
}

impl TaildirStats {
    /// The files that are followed, by path.
    #[must_use]
    pub fn files(&self) -> Vec<FileLag> {
        let mut files: Vec<FileLag> = self.lock().values().map(|gauge| gauge.lag()).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files
    }

    /// The counters now.
    #[must_use]
    pub fn counts(&self) -> TaildirCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TaildirCounts {
            events: read(&self.events),
            bytes: read(&self.bytes),
            puts: read(&self.puts),
            truncations: read(&self.truncations),
            over_long_lines: read(&self.over_long_lines),
            dead_letters: read(&self.dead_letters),
            read_errors: read(&self.read_errors),
        }
    }

    pub(super) fn follow(&self, key: u64, path: &Path, size: u64, stored: u64) -> Arc<Gauge> {
        let gauge = Arc::new(Gauge {
            path: Mutex::new(path.to_string_lossy().into_owned()),
            size: AtomicU64::new(size),
            stored: AtomicU64::new(stored),
        });
        self.lock().insert(key, Arc::clone(&gauge));
        gauge
    }

    pub(super) fn leave(&self, key: u64) {
        self.lock().remove(&key);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Gauge>>> {
        self.files.lock().expect("no panic while the lock is held")
    }
}

pub(super) fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

/// The figures of one file.
#[derive(Debug)]
pub(super) struct Gauge {
    path: Mutex<String>,
    size: AtomicU64,
    stored: AtomicU64,
}

impl Gauge {
    pub(super) fn set_path(&self, path: &Path) {
        let mut known = self.path.lock().expect("no panic while the lock is held");
        *known = path.to_string_lossy().into_owned();
    }

    pub(super) fn set_size(&self, size: u64) {
        self.size.store(size, Ordering::Relaxed);
    }

    /// Returns what was stored before.
    pub(super) fn set_stored(&self, stored: u64) -> u64 {
        self.stored.swap(stored, Ordering::Relaxed)
    }

    fn lag(&self) -> FileLag {
        FileLag {
            path: self.path.lock().expect("no panic while the lock is held").clone(),
            size: self.size.load(Ordering::Relaxed),
            stored: self.stored.load(Ordering::Relaxed),
        }
    }
}
