//! What a node leaves in a directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Every final file below a directory, by path: nothing whose name or folder begins with `.` or `_`.
pub fn final_files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(root, &mut found);
    found.sort();
    found
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        // A file may go while we look: staging comes and goes, finals do not.
        let Ok(entry) = entry else { continue };
        let name = entry.file_name();
        let hidden = name.to_string_lossy().starts_with(['.', '_']);
        let path = entry.path();
        if hidden {
            continue;
        }
        if path.is_dir() {
            walk(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The final files of a directory at one moment, to be compared with those of a later one.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Tree {
    /// Reads every final file.
    pub fn read(root: &Path) -> Self {
        let files = final_files(root)
            .into_iter()
            .map(|path| {
                let bytes =
                    std::fs::read(&path).unwrap_or_else(|error| panic!("read {path:?}: {error}"));
                let inside = path.strip_prefix(root).expect("a file below the root");
                (inside.to_owned(), bytes)
            })
            .collect();
        Self { files }
    }

    /// The paths below the directory, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    /// All files one after the other, sorted by name.
    pub fn concatenated(&self) -> Vec<u8> {
        self.files.values().flatten().copied().collect()
    }

    /// How many lines they hold.
    pub fn lines(&self) -> usize {
        self.files.values().map(|bytes| bytes.iter().filter(|byte| **byte == b'\n').count()).sum()
    }

    /// Fails unless every file of this moment still stands, unchanged, in the later one.
    ///
    /// # Panics
    ///
    /// If a final file has gone or changed.
    pub fn still_in(&self, later: &Self) {
        for (path, bytes) in &self.files {
            let now = later.files.get(path).unwrap_or_else(|| panic!("{path:?} has gone"));
            assert!(now == bytes, "{path:?} has changed after it was final");
        }
    }
}
