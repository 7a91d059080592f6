//! A log, a shard, and what the tests need around them.

use std::path::Path;
use std::sync::Arc;

use sdk_channel::conformance::{Subject, TestProducer};
use sdk_channel::{
    Capacity, ChannelKind, ChannelOptions, DurableChannel, Remembered, Shard, ShardOptions,
};
use sdk_event::{Level, Lineage};
use sdk_flow::{ChannelSet, ManualClock};
use sdk_wal::{FaultyStorage, Log, LogOptions, MemoryView, View};

/// Some day in 2027.
pub(crate) const NOW_MS: i64 = 1_800_000_000_000;

pub(crate) const LINEAGE: Lineage = Lineage { flow: 7, shard: 0, epoch: 1 };

pub(crate) fn lineage(epoch: u64) -> Lineage {
    Lineage { epoch, ..LINEAGE }
}

/// A log of small segments on a disk in memory. Small caches, so that reads are reads.
pub(crate) fn log_options(storage: &FaultyStorage, view: Arc<dyn View>) -> LogOptions {
    LogOptions {
        storage: Arc::new(storage.clone()),
        view,
        segment_bytes: 64 << 10,
        quota_bytes: Some(64 << 20),
        free_bytes_floor: 0,
        reserve_bytes: 4096,
        cache_bytes: 32 << 10,
        ..LogOptions::new("/log")
    }
}

pub(crate) fn open_log(storage: &FaultyStorage) -> Log {
    open_log_with(storage, Arc::new(MemoryView::new()))
}

/// A log that nothing writes but [`by_hand`].
pub(crate) fn open_log_by_hand(storage: &FaultyStorage, quota_bytes: u64) -> Log {
    let options = LogOptions {
        threads: false,
        quota_bytes: Some(quota_bytes),
        ..log_options(storage, Arc::new(MemoryView::new()))
    };
    Log::open(options).expect("log").0
}

/// Runs something to its end, and writes the log whenever it waits.
pub(crate) async fn by_hand<T>(log: &Log, future: impl Future<Output = T>) -> T {
    let hand = async {
        loop {
            log.drive();
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        value = future => value,
        () = hand => unreachable!(),
    }
}

pub(crate) fn open_log_with(storage: &FaultyStorage, view: Arc<dyn View>) -> Log {
    Log::open(log_options(storage, view)).expect("log").0
}

/// A log in a directory.
pub(crate) fn open_log_at(dir: &Path, view: Arc<dyn View>) -> Log {
    let options = LogOptions {
        view,
        segment_bytes: 1 << 20,
        quota_bytes: Some(256 << 20),
        free_bytes_floor: 0,
        reserve_bytes: 4096,
        ..LogOptions::new(dir)
    };
    Log::open(options).expect("log").0
}

pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(NOW_MS))
}

pub(crate) fn durable(number: u8, name: &str, bytes_max: u64) -> ChannelOptions {
    let capacity = Capacity::new(name, bytes_max, u64::MAX);
    ChannelOptions { number, kind: ChannelKind::Durable, capacity }
}

pub(crate) fn memory(number: u8, name: &str, bytes_max: u64) -> ChannelOptions {
    ChannelOptions { kind: ChannelKind::Memory, ..durable(number, name, bytes_max) }
}

pub(crate) fn options(log: &Log, channels: Vec<ChannelOptions>) -> ShardOptions {
    ShardOptions {
        channels,
        ..ShardOptions::new(LINEAGE, Level::Local, Some(log.clone()), clock())
    }
}

pub(crate) async fn open_shard(log: &Log, channels: Vec<ChannelOptions>) -> Arc<Shard> {
    let remembered = Remembered::nothing(LINEAGE, None);
    Arc::new(Shard::open(options(log, channels), remembered).await.expect("shard"))
}

/// A durable channel of its own log, in memory.
pub(crate) async fn durable_channel(bytes_max: u64) -> DurableChannel {
    let log = open_log(&FaultyStorage::new(1));
    DurableChannel::new(open_shard(&log, vec![durable(0, "main", bytes_max)]).await, 0)
}

/// What the log has of the shard's lineages, oldest first.
pub(crate) fn sealed(log: &Log) -> Vec<(Lineage, u64)> {
    log.lineages().iter().map(|extent| (extent.lineage, extent.end)).collect()
}

/// A producer with a session at the shard.
pub(crate) async fn producer(shard: &Arc<Shard>, number: u8) -> TestProducer {
    TestProducer::open(&DurableChannel::new(Arc::clone(shard), 0) as &dyn Subject, number).await
}

pub(crate) fn channels(numbers: &[u8]) -> ChannelSet {
    numbers.iter().copied().collect()
}
