//! The local disk.

mod direct;
mod durable;
mod fence;
mod writer;

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use tokio::sync::Semaphore;

use super::{
    Capabilities, Entry, EntryKind, FileReader, FileSystem, FileWriter, FsError, FsErrorKind,
    Status,
};

/// How many calls may be with the kernel at once. A disk that hangs keeps its threads; without this
/// every retry would take one more.
const CALLS_MAX: usize = 64;

/// Finals are readable for everybody: jobs run as other users.
const FILE_MODE: u32 = 0o644;

/// How much of a file may be dirty before it is written back.
const SYNC_PROGRESS_BYTES: u64 = 8 << 20;

/// Chunks in one call. On a busy machine the way to a blocking thread and back takes longer than the
/// write.
const CHUNKS_AT_ONCE: usize = 8;

/// `FileSystem` on the disks of this machine. Every call runs on the runtime's blocking threads.
#[derive(Debug, Clone)]
pub struct LocalDisk {
    calls: Arc<Semaphore>,
}

impl Default for LocalDisk {
    fn default() -> LocalDisk {
        LocalDisk { calls: Arc::new(Semaphore::new(CALLS_MAX)) }
    }
}

impl LocalDisk {
    /// The local disks.
    pub fn new() -> LocalDisk {
        LocalDisk::default()
    }

    /// Runs `call` on a blocking thread. Dropping the future does not stop a call that has begun.
    async fn offload<T: Send + 'static>(
        &self,
        operation: &'static str,
        path: &str,
        call: impl FnOnce(&str) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, FsError> {
        let permit = Arc::clone(&self.calls).acquire_owned().await;
        let path = path.to_owned();
        let task = tokio::task::spawn_blocking(move || {
            // The thread gives the permit back, not the waiter, who may be gone long before.
            let _permit = permit;
            call(&path).map_err(|error| FsError::from_io(operation, &path, error))
        });
        match task.await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(stopped) => {
                    let kind = FsErrorKind::Unavailable;
                    Err(FsError::new(kind, operation, "").caused_by(stopped))
                }
            },
        }
    }
}

#[async_trait]
impl FileSystem for LocalDisk {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            open_files_max: 1024,
            writer_bytes: 0,
            sync_progress_bytes: Some(SYNC_PROGRESS_BYTES),
            chunks_at_once: CHUNKS_AT_ONCE,
            name_bytes_max: 255,
        }
    }

    async fn mkdirs(&self, path: &str) -> Result<(), FsError> {
        self.offload("make directory", path, |path| std::fs::create_dir_all(path)).await
    }

    async fn create(&self, path: &str) -> Result<Box<dyn FileWriter>, FsError> {
        let (file, direct) = self.offload("create", path, create).await?;
        Ok(Box::new(writer::LocalWriter::new(self.clone(), path, file, direct)))
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        let from = from.to_owned();
        self.offload("rename a file to", to, move |to| {
            let overwrite = sdk_failpoints::mutant!(OverwriteOnRename);
            let how = if overwrite { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
            Ok(rustix::fs::renameat_with(CWD, from, CWD, to, how)?)
        })
        .await
    }

    async fn status(&self, path: &str) -> Result<Option<Status>, FsError> {
        self.offload("look at", path, |path| match std::fs::symlink_metadata(path) {
            Ok(metadata) => Ok(Some(status_of(&metadata))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    async fn delete(&self, path: &str) -> Result<bool, FsError> {
        self.offload("delete", path, |path| fence::delete(Path::new(path))).await
    }

    async fn fence(&self, directory: &str) -> Result<(), FsError> {
        self.offload("fence", directory, |path| fence::fence(Path::new(path))).await
    }

    async fn list(&self, directory: &str) -> Result<Vec<Entry>, FsError> {
        self.offload("list", directory, list).await
    }

    async fn open(&self, path: &str) -> Result<Box<dyn FileReader>, FsError> {
        let file = self.offload("open", path, open).await?;
        Ok(Box::new(LocalReader { disk: self.clone(), path: path.to_owned(), file: Some(file) }))
    }

    async fn make_durable(&self, files: &[String], root: &str) -> Result<(), FsError> {
        let files = files.to_vec();
        self.offload("make durable below", root, move |root| durable::make_durable(&files, root))
            .await
    }
}

/// The new file, and whether it is written past the page cache.
fn create(path: &str) -> std::io::Result<(File, bool)> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    if sdk_failpoints::mutant!(CreateParent)
        && let Some(parent) = Path::new(path).parent()
    {
        std::fs::create_dir_all(parent)?;
    }
    let file = rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(FILE_MODE))?;
    // The umask has cut what `openat` was asked for.
    rustix::fs::fchmod(&file, Mode::from_raw_mode(FILE_MODE))?;
    // Not every file system can; asked at `openat`, some would refuse and leave the file.
    let direct = rustix::fs::fcntl_getfl(&file)
        .and_then(|flags| rustix::fs::fcntl_setfl(&file, flags | OFlags::DIRECT))
        .is_ok();
    Ok((File::from(file), direct))
}

fn open(path: &str) -> std::io::Result<File> {
    let file = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(File::from(file))
}

fn open_directory(path: &Path) -> std::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?)
}

fn status_of(metadata: &std::fs::Metadata) -> Status {
    if metadata.is_file() {
        Status { kind: EntryKind::File, length: metadata.len() }
    } else if metadata.is_dir() {
        Status { kind: EntryKind::Directory, length: 0 }
    } else {
        Status { kind: EntryKind::Other, length: 0 }
    }
}

fn list(path: &str) -> std::io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        // We never make a name that is not UTF-8, so such a one is not ours.
        let Ok(name) = entry.file_name().into_string() else { continue };
        match entry.metadata() {
            Ok(metadata) => entries.push(Entry { name, status: status_of(&metadata) }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (),
            Err(error) => return Err(error),
        }
    }
    Ok(entries)
}

struct LocalReader {
    disk: LocalDisk,
    path: String,
    /// Absent only while a read is with the kernel, and for good after one that was dropped.
    file: Option<File>,
}

#[async_trait]
impl FileReader for LocalReader {
    async fn read(&mut self, bytes_max: usize) -> Result<Bytes, FsError> {
        let Some(mut file) = self.file.take() else {
            return Err(FsError::new(FsErrorKind::Unavailable, "read", self.path.as_str()));
        };
        let (file, bytes) = self
            .disk
            .offload("read", &self.path, move |_| {
                let mut buffer = BytesMut::zeroed(bytes_max);
                let mut filled = 0;
                while filled < bytes_max {
                    match file.read(&mut buffer[filled..])? {
                        0 => break,
                        count => filled += count,
                    }
                }
                buffer.truncate(filled);
                Ok((file, buffer.freeze()))
            })
            .await?;
        self.file = Some(file);
        Ok(bytes)
    }
}
