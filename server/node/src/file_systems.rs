//! Where finals can go: the disks of this machine, and HDFS.

use sdk_config::{FilesSink, HdfsSettings};
use sdk_files::fs::{FileSystem, FileSystems, FsError, LocalFileSystems};
use sdk_flow::Clock;
use server_hdfs::{Deadlines, HdfsFileSystems, HdfsOptions, Metrics};
use std::sync::Arc;

/// The file systems of a node. Clones share the connections.
#[derive(Clone)]
pub(crate) struct NodeFileSystems {
    local: LocalFileSystems,
    hdfs: HdfsFileSystems,
}

impl NodeFileSystems {
    /// As the node is told. Connects to nothing yet.
    pub(crate) fn new(settings: &HdfsSettings, metrics: Metrics, clock: Arc<dyn Clock>) -> Self {
        let options = HdfsOptions {
            configuration: settings.conf_dir.as_ref().map(Into::into),
            user: settings.user.clone(),
            kerberos_principal: settings.kerberos_principal.clone(),
            kerberos_keytab: settings.kerberos_keytab.clone(),
            deadlines: Deadlines::default(),
            clock,
        };
        let hdfs = HdfsFileSystems::new(options, metrics);
        Self { local: LocalFileSystems::default(), hdfs }
    }

    fn which(&self, root: &str) -> &dyn FileSystems {
        if HdfsFileSystems::has(root) { &self.hdfs } else { &self.local }
    }
}

impl FileSystems for NodeFileSystems {
    fn of(&self, root: &str) -> Result<Arc<dyn FileSystem>, FsError> {
        self.which(root).of(root)
    }

    fn for_sink(&self, root: &str, spec: &FilesSink) -> Result<Arc<dyn FileSystem>, FsError> {
        self.which(root).for_sink(root, spec)
    }
}
