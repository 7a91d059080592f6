//! How a directory is taken away from whoever still uses it.
//!
//! The rename stops every call that has not yet looked the directory up. A call that has, and is
//! asleep between that and its own rename, still finds its file there; so the fence has returned
//! only when every file in the directory is gone as well.

use std::ffi::{OsStr, OsString};
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};

use super::open_directory;

/// A zombie may create files while we delete; each of its calls costs us one more round.
const DELETE_ROUNDS_MAX: u32 = 1000;

/// Makes `directory` and everything that was ever in it unreachable.
pub(super) fn fence(directory: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) else {
        return Err(Error::from(ErrorKind::InvalidInput));
    };
    let prefix = dead_prefix(name);
    // What an earlier, interrupted fence of the same directory has left.
    let mut dead = match dead_names(parent, &prefix) {
        Ok(names) => names,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if let Some(moved) = move_away(directory, parent, &prefix)? {
        rustix::fs::fsync(open_directory(parent)?)?;
        dead.push(moved);
    }
    for path in dead {
        delete(&path)?;
    }
    Ok(())
}

/// Deletes a file, or a directory with everything in it. False if nothing was there.
pub(super) fn delete(path: &Path) -> Result<bool> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if !metadata.is_dir() {
        #[expect(clippy::disallowed_methods, reason = "this is the seam")]
        let result = std::fs::remove_file(path);
        return match result {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        };
    }
    for _ in 0..DELETE_ROUNDS_MAX {
        #[expect(clippy::disallowed_methods, reason = "this is the seam")]
        let result = std::fs::remove_dir_all(path);
        match result {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if std::fs::symlink_metadata(path).is_err() {
                    return Ok(true);
                }
            }
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => (),
            Err(error) => return Err(error),
        }
    }
    Err(Error::from(ErrorKind::DirectoryNotEmpty))
}

/// Gives `directory` a name nobody uses; `None` if it is not there.
fn move_away(directory: &Path, parent: &Path, prefix: &OsStr) -> Result<Option<PathBuf>> {
    for number in 0..=u32::MAX {
        let mut dead = prefix.to_owned();
        dead.push(number.to_string());
        let to = parent.join(dead);
        match rustix::fs::renameat_with(CWD, directory, CWD, &to, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(Some(to)),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(rustix::io::Errno::EXIST) => (),
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(Error::from(ErrorKind::AlreadyExists))
}

fn dead_prefix(name: &OsStr) -> OsString {
    let mut prefix = OsString::from("dead-");
    prefix.push(name);
    prefix.push("-");
    prefix
}

fn dead_names(parent: &Path, prefix: &OsStr) -> Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(parent)? {
        let name = entry?.file_name();
        if name.as_encoded_bytes().starts_with(prefix.as_encoded_bytes()) {
            names.push(parent.join(name));
        }
    }
    Ok(names)
}
