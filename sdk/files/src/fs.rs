//! What the file sink asks of a file system, so that local disks and HDFS share everything above it.

pub mod conformance;
mod error;
mod faulty;
mod local;
mod memory;
mod mount;

use async_trait::async_trait;
use bytes::Bytes;

pub use error::{FsError, FsErrorKind};
pub use faulty::{Faults, FaultyDisk};
pub use local::LocalDisk;
pub use memory::MemoryDisk;
pub use mount::{FileSystems, LocalFileSystems};

/// Writes of whole blocks, from memory that begins on one, are the cheapest: the local disk takes them
/// past the page cache without a copy. Devices ask for 512 or 4,096.
pub(crate) const BLOCK_BYTES: usize = 4096;

/// A file system with an atomic rename that never replaces.
///
/// Paths are absolute, in the form [`sdk_config::ledger::BucketKey::directory`] has: with scheme and
/// authority where there are any, no slash at the end, no empty, `.` or `..` component.
///
/// **Time.** No call here has a deadline of its own; callers set one. A call whose future is dropped,
/// or that answers an error, may still take effect at any later time. Everything above is built for
/// that; [`FileSystem::fence`] is the only thing that ends it.
///
/// **Errors.** [`FsError::kind`] is what decisions are made by, never the text.
#[async_trait]
pub trait FileSystem: Send + Sync + 'static {
    /// What this file system can and cannot do.
    fn capabilities(&self) -> Capabilities;

    /// Makes a directory and whatever is missing above it. Fine if it is there already.
    async fn mkdirs(&self, path: &str) -> Result<(), FsError>;

    /// Creates a file that must not exist in a directory that must exist.
    async fn create(&self, path: &str) -> Result<Box<dyn FileWriter>, FsError>;

    /// Renames a file within the file system. Never replaces:
    /// [`AlreadyExists`](FsErrorKind::AlreadyExists) if anything stands at `to`. Makes no directory.
    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError>;

    /// What stands at `path`; `None` if nothing does.
    async fn status(&self, path: &str) -> Result<Option<Status>, FsError>;

    /// Deletes whatever stands at `path`, with everything below it. False if nothing did.
    async fn delete(&self, path: &str) -> Result<bool, FsError>;

    /// Takes a staging directory away from everybody who may still write in it: once this has
    /// returned `Ok`, no file that was in it, and no call that names it, can become a final file,
    /// even if that call has begun long before. Fine if the directory is not there.
    async fn fence(&self, directory: &str) -> Result<(), FsError>;

    /// What is in a directory, in no order. [`NotFound`](FsErrorKind::NotFound) without it.
    async fn list(&self, directory: &str) -> Result<Vec<Entry>, FsError>;

    /// Opens a file for reading from its beginning.
    async fn open(&self, path: &str) -> Result<Box<dyn FileReader>, FsError>;

    /// Returns when the given files, by these names, survive a power cut: each file, its directory
    /// and every directory above up to the parent of `root`.
    async fn make_durable(&self, files: &[String], root: &str) -> Result<(), FsError>;
}

/// A file being written. Dropping it leaves an unfinished file behind.
///
/// After any error the writer is of no further use: write the file again under a fresh name.
#[async_trait]
pub trait FileWriter: Send {
    /// Appends all of `bytes`. `Ok` says nothing about durability, nor that the file still has its
    /// name. A file system that needs no handle on `bytes` after it has returned keeps none, so that
    /// the buffer can be used again.
    async fn write(&mut self, bytes: Bytes) -> Result<(), FsError>;

    /// Appends all of `chunks`, in order, as so many calls of [`FileWriter::write`] would. Sinks give
    /// it no more than [`Capabilities::chunks_at_once`].
    async fn write_all(&mut self, chunks: Vec<Bytes>) -> Result<(), FsError> {
        for bytes in chunks {
            self.write(bytes).await?;
        }
        Ok(())
    }

    /// Starts to write back what was appended so far, so that [`FileWriter::close`] has little left
    /// to do. Promises nothing.
    async fn sync_progress(&mut self) -> Result<(), FsError>;

    /// Closes the file. Once this has returned `Ok` every byte survives a power cut (the name is
    /// [`FileSystem::make_durable`]'s business).
    async fn close(self: Box<Self>) -> Result<(), FsError>;
}

/// A file being read.
#[async_trait]
pub trait FileReader: Send {
    /// The next bytes, at most `bytes_max`; empty at the end.
    async fn read(&mut self, bytes_max: usize) -> Result<Bytes, FsError>;
}

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// A regular file, a directory or something else.
    pub kind: EntryKind,
    /// The length of a file in bytes; 0 for anything else.
    pub length: u64,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The last component of its path.
    pub name: String,
    /// What it is.
    pub status: Status,
}

/// The kinds of things with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A link, a device, a socket. We make none and follow none.
    Other,
}

/// What a file system can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// How many files a sink keeps open for writing unless told otherwise.
    pub open_files_max: usize,
    /// What a writer costs in memory, beyond the buffers of the sink.
    pub writer_bytes: usize,
    /// After how many bytes a sink calls [`FileWriter::sync_progress`]; `None`: never.
    pub sync_progress_bytes: Option<u64>,
    /// How many chunks a sink hands to one call of [`FileWriter::write_all`]. More than one only where
    /// the way into the call costs more than the call: one deadline holds for all of them.
    pub chunks_at_once: usize,
    /// The longest name of one component in bytes.
    pub name_bytes_max: usize,
}
