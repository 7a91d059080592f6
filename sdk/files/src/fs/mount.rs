//! Which file system a root is on.

use std::sync::Arc;

use sdk_config::FilesSink;

use super::{FileSystem, FsError, FsErrorKind, LocalDisk};

/// Finds the file system of a root. Cheap to ask: whoever implements it keeps connections.
pub trait FileSystems: Send + Sync + 'static {
    /// The file system that `root` is on. Does not look whether the root is there.
    fn of(&self, root: &str) -> Result<Arc<dyn FileSystem>, FsError>;

    /// The same for a sink, which may have wishes about the files that it makes there.
    fn for_sink(&self, root: &str, spec: &FilesSink) -> Result<Arc<dyn FileSystem>, FsError> {
        let _ = spec;
        self.of(root)
    }
}

/// Every root on the local disks.
#[derive(Debug, Clone, Default)]
pub struct LocalFileSystems {
    disk: Arc<LocalDisk>,
}

impl FileSystems for LocalFileSystems {
    fn of(&self, root: &str) -> Result<Arc<dyn FileSystem>, FsError> {
        if root.starts_with('/') {
            Ok(Arc::clone(&self.disk) as Arc<dyn FileSystem>)
        } else {
            Err(FsError::new(FsErrorKind::Unsupported, "use", root))
        }
    }
}

/// One file system for everything, whatever the root.
impl<F: FileSystem> FileSystems for Arc<F> {
    fn of(&self, _root: &str) -> Result<Arc<dyn FileSystem>, FsError> {
        Ok(Arc::clone(self) as Arc<dyn FileSystem>)
    }
}
