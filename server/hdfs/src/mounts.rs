//! Every HDFS that a process uses, each with one connection.

use crate::deadlines::Deadlines;
use crate::file_system::{Hdfs, Wishes};
use crate::metrics::Metrics;
use crate::mount::Mount;
use sdk_config::FilesSink;
use sdk_files::fs::{FileSystem, FileSystems, FsError, FsErrorKind};
use sdk_flow::Clock;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// What roots on HDFS begin with.
pub(crate) const SCHEME: &str = "hdfs://";

/// How HDFS is reached: what Hadoop's own files do not say.
#[derive(Clone)]
pub struct HdfsOptions {
    /// Where `core-site.xml` and `hdfs-site.xml` are, instead of where `HADOOP_CONF_DIR` says.
    pub configuration: Option<PathBuf>,
    /// Whom we are there without Kerberos, instead of whom `HADOOP_USER_NAME` says.
    pub user: Option<String>,
    /// Whom we are there with Kerberos, instead of whom the ticket cache says.
    pub kerberos_principal: Option<String>,
    /// The keys for that; tickets are then renewed without anybody's help.
    pub kerberos_keytab: Option<String>,
    /// How long calls may take.
    pub deadlines: Deadlines,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// The file systems of roots that begin with `hdfs://`. Clones share the connections.
#[derive(Clone)]
pub struct HdfsFileSystems {
    options: HdfsOptions,
    metrics: Metrics,
    mounts: Arc<Mutex<BTreeMap<String, Arc<Mount>>>>,
}

impl HdfsFileSystems {
    /// None connected yet. Hadoop's files are read for each connection.
    pub fn new(options: HdfsOptions, metrics: Metrics) -> HdfsFileSystems {
        HdfsFileSystems { options, metrics, mounts: Arc::default() }
    }

    /// Whether a root is on HDFS.
    pub fn has(root: &str) -> bool {
        root.starts_with(SCHEME)
    }

    fn mount(&self, root: &str) -> Result<Arc<Mount>, FsError> {
        let refused = |kind, why: &'static str| FsError::new(kind, "use", root).caused_by(why);
        let rest = root
            .strip_prefix(SCHEME)
            .ok_or_else(|| refused(FsErrorKind::Unsupported, "it is not on HDFS"))?;
        let (authority, _) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.is_empty() {
            return Err(refused(FsErrorKind::InvalidPath, "it names no file system"));
        }
        let mut mounts = self.mounts.lock().expect("no panic while the lock is held");
        if let Some(mount) = mounts.get(authority) {
            return Ok(Arc::clone(mount));
        }
        let mount = Arc::new(Mount::new(authority, self.options.clone(), self.metrics.clone()));
        mounts.insert(authority.to_owned(), Arc::clone(&mount));
        Ok(mount)
    }
}

impl FileSystems for HdfsFileSystems {
    fn of(&self, root: &str) -> Result<Arc<dyn FileSystem>, FsError> {
        let mount = self.mount(root)?;
        let wishes = Wishes { replication: None, block_bytes: None, roll_bytes: 0 };
        Ok(Arc::new(Hdfs::new(mount, wishes)))
    }

    fn for_sink(&self, root: &str, spec: &FilesSink) -> Result<Arc<dyn FileSystem>, FsError> {
        let mount = self.mount(root)?;
        let wishes = Wishes {
            replication: spec.replication,
            block_bytes: spec.block_size.map(|size| size.bytes()),
            roll_bytes: spec.roll_size.bytes(),
        };
        Ok(Arc::new(Hdfs::new(mount, wishes)))
    }
}
