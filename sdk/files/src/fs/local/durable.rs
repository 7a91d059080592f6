//! Names that survive a power cut.

use std::collections::BTreeSet;
use std::io::{Error, ErrorKind, Result};
use std::path::Path;

use super::{open, open_directory};

/// Syncs each file, then every directory from there up to the parent of `root`, the deepest first:
/// a name counts only when every name above it does.
pub(super) fn make_durable(files: &[String], root: &str) -> Result<()> {
    let root = Path::new(root);
    let top = root.parent().unwrap_or(root);
    let mut directories = BTreeSet::new();
    for file in files {
        let path = Path::new(file);
        if !path.starts_with(root) {
            return Err(Error::new(ErrorKind::InvalidInput, "the file is not below the root"));
        }
        rustix::fs::fsync(open(file)?)?;
        directories.extend(path.ancestors().skip(1).take_while(|above| above.starts_with(top)));
    }
    let mut directories: Vec<&Path> = directories.into_iter().collect();
    directories.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    for directory in directories {
        rustix::fs::fsync(open_directory(directory)?)?;
    }
    Ok(())
}
