//! A file on the local disk while it grows.
//!
//! Written past the page cache (`O_DIRECT`) where the file system can: nobody reads a file before it
//! is final, so a copy of it in the page cache would cost a page for every 4 KiB, push out what
//! others read, and leave the last sync much to do. What does not fill a block waits in memory for
//! the next write; the end of the file goes through the page cache.

use std::fs::File;
use std::io::Write as _;
use std::num::NonZeroU64;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::{Advice, OFlags};

use super::LocalDisk;
use super::direct::Direct;
use crate::fs::{BLOCK_BYTES as BLOCK, FileWriter, FsError, FsErrorKind};

pub(super) struct LocalWriter {
    disk: LocalDisk,
    path: String,
    /// Absent while a call is with the kernel, and for good after one that failed or was dropped.
    growing: Option<Growing>,
    written: u64,
    /// Up to where the kernel has been asked to write back.
    written_back: u64,
}

/// What one call at a time has.
struct Growing {
    file: File,
    /// Absent where every write goes through the page cache.
    direct: Option<Direct>,
}

impl Growing {
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let Some(direct) = &mut self.direct else { return self.file.write_all(bytes) };
        if direct.append(&self.file, bytes)? {
            return Ok(());
        }
        self.leave_direct()
    }

    /// Goes on through the page cache, beginning with what waits.
    fn leave_direct(&mut self) -> std::io::Result<()> {
        let Some(direct) = self.direct.take() else { return Ok(()) };
        let flags = rustix::fs::fcntl_getfl(&self.file)?;
        rustix::fs::fcntl_setfl(&self.file, flags.difference(OFlags::DIRECT))?;
        self.file.write_all(direct.waiting())
    }
}

impl LocalWriter {
    /// `direct`: whether the file was opened so.
    pub(super) fn new(disk: LocalDisk, path: &str, file: File, direct: bool) -> LocalWriter {
        let growing = Growing { file, direct: direct.then(Direct::default) };
        LocalWriter {
            disk,
            path: path.to_owned(),
            growing: Some(growing),
            written: 0,
            written_back: 0,
        }
    }

    fn take(&mut self) -> Result<Growing, FsError> {
        self.growing.take().ok_or_else(|| {
            FsError::new(FsErrorKind::Unavailable, "go on writing", self.path.as_str())
        })
    }
}

#[async_trait]
impl FileWriter for LocalWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), FsError> {
        self.write_all(vec![bytes]).await
    }

    async fn write_all(&mut self, chunks: Vec<Bytes>) -> Result<(), FsError> {
        let mut growing = self.take()?;
        let length: usize = chunks.iter().map(Bytes::len).sum();
        self.written += length as u64;
        if let Some(direct) = &mut growing.direct
            && direct.waiting().len() + length < BLOCK
        {
            chunks.iter().for_each(|bytes| direct.wait(bytes));
            self.growing = Some(growing);
            return Ok(());
        }
        let growing = self
            .disk
            .offload("write", &self.path, move |_| {
                for bytes in chunks {
                    growing.append(&bytes)?;
                }
                Ok(growing)
            })
            .await?;
        self.growing = Some(growing);
        Ok(())
    }

    async fn sync_progress(&mut self) -> Result<(), FsError> {
        let growing = self.take()?;
        let (from, to) = (self.written_back, self.written);
        self.written_back = to;
        if growing.direct.is_some() {
            self.growing = Some(growing);
            return Ok(());
        }
        let growing = self
            .disk
            .offload("write back", &self.path, move |_| {
                // For a dirty range the kernel takes "will not be needed" as the order to start
                // writing it, without waiting and without a journal commit. (`sync_file_range`
                // says it more plainly, but has no safe wrapper; `fdatasync` here would make the
                // log's own flush wait for the journal.)
                if let Some(length) = NonZeroU64::new(to - from) {
                    rustix::fs::fadvise(&growing.file, from, Some(length), Advice::DontNeed)?;
                }
                Ok(growing)
            })
            .await?;
        self.growing = Some(growing);
        Ok(())
    }

    async fn close(mut self: Box<Self>) -> Result<(), FsError> {
        let mut growing = self.take()?;
        self.disk
            .offload("close", &self.path, move |_| {
                growing.leave_direct()?;
                rustix::fs::fdatasync(&growing.file)?;
                Ok(())
            })
            .await
    }
}
