//! The disk of this machine.

// The one place of the log that may touch files.
#![allow(clippy::disallowed_methods)]

use super::{DirEntry, DirLock, LockOutcome, Storage, StorageFile};
use rustix::buffer::spare_capacity;
use rustix::fs::{FallocateFlags, FlockOperation, OFlags};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, IoSlice, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

/// Slices that one call of `pwritev` takes (`IOV_MAX`).
const SLICES_MAX: usize = 1024;

/// The name of the file that a lock is held on.
const LOCK_FILE: &str = "lock";

/// Files of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealStorage;

impl Storage for RealStorage {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = dir.ancestors().take_while(|dir| !dir.exists()).collect();
        fs::create_dir_all(dir)?;
        // Each new directory is a name in its parent.
        for parent in missing.iter().filter_map(|dir| dir.parent()) {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            self.sync_dir(parent)?;
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            // A file that goes away between the two calls is no file.
            let Ok(metadata) = entry.metadata() else { continue };
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                entries.push(DirEntry { name, length: metadata.len() });
            }
        }
        Ok(entries)
    }

    fn open(&self, path: &Path, read_only: bool) -> io::Result<Arc<dyn StorageFile>> {
        let file = File::options().read(true).write(!read_only).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail * stat.f_frsize)
    }

    fn lock_dir(&self, dir: &Path, holder: &str) -> io::Result<LockOutcome> {
        let path = dir.join(LOCK_FILE);
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                // Only a courtesy to whoever comes second: on a full disk the lock holds without it.
                let _ = file.set_len(0).and_then(|()| (&file).write_all(holder.as_bytes()));
                Ok(LockOutcome::Held(Box::new(file) as DirLock))
            }
            Err(Errno::WOULDBLOCK) => {
                let other = fs::read_to_string(&path).unwrap_or_default();
                let other = other.trim();
                let unknown = "a process that did not say which";
                let other = if other.is_empty() { unknown } else { other };
                Ok(LockOutcome::Busy(other.to_owned()))
            }
            Err(error) => Err(error.into()),
        }
    }
}

struct RealFile(File);

impl StorageFile for RealFile {
    fn read_at(&self, buffer: &mut Vec<u8>, length: usize, at: u64) -> io::Result<usize> {
        let start = buffer.len();
        buffer.reserve_exact(length);
        while buffer.len() - start < length {
            let at = at + (buffer.len() - start) as u64;
            match rustix::io::pread(&self.0, spare_capacity(buffer), at) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => (),
                Err(error) => return Err(error.into()),
            }
        }
        // The buffer may have had room for more than was asked for.
        buffer.truncate(start + length);
        Ok(buffer.len() - start)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        let slices = &slices[..slices.len().min(SLICES_MAX)];
        Ok(rustix::io::pwritev(&self.0, slices, at)?)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, length)?)
    }

    fn fill(&self, length: u64) -> io::Result<()> {
        self.allocate(length)?;
        // Past the page cache: zeros that nobody reads need not be copied into it.
        let unbuffered = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        let unbuffered = File::options()
            .write(true)
            .custom_flags(OFlags::DIRECT.bits() as i32)
            .open(unbuffered)
            .map(RealFile);
        match unbuffered.and_then(|file| fill_direct(&file, length)) {
            Ok(()) => self.sync_all(),
            Err(error) if super::is_full(&error) => Err(error),
            // Not every file system can.
            Err(_) => super::fill(self, length),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// Zeros written at once, from a buffer that begins on a page.
const ZERO_BYTES: usize = 1 << 20;
const PAGE: usize = 4096;

fn fill_direct(file: &RealFile, length: u64) -> io::Result<()> {
    let buffer = vec![0; ZERO_BYTES + PAGE];
    let start = buffer.as_ptr().align_offset(PAGE);
    let zeros = &buffer[start..start + ZERO_BYTES];
    let mut at = 0;
    while at < length {
        let left = (length - at).min(ZERO_BYTES as u64) as usize;
        at += file.write_at(&[IoSlice::new(&zeros[..left])], at)? as u64;
    }
    Ok(())
}
