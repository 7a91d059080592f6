//! One file on its way through staging.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::format::Encoder;
use crate::fs::{FileSystem, FileWriter, FsError, FsErrorKind};

/// How long a call may take before the file is given up.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// Of any call but those below.
    pub call: Duration,
    /// Of closing a file durably, and of deleting a directory.
    pub close: Duration,
}

impl Default for Deadlines {
    fn default() -> Deadlines {
        Deadlines { call: Duration::from_secs(30), close: Duration::from_secs(60) }
    }
}

/// Waits for a call, no longer than `limit`.
pub(crate) async fn within<T>(
    limit: Duration,
    operation: &'static str,
    path: &str,
    call: impl Future<Output = Result<T, FsError>>,
) -> Result<T, FsError> {
    match timeout(limit, call).await {
        Ok(result) => result,
        Err(_) => Err(FsError::new(FsErrorKind::Timeout, operation, path)),
    }
}

/// A file that is being written. After an error it is of no use.
pub(crate) struct Staged {
    path: String,
    writer: Box<dyn FileWriter>,
    encoder: Encoder,
    deadlines: Deadlines,
    sync_progress_bytes: Option<u64>,
    chunks_at_once: usize,
    length: u64,
    crc: u32,
    synced: u64,
    /// One of the sink's open files, for as long as this lives.
    _permit: OwnedSemaphorePermit,
}

/// A file that is whole and durable in staging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) path: String,
    pub(crate) length: u64,
    pub(crate) crc: u32,
}

impl Staged {
    pub(crate) async fn create(
        fs: &Arc<dyn FileSystem>,
        path: String,
        encoder: Encoder,
        deadlines: Deadlines,
        permit: OwnedSemaphorePermit,
    ) -> Result<Staged, FsError> {
        sdk_failpoints::before!(Create);
        let writer = within(deadlines.call, "create", &path, fs.create(&path)).await?;
        sdk_failpoints::after!(Create);
        let capabilities = fs.capabilities();
        // What is encoded is in memory a second time: no more of it than must be.
        let chunks_at_once = if encoder.is_plain() { capabilities.chunks_at_once } else { 1 };
        Ok(Staged {
            path,
            writer,
            encoder,
            deadlines,
            sync_progress_bytes: capabilities.sync_progress_bytes,
            chunks_at_once,
            length: 0,
            crc: 0,
            synced: 0,
            _permit: permit,
        })
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Appends chunks of whole events and gives back the buffers that nobody else has.
    pub(crate) async fn append(&mut self, raw: Vec<Bytes>) -> Result<Vec<BytesMut>, FsError> {
        let with_bytes: Vec<&Bytes> = raw.iter().filter(|raw| !raw.is_empty()).collect();
        for raw in with_bytes.chunks(self.chunks_at_once) {
            let mut stored = Vec::with_capacity(raw.len());
            for &raw in raw {
                if !self.encoder.is_plain() {
                    // A chunk costs milliseconds: others get their turn first.
                    tokio::task::yield_now().await;
                }
                let encoded = self.encoder.encode(raw.clone());
                stored.push(encoded.map_err(|error| self.not_encoded(error))?);
            }
            self.store(stored).await?;
        }
        Ok(raw.into_iter().filter_map(|raw| raw.try_into_mut().ok()).collect())
    }

    fn not_encoded(&self, error: std::io::Error) -> FsError {
        FsError::new(FsErrorKind::Other, "encode", self.path.as_str()).caused_by(error)
    }

    async fn store(&mut self, stored: Vec<Bytes>) -> Result<(), FsError> {
        for stored in &stored {
            self.crc = crc32c::crc32c_append(self.crc, stored);
            self.length += stored.len() as u64;
        }
        sdk_failpoints::before!(Write);
        let write = self.writer.write_all(stored);
        within(self.deadlines.call, "write", &self.path, write).await?;
        sdk_failpoints::after!(Write);
        if self.sync_progress_bytes.is_some_and(|bytes| self.length - self.synced >= bytes) {
            self.synced = self.length;
            let sync = self.writer.sync_progress();
            within(self.deadlines.call, "write back", &self.path, sync).await?;
        }
        Ok(())
    }

    /// Closes the file durably.
    pub(crate) async fn close(mut self) -> Result<Closed, FsError> {
        let end = self.encoder.finish().map_err(|error| self.not_encoded(error))?;
        if !end.is_empty() {
            self.store(vec![end]).await?;
        }
        let Staged { path, writer, deadlines, length, crc, _permit, .. } = self;
        sdk_failpoints::before!(Close);
        if !sdk_failpoints::mutant!(RenameBeforeClose) {
            within(deadlines.close, "close", &path, writer.close()).await?;
        }
        sdk_failpoints::after!(Close);
        Ok(Closed { path, length, crc })
    }
}
