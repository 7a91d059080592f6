//! Append, read, open again.

use crate::support::{
    DIR, SEGMENT, entry, find, lineage, offsets, open, options, put, read, segments, try_open,
};
use sdk_wal::{
    AppendError, FaultyStorage, FullReason, Log, LogOptions, LogReadError, OpenError, Purpose,
};
use std::path::Path;

#[test]
fn what_is_appended_is_read_and_is_there_after_a_power_cut() {
    let storage = FaultyStorage::new(1);
    let (log, recovery) = open(&storage, 1);
    assert!(recovery.lineages.is_empty() && recovery.quarantined.is_empty());
    for offset in (0..60).step_by(3) {
        put(&log, entry(1, offset, 3, 3000)).unwrap();
        put(&log, entry(2, offset, 3, 10)).unwrap();
    }
    let all: Vec<u64> = (0..60).step_by(3).collect();
    assert_eq!(offsets(&log, 1, 0), all);
    assert_eq!(offsets(&log, 2, 0), all);
    assert_eq!(offsets(&log, 2, 58), [57], "the record that holds it");
    assert_eq!((log.end(lineage(1)), log.end(lineage(9))), (60, 0));
    drop(log);
    storage.power_cut();
    let (log, recovery) = open(&storage, 2);
    assert_eq!(recovery.lineages.len(), 2);
    assert_eq!((recovery.records_cut, recovery.quarantined.len()), (0, 0));
    assert_eq!(offsets(&log, 1, 0), all);
    assert_eq!(offsets(&log, 2, 0), all);
    put(&log, entry(1, 60, 1, 10)).unwrap();
    assert_eq!(log.end(lineage(1)), 61);
}

#[test]
fn a_batch_is_one_flush_and_one_sync() {
    let storage = FaultyStorage::new(1);
    let (log, _) = open(&storage, 1);
    put(&log, entry(1, 0, 1, 10)).unwrap();
    let before = storage.steps();
    let answers: Vec<_> = (1..50).map(|n| log.append(entry(1, n, 1, 100)).unwrap()).collect();
    assert_eq!(log.end(lineage(1)), 1, "nothing counts before it is durable");
    assert_eq!(log.drive(), 49);
    assert_eq!(storage.steps() - before, 2, "a write and a sync");
    let positions: Vec<_> = answers.into_iter().map(|answer| answer.wait().unwrap()).collect();
    assert!(positions.iter().all(|position| *position == positions[0]));
}

#[test]
fn only_the_next_offset_is_taken() {
    let storage = FaultyStorage::new(1);
    let (log, _) = open(&storage, 1);
    put(&log, entry(1, 100, 5, 10)).unwrap();
    let wrong = put(&log, entry(1, 104, 1, 10));
    assert_eq!(wrong, Err(AppendError::OutOfSequence { expected: 105 }));
    let wrong = put(&log, entry(1, 106, 1, 10));
    assert_eq!(wrong, Err(AppendError::OutOfSequence { expected: 105 }));
    let late =
        [log.append(entry(1, 106, 1, 10)).unwrap(), log.append(entry(1, 105, 1, 9)).unwrap()];
    log.drive();
    let [first, second] = late.map(|answer| answer.wait());
    assert_eq!(first, Err(AppendError::OutOfSequence { expected: 105 }));
    second.unwrap();
    assert_eq!(offsets(&log, 1, 100), [100, 105]);
    let missing = read(&mut log.reader(lineage(1), 7));
    assert!(matches!(missing, Err(LogReadError::Missing { from: 7, next: 100 })), "{missing:?}");
}

#[test]
fn what_cannot_be_a_record_is_refused_at_once() {
    let storage = FaultyStorage::new(1);
    let (log, _) = open(&storage, 1);
    let longest = log.body_bytes_max();
    put(&log, entry(1, 0, 1, longest)).unwrap();
    put(&log, entry(1, 1, 1, longest)).unwrap();
    put(&log, entry(1, 2, 1, 0)).unwrap();
    let refused = [entry(1, 3, 1, longest + 1), entry(1, 3, 0, 1), entry(1, u64::MAX, 1, 1)];
    for entry in refused {
        assert!(matches!(log.append(entry), Err(AppendError::Invalid { .. })));
    }
    assert_eq!(offsets(&log, 1, 0), [0, 1, 2]);
}

#[test]
fn bytes_that_wait_are_bounded() {
    let storage = FaultyStorage::new(1);
    let (log, _) =
        Log::open(LogOptions { in_flight_bytes_max: 5000, ..options(&storage, 1) }).unwrap();
    let first = log.append(entry(1, 0, 1, 4000)).unwrap();
    let full = AppendError::Full { reason: FullReason::InFlight };
    assert_eq!(log.append(entry(1, 1, 1, 4000)).unwrap_err(), full);
    log.drive();
    first.wait().unwrap();
    put(&log, entry(1, 1, 1, 4000)).unwrap();
    assert_eq!(log.usage().in_flight_bytes, 0);
}

#[test]
fn a_failed_sync_is_the_end_and_is_not_tried_again() {
    for nth in 1..=2 {
        let storage = FaultyStorage::new(nth);
        let (log, _) = open(&storage, 1);
        put(&log, entry(1, 0, 1, 100)).unwrap();
        let failure = log.failure();
        let at_step = Some((storage.steps() + nth, sdk_wal::Fault::Io));
        storage.set_faults(sdk_wal::Faults { at_step, ..Default::default() });
        let lost = put(&log, entry(1, 1, 1, 100));
        assert!(matches!(lost, Err(AppendError::Dead { .. })), "{lost:?}");
        assert!(failure.borrow().is_some());
        let steps = storage.steps();
        assert!(matches!(log.append(entry(1, 1, 1, 1)), Err(AppendError::Dead { .. })));
        log.drive();
        assert_eq!(storage.steps(), steps, "nothing is written any more");
        assert_eq!(offsets(&log, 1, 0), [0], "readers go on with what is durable");
        drop(log);
        let (log, _) = open(&storage, 2);
        assert!(log.end(lineage(1)) >= 1);
    }
}

#[test]
fn one_process_at_a_time() {
    let storage = FaultyStorage::new(1);
    let (log, _) = open(&storage, 1);
    let OpenError::Locked { dir, holder } = try_open(&storage, 2).map(|_| ()).unwrap_err() else {
        panic!("another error")
    };
    assert_eq!(dir, Path::new(DIR));
    assert!(holder.contains(&std::process::id().to_string()), "{holder}");
    let other = log.clone();
    log.stop();
    assert_eq!(other.append(entry(1, 0, 1, 1)).unwrap_err(), AppendError::Stopped);
    open(&storage, 3);
}

#[test]
fn stopping_writes_what_waits() {
    let storage = FaultyStorage::new(1);
    let (log, _) = open(&storage, 1);
    let appended = log.append(entry(1, 0, 4, 10)).unwrap();
    log.stop();
    appended.wait().unwrap();
    storage.power_cut();
    assert_eq!(open(&storage, 2).0.end(lineage(1)), 4);
}

#[test]
fn a_newer_version_is_refused_in_a_sentence() {
    let storage = FaultyStorage::new(1);
    let (log, _) = open(&storage, 1);
    put(&log, entry(1, 0, 1, 10)).unwrap();
    log.stop();
    let path = segments(&storage)[0].clone();
    for copy in [0, 2048] {
        // Version 3 instead of 1, with the CRC that goes with it.
        let header = storage.contents(&path).unwrap()[copy..copy + 36].to_vec();
        storage.flip(&path, copy as u64 + 4, 1 ^ 3);
        let mut newer = header.clone();
        newer[4] = 3;
        let crcs = header[32..].iter().zip(crc32c::crc32c(&newer[..32]).to_le_bytes());
        for (at, (old, new)) in crcs.enumerate() {
            storage.flip(&path, (copy + 32 + at) as u64, old ^ new);
        }
    }
    let error = try_open(&storage, 2).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("newer version (3, this program reads up to 1)"), "{error}");
}

#[test]
fn quota_and_length_of_segments_are_fixed_when_the_directory_is_made() {
    let storage = FaultyStorage::new(1);
    let quota_bytes = Some(32 * SEGMENT);
    Log::open(LogOptions { quota_bytes, ..options(&storage, 1) }).unwrap().0.stop();
    let other = LogOptions { segment_bytes: 1 << 20, quota_bytes: None, ..options(&storage, 2) };
    let (log, _) = Log::open(other.clone()).unwrap();
    assert_eq!(log.usage().quota_bytes, 32 * SEGMENT);
    put(&log, entry(1, 0, 1, 10)).unwrap();
    log.stop();
    assert_eq!(storage.contents(&segments(&storage)[0]).unwrap().len() as u64, SEGMENT);
    // Damaged, it is made again; the segments know their length.
    storage.flip(&Path::new(DIR).join("meta"), 9, 1);
    let (log, _) = Log::open(other).unwrap();
    assert_eq!(offsets(&log, 1, 0), [0]);
    assert_eq!(log.usage().quota_bytes, 50 << 30);
    log.stop();
    let small = LogOptions { quota_bytes: Some(SEGMENT), ..options(&storage, 2) };
    let error = Log::open(small).map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Options { .. }), "{error}");
}

#[test]
fn listed_records_are_found_without_reading() {
    let storage = FaultyStorage::new(1);
    let (log, _) = open(&storage, 1);
    let put_listed = |log: &Log, offset, kind| {
        let entry = sdk_wal::Entry { kind, purpose: Purpose::Upkeep, ..entry(1, offset, 1, 50) };
        put(log, entry).unwrap();
    };
    for offset in 0..40 {
        match offset % 10 {
            0 => put_listed(&log, offset, 200),
            5 => put_listed(&log, offset, 201),
            _ => put(&log, entry(1, offset, 1, 9000)).map(|_| ()).unwrap(),
        }
    }
    let listed = |log: &Log, kind| -> Vec<u64> {
        log.listed(lineage(1), kind).iter().map(|listed| listed.first_offset).collect()
    };
    assert_eq!(listed(&log, 200), [0, 10, 20, 30]);
    drop(log);
    storage.kill();
    let (log, recovery) = open(&storage, 2);
    assert!(recovery.segments > 3 && recovery.segments_scanned < 3, "{recovery:?}");
    assert_eq!(listed(&log, 200), [0, 10, 20, 30]);
    assert_eq!(listed(&log, 201), [5, 15, 25, 35]);
    log.cut(lineage(1), 30);
    assert_eq!(listed(&log, 200), [0, 10, 20]);
}

#[test]
fn a_follower_is_told_when_the_end_moves() {
    let storage = FaultyStorage::new(1);
    let (log, _) = open(&storage, 1);
    let mut end = log.watch(lineage(1));
    assert_eq!(*end.borrow_and_update(), 0);
    let mut reader = log.reader(lineage(1), 0);
    assert!(reader.next().unwrap().is_none() && reader.at_end());
    put(&log, entry(1, 0, 7, 10)).unwrap();
    assert!(end.has_changed().unwrap());
    assert_eq!(*end.borrow_and_update(), 7);
    assert_eq!(reader.next().unwrap().unwrap().count, 7);
    log.cut(lineage(1), 5);
    assert_eq!(*end.borrow_and_update(), 5);
    put(&log, entry(1, 7, 1, 10)).unwrap_err();
}

#[test]
fn memory_answers_as_the_disk_does() {
    let storage = FaultyStorage::new(1);
    let cached = LogOptions { cache_bytes: 20_000, ..options(&storage, 1) };
    let (log, _) = Log::open(cached).unwrap();
    for offset in (0..80).step_by(2) {
        put(&log, entry(1, offset, 2, 900)).unwrap();
    }
    let all: Vec<u64> = (0..80).step_by(2).collect();
    assert_eq!(offsets(&log, 1, 0), all);
    let mut reader = log.reader(lineage(1), 70);
    let cached: Vec<u64> =
        std::iter::from_fn(|| reader.next_cached()).map(|record| record.first_offset).collect();
    assert_eq!(cached, [70, 72, 74, 76, 78]);
    assert!(log.reader(lineage(1), 0).next_cached().is_none());
    let bytes = storage.contents(&segments(&storage)[0]).unwrap();
    assert!(find(&bytes, &entry(1, 0, 2, 900).body.to_bytes()).is_some());
}

#[test]
fn the_bytes_are_those_of_the_format() {
    let storage = FaultyStorage::new(1);
    let fixed = std::sync::atomic::AtomicU64::new(1);
    let random =
        move || 0x1122_3344_5566_7788 + fixed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let (log, _) =
        Log::open(LogOptions { random: std::sync::Arc::new(random), ..options(&storage, 1) })
            .unwrap();
    let mut offset = 0;
    while log.usage().segments < 2 {
        let kind = if offset % 4 == 0 { 200 } else { 3 };
        put(&log, sdk_wal::Entry { kind, ..entry(1, offset, 2, 7000) }).unwrap();
        offset += 2;
    }
    let crcs: Vec<u32> = segments(&storage)
        .iter()
        .map(|path| crc32c::crc32c(&storage.contents(path).unwrap()))
        .collect();
    // Another number here is another format: raise the version.
    assert_eq!(crcs[..2], [0x2222_eb61, 0xe172_d1b6], "{crcs:x?}");
}

#[test]
fn a_footer_without_a_later_flush_does_not_count() {
    let mut seen = 0;
    for seed in 0..20 {
        let storage = FaultyStorage::new(seed);
        let (log, _) = open(&storage, 1);
        for offset in 0..4 {
            put(&log, entry(1, offset, 1, 8000)).unwrap();
        }
        // The footer is durable, the first flush of the next segment is not.
        let at_step = Some((storage.steps() + 3, sdk_wal::Fault::PowerCut));
        storage.set_faults(sdk_wal::Faults { at_step, ..Default::default() });
        assert!(matches!(put(&log, entry(1, 4, 1, 25_000)), Err(AppendError::Dead { .. })));
        drop(log);
        storage.power_cut();
        let (log, recovery) = open(&storage, 2);
        if recovery.segments == 2 {
            // Enough of that flush survived to tell that it was begun.
            continue;
        }
        seen += 1;
        let position = put(&log, entry(1, 4, 1, 100)).unwrap();
        assert_eq!(
            position.segment, 1,
            "there is room behind the last flush, where the footer ends"
        );
        drop(log);
        storage.power_cut();
        let (log, _) = open(&storage, 3);
        assert_eq!(offsets(&log, 1, 0), [0, 1, 2, 3, 4]);
    }
    assert!(seen > 5, "{seen}");
}
