//! A file on the local disk while it grows.

use std::fs::File;
use std::io::Write as _;
use std::num::NonZeroU64;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::Advice;

use super::LocalDisk;
use crate::fs::{FileWriter, FsError, FsErrorKind};

pub(super) struct LocalWriter {
    disk: LocalDisk,
    path: String,
    /// Absent while a call is with the kernel, and for good after one that failed or was dropped.
    file: Option<File>,
    written: u64,
    /// Up to where the kernel has been asked to write back.
    written_back: u64,
}

impl LocalWriter {
    pub(super) fn new(disk: LocalDisk, path: &str, file: File) -> LocalWriter {
        LocalWriter { disk, path: path.to_owned(), file: Some(file), written: 0, written_back: 0 }
    }

    fn take(&mut self) -> Result<File, FsError> {
        self.file.take().ok_or_else(|| {
            FsError::new(FsErrorKind::Unavailable, "go on writing", self.path.as_str())
        })
    }
}

#[async_trait]
impl FileWriter for LocalWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), FsError> {
        let mut file = self.take()?;
        let length = bytes.len() as u64;
        let file = self
            .disk
            .offload("write", &self.path, move |_| {
                file.write_all(&bytes)?;
                drop(bytes);
                Ok(file)
            })
            .await?;
        self.file = Some(file);
        self.written += length;
        Ok(())
    }

    async fn sync_progress(&mut self) -> Result<(), FsError> {
        let file = self.take()?;
        let (from, to) = (self.written_back, self.written);
        let file = self
            .disk
            .offload("write back", &self.path, move |_| {
                // For a dirty range the kernel takes "will not be needed" as the order to start
                // writing it, without waiting and without a journal commit. (`sync_file_range`
                // says it more plainly, but has no safe wrapper; `fdatasync` here would make the
                // log's own flush wait for the journal.)
                if let Some(length) = NonZeroU64::new(to - from) {
                    rustix::fs::fadvise(&file, from, Some(length), Advice::DontNeed)?;
                }
                Ok(file)
            })
            .await?;
        self.file = Some(file);
        self.written_back = to;
        Ok(())
    }

    async fn close(mut self: Box<Self>) -> Result<(), FsError> {
        let file = self.take()?;
        self.disk
            .offload("close", &self.path, move |_| {
                rustix::fs::fdatasync(&file)?;
                Ok(())
            })
            .await
    }
}
