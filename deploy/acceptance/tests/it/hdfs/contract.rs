//! HDFS keeps what the sink asks of any file system.

use deploy_acceptance::Hdfs;
use sdk_config::{ByteSize, FilesSink};
use sdk_files::fs::{FileSystem, FileSystems};
use sdk_flow::SystemClock;
use server_hdfs::{Deadlines, HdfsFileSystems, HdfsOptions, Metrics};
use std::sync::Arc;

/// The file system that a node would use there.
fn file_system(hdfs: &Hdfs) -> Arc<dyn FileSystem> {
    file_systems(hdfs.variable(CONFIGURATION))
        .of(&format!("{}/any", hdfs.url()))
        .expect("a file system")
}

/// As [`file_system`], for a sink that asks for something.
pub(super) fn file_system_of(hdfs: &Hdfs, root: &str, spec: &FilesSink) -> Arc<dyn FileSystem> {
    file_systems(hdfs.variable(CONFIGURATION)).for_sink(root, spec).expect("a file system")
}

/// Where Hadoop's configuration is, in the environment.
pub(super) const CONFIGURATION: &str = "HADOOP_CONF_DIR";

pub(super) fn file_systems(configuration: &str) -> HdfsFileSystems {
    let options = HdfsOptions {
        configuration: Some(configuration.into()),
        user: None,
        kerberos_principal: None,
        kerberos_keytab: None,
        deadlines: Deadlines::default(),
        clock: Arc::new(SystemClock::new()),
    };
    HdfsFileSystems::new(options, Metrics::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn hdfs_is_a_file_system_as_any_other() {
    let Some(hdfs) = Hdfs::shared() else { return };
    let root = format!("{}/contract/root", hdfs.url());
    sdk_files::fs::conformance::check(file_system(hdfs), &root).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_several_blocks_is_whole_and_each_block_synced() {
    let Some(hdfs) = Hdfs::shared() else { return };
    let spec = FilesSink {
        block_size: Some(ByteSize::mib(1)),
        replication: Some(2),
        ..FilesSink::default()
    };
    let root = format!("{}/blocks/root", hdfs.url());
    let fs = file_system_of(hdfs, &root, &spec);
    fs.mkdirs(&root).await.expect("make the root");
    let path = format!("{root}/file");
    let mut writer = fs.create(&path).await.expect("create");
    // Ends of writes and of blocks meet at times and miss each other at others.
    let mut sent = Vec::new();
    for (number, length) in [1 << 20, 300_000, 748_576, 3_000_000, 1].into_iter().enumerate() {
        let chunk: Vec<u8> = (0..length).map(|at: usize| (at * 31 + number) as u8).collect();
        sent.extend_from_slice(&chunk);
        writer.write(chunk.into()).await.expect("write");
    }
    writer.close().await.expect("close");
    let mut reader = fs.open(&path).await.expect("open");
    let mut read = Vec::new();
    loop {
        let bytes = reader.read(1 << 20).await.expect("read");
        if bytes.is_empty() {
            break;
        }
        read.extend_from_slice(&bytes);
    }
    assert!(read == sent, "the file has changed: {} of {} bytes", read.len(), sent.len());
    let said = hdfs.fs(&["-stat", "%o %r %a %b", "/blocks/root/file"]);
    assert_eq!(said.trim(), format!("1048576 2 644 {}", sent.len()));
}
