//! What the disk can no longer read is passed like what it reads wrong; a disk that is gone is not.

use crate::support::{
    SEGMENT, body, entry, find, lineage, offsets, open, options, put, read, segments,
};
use sdk_wal::{Fault, Faults, FaultyStorage, Log, LogOptions, LogReadError};
use std::path::PathBuf;

const RECORD: usize = 5000;

/// A log of several segments, and the offset behind its last record.
fn filled(storage: &FaultyStorage) -> (Log, u64) {
    let (log, _) = open(storage, 1);
    let mut end = 0;
    while log.usage().segments < 4 {
        put(&log, entry(1, end, 1, RECORD)).unwrap();
        end += 1;
    }
    (log, end)
}

/// Where the body of a record stands.
fn place(storage: &FaultyStorage, at: u64) -> (PathBuf, u64) {
    let needle = &entry(1, at, 1, RECORD).body.to_bytes()[..64];
    let paths = segments(storage).into_iter();
    let mut found = paths.filter_map(|path| {
        let at = find(&storage.contents(&path).unwrap(), needle)?;
        Some((path, at))
    });
    found.next().expect("it is in some segment")
}

/// Makes a sector inside a record unreadable.
fn spoil(storage: &FaultyStorage, at: u64) {
    let (path, start) = place(storage, at);
    storage.spoil(&path, start + 3000..start + 3001);
}

/// Reads over what is quarantined; gives the ids of that.
fn pass(log: &Log, end: u64) -> Vec<u64> {
    let mut reader = log.reader(lineage(1), 0);
    let mut bad = Vec::new();
    while reader.cursor() < end {
        match reader.next() {
            Ok(record) => {
                let record = record.expect("it is not the end");
                assert_eq!(record.body, body(1, record.first_offset, RECORD));
            }
            Err(LogReadError::Quarantined(range)) => {
                bad.push(range.identity.expect("its directory is there").sequence);
                reader.seek(range.to);
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    bad
}

#[test]
fn an_unreadable_sector_takes_its_record_and_no_other() {
    let storage = FaultyStorage::new(1);
    let (log, end) = filled(&storage);
    spoil(&storage, 5);
    assert_eq!(pass(&log, end), [5]);
    let listed = log.quarantined();
    assert_eq!((listed.len(), listed[0].from, listed[0].to), (1, 5, 6));
    drop(log);
    storage.kill();
    // At a start footers say what is in the segments, and here one has to be read.
    let last = segments(&storage).len() - 1;
    spoil(&storage, end - 3);
    assert!(last > 0);
    let (log, recovery) = open(&storage, 2);
    assert_eq!(recovery.records_cut, 0);
    assert_eq!(log.end(lineage(1)), end);
    assert_eq!(pass(&log, end), [5, end - 3]);
    let repaired = log.repair(entry(1, 5, 1, RECORD)).unwrap();
    log.drive();
    repaired.wait().unwrap();
    assert_eq!(pass(&log, end), [end - 3]);
}

#[test]
fn an_unreadable_header_is_known_by_the_flush_behind_and_a_footer_by_its_segment() {
    let storage = FaultyStorage::new(1);
    let (log, end) = filled(&storage);
    // A flush begins with its header, and so does the page; the record in it begins on that page too.
    let (path, start) = place(&storage, 3);
    let header = start / 4096 * 4096;
    storage.spoil(&path, header..header + 1);
    assert_eq!(pass(&log, end), [3]);
    storage.spoil(&segments(&storage)[1], SEGMENT - 1..SEGMENT);
    assert_eq!(pass(&log, end), [3]);
    drop(log);
    storage.kill();
    let (log, recovery) = open(&storage, 2);
    assert!(recovery.segments_scanned >= 2, "the one without a footer is read");
    assert_eq!(pass(&log, end), [3]);
    assert_eq!(log.end(lineage(1)), end);
}

#[test]
fn a_segment_without_its_header_is_known_by_its_flushes_however_many_records_they_have() {
    let storage = FaultyStorage::new(1);
    let (log, _) = open(&storage, 1);
    // One flush, whose directory does not fit into a block.
    let appended: Vec<_> = (0..55).map(|at| log.append(entry(1, at, 1, 40)).unwrap()).collect();
    log.drive();
    appended.into_iter().for_each(|it| assert!(it.wait().is_ok()));
    // Killed, or a closing flush would follow, with no records.
    storage.kill();
    drop(log);
    storage.spoil(&segments(&storage)[0], 0..4096);
    let (log, _) = open(&storage, 2);
    assert_eq!(offsets(&log, 1, 0), (0..55).collect::<Vec<_>>());
}

#[test]
fn an_unreadable_segment_keeps_no_other_from_being_copied_forward() {
    let storage = FaultyStorage::new(1);
    let quota_bytes = Some(12 * SEGMENT);
    let (log, _) = Log::open(LogOptions { quota_bytes, ..options(&storage, 1) }).unwrap();
    let mut end = 0;
    // A little of each segment is needed, by a lineage that nobody drains.
    while log.usage().segments < 8 {
        put(&log, entry(1, end, 1, RECORD)).unwrap();
        if end % 8 == 0 {
            put(&log, entry(2, end / 8, 1, 100)).unwrap();
        }
        end += 1;
    }
    let first = &segments(&storage)[0];
    storage.spoil(first, 4096..SEGMENT);
    log.raise_floor(lineage(1), end);
    for _ in 0..20 {
        log.drive();
    }
    assert!(log.usage().segments < 8, "none is copied");
    let kept = log.lineage(lineage(2)).expect("it is needed").first;
    assert!(kept <= 1, "what cannot be read is not given up");
    let mut reader = log.reader(lineage(2), (end - 1) / 8);
    assert_eq!(read(&mut reader).unwrap().len(), 1);
}

#[test]
fn a_disk_that_is_gone_has_lost_nothing() {
    let storage = FaultyStorage::new(1);
    let (log, end) = filled(&storage);
    let at_step = Some((storage.steps() + 1, Fault::PowerCut));
    storage.set_faults(Faults { at_step, ..Faults::default() });
    let _ = put(&log, entry(1, end, 1, RECORD));
    assert!(storage.is_down());
    let failed = log.reader(lineage(1), 0).next();
    assert!(matches!(failed, Err(LogReadError::Io { .. })), "{failed:?}");
    assert_eq!(log.quarantined(), []);
    drop(log);
    storage.power_cut();
    let (log, _) = open(&storage, 2);
    assert!(offsets(&log, 1, 0).len() as u64 >= end);
}
