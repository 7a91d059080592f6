//! Logs to test, and records to put in them.

use sdk_event::{EventId, Lineage, ProducerId};
use sdk_wal::{
    AppendError, Body, Entry, FaultyStorage, Log, LogOptions, LogReadError, LogReader, LogRecord,
    MemoryView, OpenError, Position, Purpose, Recovery,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Where a log on the faulty disk lives.
pub(crate) const DIR: &str = "/data/log";

/// A small generator, the same on every machine.
#[derive(Clone)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Options for a small log without threads on a faulty disk.
pub(crate) fn options(storage: &FaultyStorage, seed: u64) -> LogOptions {
    let lives = AtomicU64::new(seed);
    LogOptions {
        storage: Arc::new(storage.clone()),
        view: Arc::new(MemoryView::new()),
        quota_bytes: None,
        segment_bytes: SEGMENT as u32,
        free_bytes_floor: 0,
        reserve_bytes: 0,
        cache_bytes: 0,
        threads: false,
        monotonic: Arc::new(|| Duration::ZERO),
        random: Arc::new(move || Rng(lives.fetch_add(1, Ordering::Relaxed) ^ 0x5eed).next()),
        ..LogOptions::new(DIR)
    }
}

/// The length of a segment in most tests.
pub(crate) const SEGMENT: u64 = 64 << 10;

pub(crate) fn open(storage: &FaultyStorage, seed: u64) -> (Log, Recovery) {
    try_open(storage, seed).expect("a log opens on a disk that works")
}

pub(crate) fn try_open(storage: &FaultyStorage, seed: u64) -> Result<(Log, Recovery), OpenError> {
    Log::open(options(storage, seed))
}

pub(crate) fn lineage(flow: u64) -> Lineage {
    Lineage { flow, shard: 1, epoch: 1 }
}

/// A record whose body can be told from every other's.
pub(crate) fn entry(flow: u64, first_offset: u64, count: u32, length: usize) -> Entry {
    let producer = ProducerId([flow as u8; 16]);
    Entry {
        lineage: lineage(flow),
        kind: 1,
        purpose: Purpose::Ingest,
        first_offset,
        count,
        put_time_ms: first_offset as i64,
        identity: Some(EventId { producer, generation: 1, sequence: first_offset }),
        body: body(flow, first_offset, length),
    }
}

/// In two chunks, one of them long.
pub(crate) fn body(flow: u64, first_offset: u64, length: usize) -> Body {
    let mut rng = Rng(flow << 48 ^ first_offset);
    let bytes: Vec<u8> = (0..length).map(|_| rng.next() as u8).collect();
    let bytes = bytes::Bytes::from(bytes);
    let cut = length.min(20);
    [bytes.slice(..cut), bytes.slice(cut..)].into_iter().collect()
}

/// Appends one record and waits for it.
pub(crate) fn put(log: &Log, entry: Entry) -> Result<Position, AppendError> {
    let appended = log.append(entry)?;
    log.drive();
    appended.wait()
}

/// All records of a lineage from an offset on.
pub(crate) fn read(reader: &mut LogReader) -> Result<Vec<LogRecord>, LogReadError> {
    let mut records = Vec::new();
    while let Some(record) = reader.next()? {
        records.push(record);
    }
    Ok(records)
}

/// The offsets that a lineage's records cover, checked against what was put.
pub(crate) fn offsets(log: &Log, flow: u64, from: u64) -> Vec<u64> {
    let records = read(&mut log.reader(lineage(flow), from)).expect("all of it can be read");
    let mut next = None;
    for record in &records {
        let start = record.first_offset;
        assert!(next.is_none_or(|next| next == start), "a gap before {start}");
        assert_eq!(record.body, body(flow, start, record.body.len()), "the body of {start}");
        next = Some(record.end());
    }
    records.iter().map(|record| record.first_offset).collect()
}

/// The segments of a log on the faulty disk, ascending.
pub(crate) fn segments(storage: &FaultyStorage) -> Vec<PathBuf> {
    use sdk_wal::Storage;
    let entries = storage.list(Path::new(DIR)).expect("the directory is there");
    let names = entries.into_iter().map(|entry| entry.name);
    let mut paths: Vec<PathBuf> = names
        .filter(|name| name.ends_with(".segment"))
        .map(|name| Path::new(DIR).join(name))
        .collect();
    paths.sort();
    paths
}

/// Where bytes stand in a file.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<u64> {
    haystack.windows(needle.len()).position(|window| window == needle).map(|at| at as u64)
}
