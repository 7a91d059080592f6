//! The file system as `taildir` sees it. Everything here blocks.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

/// Names a file as long as it exists, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// Seconds and nanoseconds, only to be compared.
pub(super) type Timestamp = (i64, i64);

/// What the file system says about a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) identity: Identity,
    pub(super) size: u64,
    /// 0 once it is deleted.
    pub(super) links: u64,
    pub(super) modified: Timestamp,
    pub(super) is_file: bool,
}

impl From<Metadata> for Look {
    fn from(metadata: Metadata) -> Look {
        Look {
            identity: Identity { device: metadata.dev(), inode: metadata.ino() },
            size: metadata.len(),
            links: metadata.nlink(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            is_file: metadata.is_file(),
        }
    }
}

/// Looks at what is at `path`, behind symbolic links.
pub(super) fn look(path: &Path) -> io::Result<Look> {
    std::fs::metadata(path).map(Look::from)
}

/// A file that is open for reading.
pub(super) struct OpenFile {
    file: File,
}

impl OpenFile {
    pub(super) fn open(path: &Path) -> io::Result<OpenFile> {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the seam to files of other programs"
        )]
        let file = File::open(path)?;
        Ok(OpenFile { file })
    }

    pub(super) fn look(&self) -> io::Result<Look> {
        self.file.metadata().map(Look::from)
    }

    /// Reads from `offset` until the buffer is full or the file ends.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// An entry of a directory.
pub(super) struct Entry {
    pub(super) name: OsString,
    /// A directory itself, not a link to one.
    pub(super) is_directory: bool,
    pub(super) is_link: bool,
    pub(super) inode: u64,
}

/// The entries of a directory, by name.
pub(super) fn list(directory: &Path) -> io::Result<Vec<Entry>> {
    use std::os::unix::fs::DirEntryExt as _;
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(kind) = entry.file_type() else { continue };
        entries.push(Entry {
            name: entry.file_name(),
            is_directory: kind.is_dir(),
            is_link: kind.is_symlink(),
            inode: entry.ino(),
        });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}
