//! A log with its threads, on the disk of this machine.

use crate::support::{body, entry, lineage, read};
use sdk_wal::{AppendError, Log, LogOptions, OpenError, Recovery};
use std::path::Path;

fn open(dir: &Path) -> (Log, Recovery) {
    Log::open(options(dir)).unwrap()
}

fn options(dir: &Path) -> LogOptions {
    LogOptions {
        quota_bytes: Some(64 << 20),
        segment_bytes: 2 << 20,
        free_bytes_floor: 0,
        reserve_bytes: 1 << 20,
        cache_bytes: 1 << 20,
        ..LogOptions::new(dir)
    }
}

#[test]
fn many_producers_and_a_reader_of_each() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(&dir.path().join("a/b/log"));
    let produce = |log: Log, flow: u64| {
        for round in 0..40 {
            let first = round * 30;
            let answers: Vec<_> = (0..10)
                .map(|n| {
                    let length = if n == 0 { 40_000 } else { 500 };
                    log.append(entry(flow, first + n * 3, 3, length)).unwrap()
                })
                .collect();
            for answer in answers {
                answer.wait().unwrap();
            }
        }
    };
    let follow = |log: Log, flow: u64| {
        let mut reader = log.reader(lineage(flow), 0);
        let mut end = log.watch(lineage(flow));
        while reader.cursor() < 1200 {
            match reader.next().unwrap() {
                Some(record) => {
                    let expected = body(flow, record.first_offset, record.body.len());
                    assert_eq!(record.body, expected);
                    if record.first_offset % 300 == 0 {
                        log.raise_floor(lineage(flow), record.first_offset);
                    }
                }
                None => wait(&mut end),
            }
        }
    };
    std::thread::scope(|scope| {
        for flow in 0..6 {
            let (producer, follower) = (log.clone(), log.clone());
            scope.spawn(move || produce(producer, flow));
            scope.spawn(move || follow(follower, flow));
        }
    });
    log.stop();
    let (log, recovery) = open(&dir.path().join("a/b/log"));
    assert_eq!((recovery.records_cut, recovery.quarantined.len()), (0, 0));
    for flow in 0..6 {
        assert_eq!(log.end(lineage(flow)), 1200);
        assert_eq!(read(&mut log.reader(lineage(flow), 900)).unwrap().len(), 100);
    }
}

/// Blocks until the end moves.
fn wait(end: &mut tokio::sync::watch::Receiver<u64>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(end.changed()).unwrap();
}

#[test]
fn an_answer_can_be_awaited() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let answers: Vec<_> = (0..100).map(|n| log.append(entry(1, n, 1, 10)).unwrap()).collect();
        for answer in answers {
            answer.await.unwrap();
        }
    });
    assert_eq!(log.end(lineage(1)), 100);
}

#[test]
fn the_directory_is_locked_between_processes_too() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let Err(OpenError::Locked { holder, .. }) = Log::open(options(dir.path())) else { panic!() };
    assert_eq!(holder, format!("process {}", std::process::id()));
    drop(log);
    open(dir.path());
}

#[test]
fn a_stopped_log_refuses_and_its_readers_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    log.append(entry(1, 0, 1, 100)).unwrap().wait().unwrap();
    let (other, mut reader) = (log.clone(), log.reader(lineage(1), 0));
    log.stop();
    assert_eq!(other.append(entry(1, 1, 1, 1)).unwrap_err(), AppendError::Stopped);
    assert_eq!(reader.next().unwrap().unwrap().body, body(1, 0, 100));
}

#[test]
fn metrics_have_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let kind_name = |kind| if kind == 1 { "put" } else { "other" };
    let (log, _) = Log::open(LogOptions { kind_name, ..options(dir.path()) }).unwrap();
    log.append(entry(1, 0, 1, 100)).unwrap().wait().unwrap();
    let mut registry = prometheus_client::registry::Registry::default();
    log.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        "collector_log_put_records_total{kind=\"put\"} 1",
        "collector_log_flushes_total 1",
        "collector_log_appends_total 1",
        "collector_log_fsync_seconds_count 1",
        "collector_log_quarantined_records_total 0",
        "collector_log_segments 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
}
