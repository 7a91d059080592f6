//! Floors and cuts free segments; what is left of a full log is copied forward.

use crate::support::{DIR, SEGMENT, entry, lineage, offsets, open, options, put, read, segments};
use sdk_wal::{
    AppendError, Entry, Fault, Faults, FaultyStorage, FullReason, Log, LogOptions, LogReadError,
    Mark, Purpose, Storage,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Appends records of one offset until the log has so many segments.
fn fill(log: &Log, flow: u64, segments: usize) -> u64 {
    let mut offset = log.end(lineage(flow));
    while log.usage().segments < segments {
        put(log, entry(flow, offset, 1, 6000)).unwrap();
        offset += 1;
    }
    offset
}

fn spares(storage: &FaultyStorage) -> usize {
    let entries = storage.list(Path::new(DIR)).unwrap();
    entries.iter().filter(|entry| entry.name.ends_with(".spare")).count()
}

#[test]
fn segments_below_the_floors_are_used_again() {
    let storage = FaultyStorage::new(1);
    let (log, _) = open(&storage, 1);
    let end = fill(&log, 1, 9);
    log.raise_floor(lineage(1), end - 3);
    log.drive();
    let usage = log.usage();
    assert!(usage.segments <= 2, "{usage:?}");
    assert_eq!(spares(&storage), 9 - usage.segments);
    assert_eq!(segments(&storage).len(), usage.segments + 1);
    let files = || storage.list(Path::new(DIR)).unwrap().len();
    let before = files();
    let end = fill(&log, 1, 4);
    assert!(files() <= before, "no new file while there are old ones");
    assert_eq!(offsets(&log, 1, end - 5).len(), 5);
    drop(log);
    storage.power_cut();
    let (log, recovery) = open(&storage, 2);
    assert_eq!(log.end(lineage(1)), end);
    assert_eq!(recovery.quarantined, []);
    let lost = read(&mut log.reader(lineage(1), 0));
    assert!(matches!(lost, Err(LogReadError::Missing { from: 0, .. })), "{lost:?}");
    assert_eq!(offsets(&log, 1, end - 5).len(), 5);
}

/// As on a machine that is brought back from an image of its memory. A file that is used again is full of
/// flushes: were they taken for this life's, the torn last one would not be the last.
#[test]
fn an_earlier_life_never_counts_even_if_randomness_repeats_itself() {
    for seed in 0..100 {
        let storage = FaultyStorage::new(seed);
        let open = || {
            let random = Arc::new(|| 42);
            Log::open(LogOptions { random, ..options(&storage, 1) }).unwrap()
        };
        let (log, _) = open();
        let mut end = fill(&log, 1, 6);
        for _ in 0..=seed % 7 {
            log.raise_floor(lineage(1), end - 1);
            log.drive();
            put(&log, entry(1, end, 1, 6000)).unwrap();
            end += 1;
        }
        let at_step = Some((storage.steps() + 1 + seed % 2, Fault::PowerCut));
        storage.set_faults(Faults { at_step, ..Faults::default() });
        put(&log, entry(1, end, 1, 6000)).unwrap_err();
        drop(log);
        storage.power_cut();
        let (log, recovery) = open();
        assert_eq!(recovery.quarantined, vec![], "{seed}");
        assert!((end..=end + 1).contains(&log.end(lineage(1))), "{seed}");
        assert_eq!(offsets(&log, 1, end - 1)[0], end - 1);
    }
}

#[test]
fn one_needed_record_keeps_its_segment_and_no_other() {
    let storage = FaultyStorage::new(1);
    let (log, _) = open(&storage, 1);
    put(&log, entry(2, 0, 1, 100)).unwrap();
    let end = fill(&log, 1, 6);
    log.raise_floor(lineage(1), end);
    log.drive();
    assert_eq!(log.usage().segments, 2, "the first and the last");
    assert_eq!(offsets(&log, 2, 0), [0]);
    log.forget(lineage(2));
    log.drive();
    assert_eq!(log.usage().segments, 1);
    assert_eq!(log.lineage(lineage(2)), None);
    assert!(read(&mut log.reader(lineage(2), 0)).unwrap().is_empty());
}

#[test]
fn what_is_cut_is_void() {
    let storage = FaultyStorage::new(1);
    let cached = LogOptions { cache_bytes: 1 << 20, ..options(&storage, 1) };
    let (log, _) = Log::open(cached).unwrap();
    let end = fill(&log, 1, 5);
    let mut reader = log.reader(lineage(1), 0);
    reader.next().unwrap().unwrap();
    log.cut(lineage(1), 3);
    assert_eq!(log.end(lineage(1)), 3);
    assert_eq!(read(&mut reader).unwrap().len(), 2, "what was read ahead is void too");
    assert_eq!(offsets(&log, 1, 0), [0, 1, 2]);
    assert_eq!(put(&log, entry(1, end, 1, 10)), Err(AppendError::Cut { end: 3 }));
    log.drive();
    assert_eq!(log.usage().segments, 2, "the first, and the one being written");
    log.cut(lineage(1), 9);
    assert_eq!(log.end(lineage(1)), 3, "a later cut is no way back");
}

#[test]
fn one_stuck_lineage_does_not_pin_the_disk() {
    let storage = FaultyStorage::new(1);
    let (log, _) =
        Log::open(LogOptions { quota_bytes: Some(16 * SEGMENT), ..options(&storage, 1) }).unwrap();
    let (mut stuck, mut flowing) = (0, 0);
    for _ in 0..60 {
        put(&log, entry(2, stuck, 1, 700)).unwrap();
        stuck += 1;
        for _ in 0..9 {
            put(&log, entry(1, flowing, 1, 6000)).unwrap();
            flowing += 1;
        }
        log.raise_floor(lineage(1), flowing);
        log.drive();
    }
    let usage = log.usage();
    assert!(usage.used_bytes <= usage.quota_bytes * 6 / 10, "{usage:?}");
    let all: Vec<u64> = (0..stuck).collect();
    assert_eq!(offsets(&log, 2, 0), all);
    drop(log);
    storage.power_cut();
    let (log, recovery) = open(&storage, 2);
    assert_eq!(recovery.quarantined, []);
    assert_eq!(log.end(lineage(2)), stuck);
    assert_eq!(offsets(&log, 2, 0), all);
}

#[test]
fn what_is_void_is_not_copied_forward() {
    let storage = FaultyStorage::new(1);
    let (log, _) =
        Log::open(LogOptions { quota_bytes: Some(16 * SEGMENT), ..options(&storage, 1) }).unwrap();
    for offset in 0..4 {
        put(&log, entry(2, offset, 1, 700)).unwrap();
    }
    log.cut(lineage(2), 2);
    let (mut stuck, mut flowing) = (0, 0);
    for _ in 0..60 {
        put(&log, entry(3, stuck, 1, 700)).unwrap();
        stuck += 1;
        for _ in 0..9 {
            put(&log, entry(1, flowing, 1, 6000)).unwrap();
            flowing += 1;
        }
        log.raise_floor(lineage(1), flowing);
        log.drive();
    }
    drop(log);
    storage.power_cut();
    // Nobody has cut it yet in this life.
    let (log, _) = open(&storage, 2);
    assert_eq!(log.end(lineage(2)), 2, "the rest went with its segment");
    assert_eq!(offsets(&log, 2, 0), [0, 1]);
}

#[test]
fn marks_refuse_by_purpose_and_room_comes_back() {
    let storage = FaultyStorage::new(1);
    let (log, _) =
        Log::open(LogOptions { quota_bytes: Some(20 * SEGMENT), ..options(&storage, 1) }).unwrap();
    let fill = |purpose: Purpose| -> (u64, AppendError) {
        loop {
            let offset = log.end(lineage(1));
            let entry = Entry { purpose, ..entry(1, offset, 1, 6000) };
            if let Err(error) = put(&log, entry) {
                return (log.usage().used_bytes * 100 / log.usage().quota_bytes, error);
            }
        }
    };
    let full = |reason| AppendError::Full { reason };
    let (percent, error) = fill(Purpose::Ingest);
    assert_eq!((percent / 5, error), (17, full(FullReason::Mark(Mark::StopIngest))));
    let (percent, error) = fill(Purpose::Upkeep);
    assert_eq!((percent / 5, error), (19, full(FullReason::Mark(Mark::SinksOnly))));
    let (_, error) = fill(Purpose::Drain);
    assert_eq!(error, full(FullReason::Quota));
    let files = storage.list(Path::new(DIR)).unwrap();
    let bytes: u64 = files.iter().filter(|f| f.name.ends_with("segment")).map(|f| f.length).sum();
    assert!(bytes <= 20 * SEGMENT, "{bytes}");
    let end = log.end(lineage(1));
    assert_eq!(offsets(&log, 1, 0).len() as u64, end);
    log.raise_floor(lineage(1), end);
    log.drive();
    assert_eq!(log.usage().mark, Mark::Fine);
    put(&log, entry(1, end, 1, 6000)).unwrap();
}

#[test]
fn a_full_disk_is_full_and_not_dead() {
    let storage = FaultyStorage::new(1);
    let (log, _) = open(&storage, 1);
    let capacity =
        |bytes| storage.set_faults(Faults { capacity_bytes: bytes, ..Faults::default() });
    capacity(Some(5 * SEGMENT + 2000));
    let mut offset = 0;
    let error = loop {
        match put(&log, entry(1, offset, 1, 6000)) {
            Ok(_) => offset += 1,
            Err(error) => break error,
        }
    };
    let AppendError::Full { reason: FullReason::Disk(reason) } = &error else { panic!("{error}") };
    assert!(reason.contains("No space left"), "{reason}");
    assert!(!storage.list(Path::new(DIR)).unwrap().iter().any(|file| file.name.ends_with(".new")));
    let refused = log.append(entry(1, offset, 1, 6000));
    assert_eq!(refused.unwrap_err(), error, "said at once");
    assert!(log.failure().borrow().is_none());
    // Others than producers may try, and are told when it comes to a new segment.
    let drained = loop {
        match put(&log, Entry { purpose: Purpose::Drain, ..entry(1, offset, 1, 6000) }) {
            Ok(_) => offset += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(drained, error);
    assert_eq!(offsets(&log, 1, 0).len() as u64, offset);
    capacity(None);
    log.drive();
    put(&log, entry(1, offset, 1, 6000)).unwrap();
    capacity(Some(0));
    drop(log);
    storage.power_cut();
    let (log, _) = Log::open(options(&storage, 3)).expect("a full disk recovers");
    assert_eq!(log.end(lineage(1)), offset + 1);
}

#[test]
fn a_full_disk_takes_the_reserve_to_recover_and_gives_it_back() {
    let storage = FaultyStorage::new(1);
    let reserved = || LogOptions { reserve_bytes: 3 * SEGMENT, ..options(&storage, 1) };
    let capacity =
        |bytes| storage.set_faults(Faults { capacity_bytes: bytes, ..Faults::default() });
    let has_reserve = || {
        let files = storage.list(Path::new(DIR)).unwrap();
        files.iter().any(|file| file.name == "reserve" && file.length == 3 * SEGMENT)
    };
    let (log, _) = Log::open(reserved()).unwrap();
    put(&log, entry(1, 0, 1, 10)).unwrap();
    log.drive();
    assert!(has_reserve());
    log.stop();
    let used: u64 = storage.list(Path::new(DIR)).unwrap().iter().map(|file| file.length).sum();
    capacity(Some(used));
    let (log, recovery) = Log::open(reserved()).unwrap();
    assert!(recovery.reserve_released && !has_reserve());
    put(&log, entry(1, 1, 1, 10)).unwrap();
    log.drive();
    assert!(!has_reserve(), "not while the disk is full");
    capacity(None);
    log.drive();
    assert!(has_reserve());
}

#[test]
fn a_disk_below_its_floor_takes_no_new_events() {
    let storage = FaultyStorage::new(1);
    let floored = LogOptions { free_bytes_floor: 10 * SEGMENT, ..options(&storage, 1) };
    let capacity =
        |bytes| storage.set_faults(Faults { capacity_bytes: bytes, ..Faults::default() });
    let (log, _) = Log::open(floored).unwrap();
    capacity(Some(12 * SEGMENT));
    log.drive();
    assert_eq!(log.usage().mark, Mark::Fine);
    capacity(Some(10 * SEGMENT));
    log.drive();
    assert_eq!(log.usage().mark, Mark::StopIngest);
    let reason = FullReason::Mark(Mark::StopIngest);
    assert_eq!(put(&log, entry(1, 0, 1, 10)), Err(AppendError::Full { reason }));
    put(&log, Entry { purpose: Purpose::Upkeep, ..entry(1, 0, 1, 10) }).unwrap();
}

#[test]
fn a_span_counts_the_segments_a_cursor_keeps() {
    let storage = FaultyStorage::new(1);
    let (log, _) = open(&storage, 1);
    put(&log, entry(2, 0, 1, 100)).unwrap();
    let end = fill(&log, 1, 4);
    let whole = log.span_bytes(lineage(2), 0);
    assert!(whole > 3 * SEGMENT / 4 * 3, "{whole}");
    assert!(log.span_bytes(lineage(1), end - 1) < SEGMENT);
    assert_eq!(log.span_bytes(lineage(1), end), 0);
    assert_eq!(log.span_bytes(lineage(3), 0), 0);
}

/// A view that answers with whatever comes to its mind.
struct Liar {
    answers: std::sync::atomic::AtomicU64,
}

impl sdk_wal::View for Liar {
    fn put(&self, _: &str, _: &[u8], _: &[u8]) -> Result<(), sdk_wal::ViewError> {
        Err("no".into())
    }

    fn get(&self, _: &str, _: &[u8]) -> Result<Option<Vec<u8>>, sdk_wal::ViewError> {
        Ok(Some(vec![7; 8]))
    }

    fn remove(&self, _: &str, _: &[u8]) -> Result<(), sdk_wal::ViewError> {
        Err("no".into())
    }

    fn range(
        &self,
        _: &str,
        _: &[u8],
        _: &[u8],
        _: usize,
    ) -> Result<Vec<sdk_wal::KeyValue>, sdk_wal::ViewError> {
        Ok(Vec::new())
    }

    fn last_at_or_below(
        &self,
        _: &str,
        key: &[u8],
    ) -> Result<Option<sdk_wal::KeyValue>, sdk_wal::ViewError> {
        let nth = self.answers.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match nth % 4 {
            0 => Ok(None),
            1 => Err("no".into()),
            2 => Ok(Some((key.to_vec(), (nth % 7).to_le_bytes().to_vec()))),
            _ => Ok(Some((vec![0; 3], vec![9; 2]))),
        }
    }

    fn clear(&self, _: &str) -> Result<(), sdk_wal::ViewError> {
        Err("no".into())
    }
}

#[test]
fn a_view_that_lies_or_misses_changes_nothing() {
    let storage = FaultyStorage::new(1);
    let lying = LogOptions { view: Arc::new(Liar { answers: 0.into() }), ..options(&storage, 1) };
    let (log, _) = Log::open(lying).unwrap();
    let end = fill(&log, 1, 8);
    assert_eq!(offsets(&log, 1, 0).len() as u64, end);
    for from in 0..end {
        assert_eq!(log.reader(lineage(1), from).next().unwrap().unwrap().first_offset, from);
    }
    log.raise_floor(lineage(1), end / 2);
    log.drive();
    for from in end / 2..end {
        assert_eq!(log.reader(lineage(1), from).next().unwrap().unwrap().first_offset, from);
    }
}

#[test]
fn a_reader_that_stands_in_a_segment_when_it_is_freed_is_told() {
    let storage = FaultyStorage::new(1);
    let (log, _) = open(&storage, 1);
    let big = 30_000;
    let mut offset = 0;
    while log.usage().segments < 6 {
        put(&log, entry(1, offset, 1, big)).unwrap();
        offset += 1;
    }
    let mut reader = log.reader(lineage(1), 0);
    reader.next().unwrap().unwrap();
    log.raise_floor(lineage(1), offset);
    log.drive();
    for _ in 0..6 {
        put(&log, entry(1, offset, 1, big)).unwrap();
        offset += 1;
    }
    let error = reader.next().unwrap_err();
    assert!(matches!(error, LogReadError::Missing { from: 1, next } if next > 1), "{error:?}");
    assert_eq!(log.quarantined(), [], "freed is not bad");
}

#[test]
fn spares_that_nobody_needs_go_back_to_the_disk() {
    let storage = FaultyStorage::new(1);
    let seconds = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let clock = seconds.clone();
    let now = move || Duration::from_secs(clock.load(std::sync::atomic::Ordering::Relaxed));
    let (log, _) = Log::open(LogOptions {
        monotonic: Arc::new(now),
        free_bytes_floor: 10 * SEGMENT,
        ..options(&storage, 1)
    })
    .unwrap();
    let drain = |segments| {
        let end = fill(&log, 1, segments);
        log.raise_floor(lineage(1), end);
        log.drive();
    };
    let pass = |by: u64| {
        seconds.fetch_add(by, std::sync::atomic::Ordering::Relaxed);
        for _ in 0..5 {
            log.drive();
        }
    };
    // As many come and go in every window as were made once.
    for _ in 0..5 {
        drain(16);
        pass(350);
    }
    assert_eq!(spares(&storage), 15);
    let made = storage.list(Path::new(DIR)).unwrap().len();
    drain(16);
    assert_eq!(storage.list(Path::new(DIR)).unwrap().len(), made);
    // Then less.
    for _ in 0..3 {
        drain(3);
        pass(610);
    }
    assert!((4..8).contains(&spares(&storage)), "a few are always kept");
    drain(16);
    let used: u64 = storage.list(Path::new(DIR)).unwrap().iter().map(|file| file.length).sum();
    let capacity_bytes = Some(used + 15 * SEGMENT);
    storage.set_faults(Faults { capacity_bytes, ..Faults::default() });
    pass(1);
    assert!(spares(&storage) < 15, "the disk is short of room");
    assert_eq!(log.usage().mark, Mark::Fine);
}
