//! A file on HDFS being read.

use crate::mount::{Connection, Mount};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use hdfs_native::HdfsError;
use hdfs_native::file::FileReader as NativeReader;
use sdk_files::fs::{FileReader, FsError, FsErrorKind};
use std::sync::Arc;

pub(crate) struct HdfsReader {
    /// Absent after a call that failed or was dropped. Goes before the connection that it uses.
    stream: Option<BoxStream<'static, Result<Bytes, HdfsError>>>,
    connection: Arc<Connection>,
    mount: Arc<Mount>,
    path: String,
    /// What came and was not asked for yet.
    rest: Bytes,
}

impl HdfsReader {
    pub(crate) fn new(
        mount: Arc<Mount>,
        connection: Arc<Connection>,
        path: &str,
        file: &NativeReader,
    ) -> HdfsReader {
        let stream = file.read_range_stream(0, file.file_length()).boxed();
        let path = path.to_owned();
        HdfsReader { mount, connection, path, stream: Some(stream), rest: Bytes::new() }
    }
}

#[async_trait]
impl FileReader for HdfsReader {
    async fn read(&mut self, bytes_max: usize) -> Result<Bytes, FsError> {
        if self.rest.is_empty() {
            let Some(mut stream) = self.stream.take() else {
                return Err(FsError::new(FsErrorKind::Unavailable, "read", self.path.as_str()));
            };
            let call = async move {
                loop {
                    let next = stream.next().await.transpose()?;
                    match next {
                        Some(bytes) if bytes.is_empty() => (),
                        next => return Ok::<_, HdfsError>((stream, next)),
                    }
                }
            };
            let limit = self.mount.deadlines().read;
            let read = self.mount.bytes(&self.connection, "read", &self.path, limit, call).await;
            let (stream, next) = read?;
            self.stream = Some(stream);
            self.rest = next.unwrap_or_default();
        }
        Ok(self.rest.split_to(bytes_max.min(self.rest.len())))
    }
}
