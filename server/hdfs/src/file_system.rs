//! `FileSystem` on HDFS.

use crate::configuration::Configuration;
use crate::mount::{Connection, Mount, Trouble};
use crate::mounts::SCHEME;
use crate::reader::HdfsReader;
use crate::writer::HdfsWriter;
use async_trait::async_trait;
use hdfs_native::WriteOptions;
use hdfs_native::client::FileStatus;
use sdk_files::fs::{
    Capabilities, Entry, EntryKind, FileReader, FileSystem, FileWriter, FsError, FsErrorKind,
    Status,
};
use std::sync::Arc;

/// A writer has up to a hundred packets of 64 KiB on their way.
const WRITER_BYTES: usize = 6 << 20;

/// Each with what a writer costs.
const OPEN_FILES_MAX: usize = 32;

/// HDFS, with what one sink wants of the files that it makes there.
pub struct Hdfs {
    mount: Arc<Mount>,
    wishes: Wishes,
}

/// What a sink wants of its files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wishes {
    pub(crate) replication: Option<u32>,
    pub(crate) block_bytes: Option<u64>,
    pub(crate) roll_bytes: u64,
}

impl Hdfs {
    pub(crate) fn new(mount: Arc<Mount>, wishes: Wishes) -> Hdfs {
        Hdfs { mount, wishes }
    }

    /// How a file is made: its options, and the size of its blocks among them.
    fn how(&self, configuration: &Configuration) -> (WriteOptions, u64) {
        let Wishes { replication, block_bytes, roll_bytes } = self.wishes;
        let block_bytes = block_bytes.unwrap_or_else(|| configuration.block_bytes(roll_bytes));
        let mut options = WriteOptions::default()
            .block_size(block_bytes)
            .permission(configuration.file_mode())
            .overwrite(false)
            // Else a writer whose staging was taken away would make it again.
            .create_parent(false);
        options.replication = replication.or_else(|| configuration.replication());
        (options, block_bytes)
    }

    /// The connection, and the path as the NameNode knows it.
    fn at<'a>(
        &self,
        operation: &'static str,
        path: &'a str,
    ) -> Result<(Arc<Connection>, &'a str), FsError> {
        let inside = inside(path).ok_or_else(|| {
            FsError::new(FsErrorKind::InvalidPath, operation, path).caused_by("it is not on HDFS")
        })?;
        Ok((self.mount.connection(operation, path)?, inside))
    }

    async fn look(&self, path: &str) -> Result<Option<FileStatus>, FsError> {
        let (connection, inside) = self.at("look at", path)?;
        let call = connection.client().get_file_info(inside);
        let limit = self.mount.deadlines().call;
        match self.mount.name(&connection, "look at", path, limit, call).await {
            Ok(status) => Ok(Some(status)),
            Err(Trouble { error, .. }) if error.kind() == FsErrorKind::NotFound => Ok(None),
            Err(trouble) => Err(trouble.into_error()),
        }
    }
}

#[async_trait]
impl FileSystem for Hdfs {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            open_files_max: OPEN_FILES_MAX,
            writer_bytes: WRITER_BYTES,
            // The DataNodes write back by themselves.
            sync_progress_bytes: None,
            chunks_at_once: 1,
            name_bytes_max: 255,
        }
    }

    async fn mkdirs(&self, path: &str) -> Result<(), FsError> {
        let (connection, inside) = self.at("make directory", path)?;
        let mode = connection.configuration().directory_mode();
        let call = connection.client().mkdirs(inside, mode, true);
        let limit = self.mount.deadlines().call;
        Ok(self.mount.name(&connection, "make directory", path, limit, call).await?)
    }

    async fn create(&self, path: &str) -> Result<Box<dyn FileWriter>, FsError> {
        let (connection, inside) = self.at("create", path)?;
        let (options, block_bytes) = self.how(connection.configuration());
        let call = connection.client().create(inside, options);
        let limit = self.mount.deadlines().call;
        let file = self.mount.name(&connection, "create", path, limit, call).await?;
        let mount = Arc::clone(&self.mount);
        Ok(Box::new(HdfsWriter::new(mount, connection, path, inside, file, block_bytes)))
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        let operation = "rename a file to";
        let (connection, target) = self.at(operation, to)?;
        let source = inside(from).filter(|_| authority(from) == authority(to));
        let Some(source) = source else {
            return Err(FsError::new(FsErrorKind::OtherVolume, operation, to));
        };
        let call = connection.client().rename(source, target, false);
        let limit = self.mount.deadlines().call;
        match self.mount.name(&connection, operation, to, limit, call).await {
            Ok(()) => Ok(()),
            // A directory at the target is answered with an exception that may mean anything.
            Err(trouble) if trouble.plain_io && self.look(to).await?.is_some_and(|it| it.isdir) => {
                Err(FsError::new(FsErrorKind::AlreadyExists, operation, to)
                    .caused_by(trouble.into_error()))
            }
            Err(trouble) => Err(trouble.into_error()),
        }
    }

    async fn status(&self, path: &str) -> Result<Option<Status>, FsError> {
        Ok(self.look(path).await?.map(|status| status_of(&status)))
    }

    async fn delete(&self, path: &str) -> Result<bool, FsError> {
        let (connection, inside) = self.at("delete", path)?;
        let call = connection.client().delete(inside, true);
        let limit = self.mount.deadlines().close;
        Ok(self.mount.name(&connection, "delete", path, limit, call).await?)
    }

    /// A file that has lost its directory cannot be written, closed or renamed, and none can be made
    /// in a directory that is not there: so to delete it is to fence it. (Neither a rename nor a
    /// recovered lease would do.)
    async fn fence(&self, directory: &str) -> Result<(), FsError> {
        let (connection, inside) = self.at("fence", directory)?;
        let call = connection.client().delete(inside, true);
        let limit = self.mount.deadlines().close;
        self.mount.name(&connection, "fence", directory, limit, call).await?;
        Ok(())
    }

    async fn list(&self, directory: &str) -> Result<Vec<Entry>, FsError> {
        let (connection, inside) = self.at("list", directory)?;
        let call = connection.client().list_status(inside, false);
        let limit = self.mount.deadlines().call;
        let listed = self.mount.name(&connection, "list", directory, limit, call).await?;
        // A file is listed as itself.
        if listed.iter().any(|status| status.path == inside) {
            return Err(FsError::new(FsErrorKind::NotADirectory, "list", directory));
        }
        let entries = listed.into_iter().filter_map(|status| {
            let (_, name) = status.path.rsplit_once('/')?;
            Some(Entry { name: name.to_owned(), status: status_of(&status) })
        });
        Ok(entries.collect())
    }

    async fn open(&self, path: &str) -> Result<Box<dyn FileReader>, FsError> {
        let (connection, inside) = self.at("open", path)?;
        let call = connection.client().read(inside);
        let limit = self.mount.deadlines().call;
        let file = self.mount.name(&connection, "open", path, limit, call).await?;
        Ok(Box::new(HdfsReader::new(Arc::clone(&self.mount), connection, path, &file)))
    }

    /// Nothing is left to do: a NameNode answers a change of names when its journal has it, and a
    /// file's bytes were synced before it was closed.
    async fn make_durable(&self, _files: &[String], _root: &str) -> Result<(), FsError> {
        Ok(())
    }
}

/// What stands behind `hdfs://AUTHORITY`.
fn inside(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(SCHEME)?;
    rest.find('/').map(|slash| &rest[slash..])
}

fn authority(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(SCHEME)?;
    rest.find('/').map(|slash| &rest[..slash])
}

fn status_of(status: &FileStatus) -> Status {
    if status.isdir {
        Status { kind: EntryKind::Directory, length: 0 }
    } else {
        Status { kind: EntryKind::File, length: status.length as u64 }
    }
}
