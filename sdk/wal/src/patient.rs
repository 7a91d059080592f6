//! Reading around what a disk can no longer read.

use crate::storage::StorageFile;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tracing::warn;

/// Read at once where reading more has failed.
const PAGE: u64 = 4096;

/// Unreadable pages of one open file beyond which it is the disk that fails, not a place on it.
const PAGES_MAX: u32 = 1024;

/// `EIO`.
const IO_ERROR: i32 = 5;

/// A segment's file in which a page that cannot be read reads as zeros, which are neither a record nor a
/// header: what stood there is bad like anything else whose checksum does not match, and keeps the identity
/// that other places give it.
///
/// That holds for a disk that works. One that fails altogether has lost nothing, perhaps: its error is
/// passed on.
pub(crate) struct PatientFile {
    file: Arc<dyn StorageFile>,
    number: u64,
    pages: AtomicU32,
}

impl PatientFile {
    /// The file of segment `number`.
    pub(crate) fn around(file: Arc<dyn StorageFile>, number: u64) -> Arc<dyn StorageFile> {
        Arc::new(Self { file, number, pages: AtomicU32::new(0) })
    }

    fn read_pages(&self, buffer: &mut Vec<u8>, length: usize, at: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < length {
            let from = at + read as u64;
            let part = ((PAGE - from % PAGE) as usize).min(length - read);
            let before = buffer.len();
            match self.file.read_at(buffer, part, from) {
                Ok(there) => {
                    read += there;
                    if there < part {
                        break;
                    }
                }
                Err(error) if is_unreadable(&error) => {
                    self.pass(from, error)?;
                    buffer.resize(before + part, 0);
                    read += part;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    /// Whether a page may be passed.
    fn pass(&self, at: u64, error: io::Error) -> io::Result<()> {
        if self.pages.fetch_add(1, Ordering::Relaxed) >= PAGES_MAX {
            return Err(error);
        }
        // A disk that is gone answers this no better, and then nothing is said of what it holds.
        self.file.sync_data()?;
        warn!(%error, segment = self.number, at, "a page of a segment cannot be read");
        Ok(())
    }
}

impl StorageFile for PatientFile {
    fn read_at(&self, buffer: &mut Vec<u8>, length: usize, at: u64) -> io::Result<usize> {
        let before = buffer.len();
        match self.file.read_at(buffer, length, at) {
            Err(error) if is_unreadable(&error) => {
                buffer.truncate(before);
                self.read_pages(buffer, length, at)
            }
            read => read,
        }
    }

    fn write_at(&self, slices: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        self.file.write_at(slices, at)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }

    fn fill(&self, length: u64) -> io::Result<()> {
        self.file.fill(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}

fn is_unreadable(error: &io::Error) -> bool {
    error.raw_os_error() == Some(IO_ERROR)
}
