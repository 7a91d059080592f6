//! Both channels do what every channel must.

use std::sync::Arc;

use sdk_channel::conformance::{Subject, check};
use sdk_channel::{Capacity, DurableChannel, MemoryChannel, SledView};
use sdk_wal::FaultyStorage;

use crate::harness::{LINEAGE, clock, durable, durable_channel, open_log_at, open_shard};

async fn memory(bytes: u64) -> Box<dyn Subject> {
    let capacity = Capacity::new("memory", bytes, u64::MAX);
    Box::new(MemoryChannel::open(LINEAGE, capacity, clock()).await.expect("channel"))
}

#[tokio::test]
async fn the_memory_channel_conforms() {
    check(memory).await;
}

#[tokio::test]
async fn the_durable_channel_conforms() {
    check(|bytes| async move { Box::new(durable_channel(bytes).await) as Box<dyn Subject> }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_durable_channel_conforms_on_a_real_disk_with_sled() {
    let dir = tempfile::tempdir().expect("directory");
    let next = std::sync::atomic::AtomicU32::new(0);
    let new = |bytes| {
        let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dir = dir.path().join(number.to_string());
        async move {
            let view = SledView::open(dir.join("view")).expect("view");
            let log = open_log_at(&dir.join("log"), Arc::new(view));
            let shard = open_shard(&log, vec![durable(0, "main", bytes)]).await;
            Box::new(DurableChannel::new(shard, 0)) as Box<dyn Subject>
        }
    };
    check(new).await;
}

#[tokio::test]
async fn a_memory_channel_beside_a_durable_one_conforms() {
    // The same suite, with a log record for each put that the channel is not in.
    let new = |bytes| async move {
        let log = crate::harness::open_log(&FaultyStorage::new(1));
        let channels = vec![crate::harness::memory(0, "copy", bytes), durable(1, "main", 1 << 30)];
        let shard = open_shard(&log, channels).await;
        Box::new(DurableChannel::new(shard, 0)) as Box<dyn Subject>
    };
    check(new).await;
}
