//! What cannot be read is known by its id, and can be put back.

use crate::support::{entry, find, lineage, offsets, open, put, read, segments};
use sdk_wal::inspect::{Inspector, SegmentState};
use sdk_wal::{FaultyStorage, Log, LogReadError};
use std::ops::ControlFlow;
use std::sync::Arc;

/// A log of many segments in which the record at an offset is bad.
fn damaged(at: u64) -> (FaultyStorage, Log, u64) {
    let storage = FaultyStorage::new(1);
    let (log, _) = open(&storage, 1);
    let mut end = 0;
    while log.usage().segments < 4 {
        put(&log, entry(1, end, 1, 5000)).unwrap();
        end += 1;
    }
    let needle = entry(1, at, 1, 5000).body.to_bytes();
    for path in segments(&storage) {
        if let Some(place) = find(&storage.contents(&path).unwrap(), &needle[..64]) {
            storage.flip(&path, place + 4000, 8);
        }
    }
    (storage, log, end)
}

#[test]
fn a_bad_record_stops_a_reader_until_it_is_passed() {
    let (_storage, log, end) = damaged(5);
    let mut reader = log.reader(lineage(1), 0);
    for offset in 0..5 {
        assert_eq!(reader.next().unwrap().unwrap().first_offset, offset);
    }
    for _ in 0..2 {
        let Err(LogReadError::Quarantined(bad)) = reader.next() else { panic!("delivered") };
        assert_eq!((bad.from, bad.to, bad.kind), (5, 6, Some(1)));
        assert_eq!(bad.identity, entry(1, 5, 1, 0).identity);
        assert_eq!(reader.cursor(), 5);
        assert_eq!(log.quarantined(), [bad]);
    }
    reader.seek(6);
    assert_eq!(read(&mut reader).unwrap().len() as u64, end - 6);
    log.raise_floor(lineage(1), 6);
    log.drive();
    assert_eq!(log.quarantined(), [], "nobody needs it any more");
}

#[test]
fn a_repaired_record_is_read_in_its_place() {
    let (storage, log, end) = damaged(5);
    let mut reader = log.reader(lineage(1), 0);
    assert!(matches!(read(&mut reader), Err(LogReadError::Quarantined(_))));
    assert_eq!(log.quarantined().len(), 1);
    let repaired = log.repair(entry(1, 5, 1, 5000)).unwrap();
    log.drive();
    repaired.wait().unwrap();
    assert_eq!(log.quarantined(), []);
    assert_eq!(log.end(lineage(1)), end);
    assert_eq!(offsets(&log, 1, 0).len() as u64, end);
    drop(log);
    storage.power_cut();
    let (log, _) = open(&storage, 2);
    assert_eq!(offsets(&log, 1, 0).len() as u64, end);
}

#[test]
fn inspection_needs_no_lock_and_sees_what_the_log_sees() {
    let (storage, log, end) = damaged(5);
    let steps = storage.steps();
    let inspector = Inspector::new(Arc::new(storage.clone()), crate::support::DIR);
    let reports = inspector.segments().unwrap();
    let states: Vec<SegmentState> = reports.iter().map(|report| report.state).collect();
    use SegmentState::{Empty, Used};
    assert_eq!(states, [Used, Used, Used, Used, Empty]);
    let footers: Vec<bool> = reports.iter().map(|report| report.footer).collect();
    assert_eq!(footers, [true, true, true, false, false]);
    let runs = reports.iter().flat_map(|report| &report.runs);
    assert_eq!(runs.clone().map(|run| run.end - run.first).sum::<u64>(), end);
    let report = inspector.verify().unwrap();
    assert_eq!((report.records, report.segments), (end - 1, 4));
    assert_eq!(report.bad.iter().map(|bad| bad.from).collect::<Vec<_>>(), [5]);
    assert_eq!((report.lost_flushes.len(), report.unfinished), (0, 0));
    let mut seen = Vec::new();
    inspector
        .records(&mut |record| {
            assert_eq!(record.content.is_none(), record.first_offset == 5);
            seen.push(record.first_offset);
            if seen.len() == 9 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(storage.steps(), steps, "nothing was changed");
    drop(log);
}
