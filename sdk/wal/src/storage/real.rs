//! The disk of this machine.

// The one place of the log that may touch files.
#![allow(clippy::disallowed_methods)]

use super::{DirEntry, DirLock, LockOutcome, PAGE, Storage, StorageFile};
use rustix::buffer::spare_capacity;
use rustix::fs::{FallocateFlags, FlockOperation, OFlags};
use rustix::io::Errno;
use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, IoSlice, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Slices that one call of `pwritev` takes (`IOV_MAX`).
const SLICES_MAX: usize = 1024;

/// The name of the file that a lock is held on.
const LOCK_FILE: &str = "lock";

/// Files of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealStorage;

/// An error once the disk has gone to another machine, which happens only in the build with fail points.
fn attached() -> io::Result<()> {
    if sdk_failpoints::detached!() { Err(Errno::IO.into()) } else { Ok(()) }
}

impl Storage for RealStorage {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        attached()?;
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
        Ok(Arc::new(RealFile::new(file, read_only)))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        attached()?;
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(RealFile::new(file, false)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        attached()?;
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        attached()?;
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        attached()?;
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

/// Written past the page cache (`O_DIRECT`) wherever whole blocks are written and the file system can:
/// what was just put is read from memory, so a copy in the page cache would cost a page for every 4 KiB
/// and push out what others read. Long reads go past it too: mostly, what is read is read once.
struct RealFile {
    file: File,
    read_only: bool,
    /// The same file, opened for direct access at the first of it; `None`: it cannot be.
    direct: OnceLock<Option<File>>,
}

/// What one direct read or write moves.
const PIECE_BYTES: usize = 1 << 20;

/// Writes take turns in so many pieces: memory that a device, or a hypervisor in its place, has just read
/// is filled at half the speed (3.3 GB/s against 6 here, 11 for memory that nobody else has read).
const PIECES: usize = 4;

/// Reads from this length on go past the page cache; shorter ones may find their pages there.
const DIRECT_READ_BYTES_MIN: usize = 64 << 10;

thread_local! {
    static PIECE: RefCell<Piece> = RefCell::new(Piece::new());
}

impl RealFile {
    fn new(file: File, read_only: bool) -> Self {
        Self { file, read_only, direct: OnceLock::new() }
    }

    fn direct(&self) -> Option<&File> {
        let open = || {
            // A second descriptor: short reads go through the page cache, which the kernel keeps coherent.
            let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            let flags = OFlags::DIRECT.bits() as i32;
            File::options().read(true).write(!self.read_only).custom_flags(flags).open(path).ok()
        };
        self.direct.get_or_init(open).as_ref()
    }

    /// Appends what there is of `length` bytes at `at`, or the first of them; `None`: not to be read
    /// directly.
    fn read_direct(
        &self,
        buffer: &mut Vec<u8>,
        length: usize,
        at: u64,
    ) -> Option<io::Result<usize>> {
        let long = length >= DIRECT_READ_BYTES_MIN;
        let file = long.then(|| self.direct()).flatten()?;
        let before = (at % PAGE as u64) as usize;
        let pages = (before + length).next_multiple_of(PAGE).min(PIECE_BYTES);
        PIECE.with_borrow_mut(|piece| {
            let piece = &mut piece.bytes()[..pages];
            match rustix::io::pread(file, &mut *piece, at - before as u64) {
                Err(Errno::INVAL) => None,
                Err(error) => Some(Err(error.into())),
                Ok(read) => {
                    let there = &piece[before.min(read)..read.min(before + length)];
                    buffer.extend_from_slice(there);
                    Some(Ok(there.len()))
                }
            }
        })
    }

    /// `None`: not to be written directly.
    fn write_direct(&self, slices: &[IoSlice<'_>], at: u64) -> Option<io::Result<usize>> {
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        let whole = bytes > 0 && bytes.is_multiple_of(PAGE) && at.is_multiple_of(PAGE as u64);
        let file = whole.then(|| self.direct()).flatten()?;
        let write = |piece: &[u8]| match rustix::io::pwrite(file, piece, at) {
            // The file system takes none after all, or cut one within a block.
            Err(Errno::INVAL) => None,
            Ok(written) if !written.is_multiple_of(PAGE) => None,
            result => Some(result.map_err(io::Error::from)),
        };
        match slices {
            [slice] if slice.as_ptr().align_offset(PAGE) == 0 => write(slice),
            _ => PIECE.with_borrow_mut(|piece| write(piece.fill(slices))),
        }
    }
}

impl StorageFile for RealFile {
    fn read_at(&self, buffer: &mut Vec<u8>, length: usize, at: u64) -> io::Result<usize> {
        let start = buffer.len();
        buffer.reserve_exact(length);
        while buffer.len() - start < length {
            let read = buffer.len() - start;
            let (left, at) = (length - read, at + read as u64);
            let result = self
                .read_direct(buffer, left, at)
                .unwrap_or_else(|| Ok(rustix::io::pread(&self.file, spare_capacity(buffer), at)?));
            match result {
                Ok(0) => break,
                Ok(_) => (),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
        // The buffer may have had room for more than was asked for.
        buffer.truncate(start + length);
        Ok(buffer.len() - start)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        attached()?;
        if let Some(result) = self.write_direct(slices, at) {
            return result;
        }
        let slices = &slices[..slices.len().min(SLICES_MAX)];
        Ok(rustix::io::pwritev(&self.file, slices, at)?)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        attached()?;
        Ok(rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, length)?)
    }

    fn fill(&self, length: u64) -> io::Result<()> {
        super::fill(self, length)
    }

    fn sync_data(&self) -> io::Result<()> {
        attached()?;
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        attached()?;
        self.file.sync_all()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

/// Memory that begins on a page.
struct Piece {
    memory: Vec<u8>,
    start: usize,
    /// Whose turn it is.
    turn: usize,
}

impl Piece {
    fn new() -> Self {
        // Zeros take no memory until they are touched.
        let memory = vec![0; PIECES * PIECE_BYTES + PAGE];
        let start = memory.as_ptr().align_offset(PAGE);
        Self { memory, start, turn: 0 }
    }

    fn bytes(&mut self) -> &mut [u8] {
        let start = self.start + self.turn * PIECE_BYTES;
        &mut self.memory[start..start + PIECE_BYTES]
    }

    /// As much of `slices` as there is room for.
    fn fill(&mut self, slices: &[IoSlice<'_>]) -> &[u8] {
        self.turn = (self.turn + 1) % PIECES;
        let piece = self.bytes();
        let mut filled = 0;
        for slice in slices {
            let taken = slice.len().min(PIECE_BYTES - filled);
            piece[filled..filled + taken].copy_from_slice(&slice[..taken]);
            filled += taken;
        }
        &piece[..filled]
    }
}
