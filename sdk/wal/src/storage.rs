//! The seam to the disk.
//!
//! Everything the log asks of a file system is in these two traits, so that its faulty twin can refuse,
//! tear and forget what a real one may.

mod faulty;
mod real;

pub use faulty::{Fault, Faults, FaultyStorage};
pub use real::RealStorage;

use std::any::Any;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

/// Zeros written at once by [`StorageFile::fill`].
const FILL_BYTES: usize = 1 << 20;

/// Direct writes begin and end on a multiple of this, in the file and in memory.
const PAGE: usize = 4096;

/// Zeros written before they are synced.
const FILL_SYNC_BYTES: u64 = 8 << 20;

/// A lock on a directory, held until dropped.
pub type DirLock = Box<dyn Any + Send + Sync>;

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name, without the directory.
    pub name: String,
    /// The length of the file.
    pub length: u64,
}

/// How [`Storage::lock_dir`] ended.
pub enum LockOutcome {
    /// The lock is ours until this is dropped.
    Held(DirLock),
    /// Another holds it; what it said of itself.
    Busy(String),
}

/// A file system, as far as a log needs one.
pub trait Storage: Send + Sync {
    /// Makes a directory and its parents; fine if it is there. Durable when it returns.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// The files of a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;

    /// Opens a file to read, and to write unless `read_only`.
    fn open(&self, path: &Path, read_only: bool) -> io::Result<Arc<dyn StorageFile>>;

    /// Makes a file that must not be there yet.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>>;

    /// Renames a file, replacing what has the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names of a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Bytes that the file system of `dir` has left for us.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;

    /// Locks a directory for this process until the lock is dropped; `holder` tells others who has it.
    fn lock_dir(&self, dir: &Path, holder: &str) -> io::Result<LockOutcome>;
}

/// An open file.
pub trait StorageFile: Send + Sync {
    /// Appends up to `length` bytes from `at` to `buffer` and returns how many there were: fewer only at the
    /// end of the file.
    fn read_at(&self, buffer: &mut Vec<u8>, length: usize, at: u64) -> io::Result<usize>;

    /// Writes at `at` from the slices, in order, and returns how many bytes: perhaps fewer than given.
    fn write_at(&self, slices: &[IoSlice<'_>], at: u64) -> io::Result<usize>;

    /// Reserves blocks so that the file has `length` bytes. `ENOSPC` if there are none.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Reserves blocks for `length` bytes and writes zeros to all of them; durable when it returns.
    ///
    /// Writing into blocks that were only reserved changes metadata, which every later [`sync_data`](Self::sync_data)
    /// would have to wait for.
    fn fill(&self, length: u64) -> io::Result<()>;

    /// Returns once the contents, and the length, are durable.
    fn sync_data(&self) -> io::Result<()>;

    /// Returns once contents and metadata are durable.
    fn sync_all(&self) -> io::Result<()>;

    /// The length of the file.
    fn length(&self) -> io::Result<u64>;
}

/// [`StorageFile::fill`] by ordinary writes.
pub(crate) fn fill(file: &dyn StorageFile, length: u64) -> io::Result<()> {
    file.allocate(length)?;
    // They begin on a page, so that a direct write takes them where they are.
    let memory = vec![0; FILL_BYTES + PAGE];
    let start = memory.as_ptr().align_offset(PAGE);
    let zeros = &memory[start..start + FILL_BYTES];
    let (mut at, mut synced) = (0, 0);
    while at < length {
        let left = (length - at).min(FILL_BYTES as u64);
        at += file.write_at(&[IoSlice::new(&zeros[..left as usize])], at)? as u64;
        // No flush should have to wait behind a whole segment of zeros.
        if at - synced >= FILL_SYNC_BYTES {
            file.sync_data()?;
            synced = at;
        }
    }
    file.sync_all()
}

/// Writes all of `slices` at `at`, however the writes are cut.
pub fn write_all_at(
    file: &dyn StorageFile,
    mut slices: &mut [IoSlice<'_>],
    mut at: u64,
) -> io::Result<()> {
    // Empty slices at the end would make a complete write look like none.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match file.write_at(slices, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                at += written as u64;
                IoSlice::advance_slices(&mut slices, written);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads exactly `length` bytes at `at`, or fails with `UnexpectedEof`.
pub fn read_exact_at(file: &dyn StorageFile, length: usize, at: u64) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::with_capacity(length);
    if file.read_at(&mut buffer, length, at)? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(buffer)
}

/// Whether an error means that the disk, or our share of it, is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
