//! A file on HDFS while it grows.

use crate::mount::{Connection, Mount};
use async_trait::async_trait;
use bytes::Bytes;
use hdfs_native::HdfsError;
use hdfs_native::file::FileWriter as NativeWriter;
use sdk_files::fs::{FileWriter, FsError, FsErrorKind};
use std::sync::Arc;
use std::time::Duration;

/// How long it is tried to take away a file that has failed.
const DISCARD_WITHIN: Duration = Duration::from_secs(2);

pub(crate) struct HdfsWriter {
    /// Absent after a call that failed or was dropped. Goes before the connection that it uses.
    file: Option<NativeWriter>,
    connection: Arc<Connection>,
    mount: Arc<Mount>,
    path: String,
    /// The path as the NameNode knows it.
    inside: String,
    block_bytes: u64,
    /// Bytes in the block at the end.
    in_block: u64,
    written: u64,
}

impl HdfsWriter {
    pub(crate) fn new(
        mount: Arc<Mount>,
        connection: Arc<Connection>,
        path: &str,
        inside: &str,
        file: NativeWriter,
        block_bytes: u64,
    ) -> HdfsWriter {
        HdfsWriter {
            mount,
            connection,
            path: path.to_owned(),
            inside: inside.to_owned(),
            file: Some(file),
            block_bytes,
            in_block: 0,
            written: 0,
        }
    }

    fn take(&mut self) -> Result<NativeWriter, FsError> {
        self.file.take().ok_or_else(|| {
            FsError::new(FsErrorKind::Unavailable, "go on writing", self.path.as_str())
        })
    }

    /// Deletes a file that has failed, so that an outage does not fill staging with beginnings.
    /// Nobody will use its name again.
    async fn discard(&self) {
        let call = self.connection.client().delete(&self.inside, false);
        // If it fails, the fence of the token deletes the file.
        let _ = tokio::time::timeout(DISCARD_WITHIN, call).await;
    }

    /// The end of a file: synced, closed, looked at.
    async fn finish(&mut self) -> Result<(), FsError> {
        let mut file = self.take()?;
        let limit = self.mount.deadlines().close;
        let Self { connection, inside, .. } = &*self;
        let client = connection.client();
        let call = async move {
            // A close waits for the DataNodes' memory only.
            file.hsync().await?;
            file.close().await?;
            let status = client.get_file_info(inside).await?;
            Ok::<_, HdfsError>(status.length as u64)
        };
        let length = self.mount.bytes(connection, "close", &self.path, limit, call).await?;
        if length != self.written {
            let why = format!("it has {length} bytes, not {}", self.written);
            return Err(
                FsError::new(FsErrorKind::Unavailable, "close", self.path.as_str()).caused_by(why)
            );
        }
        Ok(())
    }
}

#[async_trait]
impl FileWriter for HdfsWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), FsError> {
        let mut file = self.take()?;
        let length = bytes.len() as u64;
        let (block_bytes, in_block) = (self.block_bytes, self.in_block);
        let call = async move {
            let in_block = write_blocks(&mut file, bytes, block_bytes, in_block).await?;
            Ok::<_, HdfsError>((file, in_block))
        };
        let limit = self.mount.deadlines().write;
        let wrote = self.mount.bytes(&self.connection, "write", &self.path, limit, call).await;
        match wrote {
            Ok((file, in_block)) => {
                self.file = Some(file);
                self.in_block = in_block;
                self.written += length;
                Ok(())
            }
            Err(error) => {
                self.discard().await;
                Err(error)
            }
        }
    }

    async fn sync_progress(&mut self) -> Result<(), FsError> {
        Ok(())
    }

    async fn close(mut self: Box<Self>) -> Result<(), FsError> {
        let finished = self.finish().await;
        if finished.is_err() {
            self.discard().await;
        }
        finished
    }
}

/// Writes, and syncs the end of each block that becomes full: a sync covers the block at the end
/// only. Gives the bytes in that one.
async fn write_blocks(
    file: &mut NativeWriter,
    mut bytes: Bytes,
    block_bytes: u64,
    mut in_block: u64,
) -> Result<u64, HdfsError> {
    while !bytes.is_empty() {
        let room = usize::try_from(block_bytes - in_block).unwrap_or(usize::MAX);
        let part = bytes.split_to(room.min(bytes.len()));
        in_block += part.len() as u64;
        file.write_bytes(part).await?;
        if in_block == block_bytes {
            file.hsync().await?;
            in_block = 0;
        }
    }
    Ok(in_block)
}
