//! A log on a disk that fails at any step, against a model of what was acknowledged.

use crate::support::{DIR, Rng, SEGMENT, lineage, open, options, segments, try_open};
use sdk_event::{EventId, ProducerId};
use sdk_wal::inspect::{Inspector, SegmentState};
use sdk_wal::{
    AppendError, Appended, Body, Entry, Fault, Faults, FaultyStorage, Log, LogOptions,
    LogReadError, LogRecord, Purpose, Quarantined,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const FLOWS: u64 = 3;

/// What the log has to hold.
#[derive(Default)]
struct Model {
    /// By flow, by first offset.
    records: BTreeMap<u64, BTreeMap<u64, Entry>>,
    floors: BTreeMap<u64, u64>,
    /// Submitted and answered neither way, in order.
    unknown: Vec<Entry>,
    /// Makes every attempt another one.
    attempts: u64,
}

impl Model {
    fn end(&self, flow: u64) -> u64 {
        let last = self.records.get(&flow).and_then(|records| records.values().next_back());
        last.map_or(0, Entry::end)
    }

    fn next_entry(&mut self, rng: &mut Rng, flow: u64, first_offset: u64) -> Entry {
        self.attempts += 1;
        let length = match rng.below(4) {
            0 => rng.below(40),
            1 => rng.below(9000),
            _ => rng.below(1500),
        };
        let mut bytes = Rng(self.attempts << 20 | flow);
        let bytes: Vec<u8> = (0..length).map(|_| bytes.next() as u8).collect();
        let cut = rng.below(length + 1) as usize;
        let bytes = bytes::Bytes::from(bytes);
        let producer = ProducerId([flow as u8; 16]);
        Entry {
            lineage: lineage(flow),
            kind: if rng.one_in(20) { 150 } else { rng.below(3) as u8 },
            purpose: Purpose::Ingest,
            first_offset,
            count: 1 + rng.below(9) as u32,
            put_time_ms: self.attempts as i64,
            identity: rng.one_in(2).then_some(EventId {
                producer,
                generation: 1,
                sequence: self.attempts,
            }),
            body: [bytes.slice(..cut), bytes.slice(cut..)].into_iter().collect::<Body>(),
        }
    }

    fn acknowledge(&mut self, flow: u64, entry: Entry) {
        self.records.entry(flow).or_default().insert(entry.first_offset, entry);
    }

    /// Appends a few records of several lineages at once and books the answers.
    fn append_some(&mut self, rng: &mut Rng, log: &Log) {
        let mut ends: BTreeMap<u64, u64> = BTreeMap::new();
        let mut waiting: Vec<(u64, Entry, Appended)> = Vec::new();
        for _ in 0..=rng.below(8) {
            let flow = rng.below(FLOWS);
            let first = *ends.get(&flow).unwrap_or(&self.end(flow));
            let entry = self.next_entry(rng, flow, first);
            match log.append(entry.clone()) {
                Ok(appended) => {
                    ends.insert(flow, entry.end());
                    waiting.push((flow, entry, appended));
                }
                Err(AppendError::Full { .. } | AppendError::Dead { .. }) => break,
                Err(error) => panic!("refused with {error}"),
            }
        }
        log.drive();
        for (flow, entry, appended) in waiting {
            match appended.wait() {
                Ok(_) => {
                    assert!(self.unknown.is_empty(), "acknowledged behind a failure");
                    self.acknowledge(flow, entry);
                }
                Err(AppendError::Dead { .. }) => self.unknown.push(entry),
                // Nothing of these was written, and nothing behind them may be.
                Err(AppendError::Full { .. } | AppendError::OutOfSequence { .. }) => (),
                Err(error) => panic!("answered with {error}"),
            }
        }
    }

    fn raise_floor(&mut self, rng: &mut Rng, log: &Log) {
        // The first lineage is mostly stuck.
        let flow = if rng.one_in(8) { 0 } else { 1 + rng.below(FLOWS - 1) };
        let floor = self.floors.entry(flow).or_default();
        let end = self.records.get(&flow).and_then(|records| records.values().next_back());
        let end = end.map_or(0, Entry::end);
        *floor += rng.below(end - *floor + 1);
        log.raise_floor(lineage(flow), *floor);
        log.drive();
    }

    fn tell_floors(&self, log: &Log) {
        self.floors.iter().for_each(|(&flow, &floor)| log.raise_floor(lineage(flow), floor));
    }

    /// Books what a recovery found of what was not answered: it must be what came first.
    fn settle(&mut self, log: &Log) {
        let mut cut = false;
        for entry in std::mem::take(&mut self.unknown) {
            let flow = entry.lineage.flow;
            let there = log.end(entry.lineage) >= entry.end();
            assert!(!(there && cut), "kept {entry:?} although one before it was cut");
            cut |= !there;
            if there {
                self.acknowledge(flow, entry);
            }
        }
        for flow in 0..FLOWS {
            // A lineage of which everything was freed is not known any more.
            if log.lineage(lineage(flow)).is_some() || self.floor(flow) < self.end(flow) {
                assert_eq!(log.end(lineage(flow)), self.end(flow), "end of {flow}");
            }
        }
    }

    fn floor(&self, flow: u64) -> u64 {
        self.floors.get(&flow).copied().unwrap_or(0)
    }

    /// Reads everything needed; returns what could not be read.
    fn check(&self, log: &Log) -> Vec<Quarantined> {
        let mut lost = Vec::new();
        for (&flow, records) in &self.records {
            let mut reader = log.reader(lineage(flow), self.floor(flow));
            let needed = records.values().filter(|entry| entry.end() > self.floor(flow));
            for entry in needed {
                match reader.next() {
                    Ok(record) => assert_same(&record.expect("not the end yet"), entry),
                    Err(LogReadError::Quarantined(quarantined)) => {
                        assert_eq!(quarantined.from.max(self.floor(flow)), reader.cursor());
                        assert_eq!(quarantined.to, entry.end());
                        assert_eq!(quarantined.identity, entry.identity);
                        assert_eq!(quarantined.kind, Some(entry.kind));
                        reader.seek(entry.end());
                        lost.push(quarantined);
                    }
                    Err(error) => panic!("{error} instead of {entry:?}"),
                }
            }
            assert!(reader.next().expect("the end").is_none() && reader.at_end());
            let mut listed: Vec<u64> =
                log.listed(lineage(flow), 150).iter().map(|listed| listed.first_offset).collect();
            listed.retain(|&offset| records[&offset].end() > self.floor(flow));
            let expected = records.values().filter(|e| e.kind == 150 && e.end() > self.floor(flow));
            assert_eq!(listed, expected.map(|entry| entry.first_offset).collect::<Vec<_>>());
        }
        lost
    }
}

fn assert_same(record: &LogRecord, entry: &Entry) {
    assert_eq!(record.first_offset, entry.first_offset);
    let expected = LogRecord {
        lineage: entry.lineage,
        kind: entry.kind,
        first_offset: entry.first_offset,
        count: entry.count,
        put_time_ms: entry.put_time_ms,
        body: entry.body.clone(),
    };
    assert!(*record == expected, "another record at {}", entry.first_offset);
}

/// Everything that can be read, to compare two recoveries.
fn everything(log: &Log) -> Vec<(u64, LogRecord)> {
    let mut all = Vec::new();
    for extent in log.lineages() {
        let mut reader = log.reader(extent.lineage, extent.first);
        loop {
            match reader.next() {
                Ok(Some(record)) => all.push((extent.end, record)),
                Ok(None) => break,
                Err(LogReadError::Quarantined(quarantined)) => reader.seek(quarantined.to),
                Err(LogReadError::Missing { next, .. }) => reader.seek(next),
                Err(error) => panic!("{error}"),
            }
        }
    }
    all
}

/// Opens after a crash, perhaps through further crashes, twice, with the same result.
fn recover(storage: &FaultyStorage, rng: &mut Rng, seed: u64) -> Log {
    for _ in 0..rng.below(3) {
        let fault = if rng.one_in(3) { Fault::Io } else { Fault::PowerCut };
        let at_step = Some((storage.steps() + 1 + rng.below(12), fault));
        storage.set_faults(Faults { at_step, ..Faults::default() });
        drop(try_open(storage, rng.next()));
        storage.power_cut();
    }
    storage.set_faults(Faults::default());
    let (log, first) = open(storage, rng.next());
    let found = everything(&log);
    drop(log);
    if rng.one_in(2) {
        storage.power_cut()
    } else {
        storage.kill()
    }
    let (log, second) = open(storage, rng.next());
    assert_eq!(second.records_cut, 0, "cut twice, seed {seed}");
    assert_eq!(first.quarantined, second.quarantined);
    assert!(everything(&log) == found, "another result the second time");
    log
}

fn one_history(seed: u64) {
    let mut rng = Rng(seed);
    let storage = FaultyStorage::new(rng.next());
    // The quota is fixed when the directory is made: small enough that some histories copy forward.
    let quota_bytes = Some((8 + rng.below(20)) * SEGMENT);
    let made = Log::open(LogOptions { quota_bytes, ..options(&storage, rng.next()) });
    made.expect("nothing fails yet").0.stop();
    let mut model = Model::default();
    for _ in 0..2 + rng.below(3) {
        let log = recover(&storage, &mut rng, seed);
        model.settle(&log);
        model.tell_floors(&log);
        assert_eq!(model.check(&log), [], "nothing was flipped");
        let fault = if rng.one_in(4) { Fault::Io } else { Fault::PowerCut };
        storage.set_faults(Faults {
            at_step: Some((storage.steps() + 1 + rng.below(120), fault)),
            short_writes: rng.one_in(2),
            capacity_bytes: rng.one_in(3).then(|| 200_000 + rng.below(600_000)),
        });
        for _ in 0..rng.below(40) {
            model.append_some(&mut rng, &log);
            if rng.one_in(8) {
                model.raise_floor(&mut rng, &log);
            }
            if rng.one_in(8) && !storage.is_down() {
                model.check(&log);
            }
        }
        // Dropping is a stop; with the power off that is a crash.
        if !storage.is_down() && rng.one_in(2) {
            storage.kill();
        }
        drop(log);
        storage.power_cut();
    }
    let log = recover(&storage, &mut rng, seed);
    model.settle(&log);
    model.tell_floors(&log);
    model.check(&log);
    let inspector = Inspector::new(Arc::new(storage.clone()), DIR);
    let reports = inspector.segments().expect("reads");
    let stray = reports.iter().find(|report| report.state == SegmentState::Unreadable);
    assert_eq!(stray, None, "a file that nobody will use again");
    log.stop();
    one_flip(&storage, &mut rng, &model);
}

/// A flipped bit anywhere costs at most the record it is in, and that is known by its id.
fn one_flip(storage: &FaultyStorage, rng: &mut Rng, model: &Model) {
    let mut files = segments(storage);
    files.push(Path::new(DIR).join("meta"));
    let file = &files[rng.below(files.len() as u64) as usize];
    let contents = storage.contents(file).expect("listed");
    let written = contents.iter().rposition(|&byte| byte != 0).map_or(1, |last| last as u64 + 1);
    storage.flip(file, rng.below(written), 1 << rng.below(8));
    let (log, recovery) = open(storage, rng.next());
    model.tell_floors(&log);
    let lost = model.check(&log);
    assert!(lost.len() <= 1, "one flip, lost {lost:?}");
    assert_eq!(recovery.records_cut, 0);
    for quarantined in &lost {
        assert!(log.quarantined().contains(quarantined), "listed");
    }
    log.drive();
    assert_eq!(log.quarantined(), lost, "all that is bad and needed");
    let again = model.check(&log);
    assert_eq!(again, lost);
}

#[test]
fn what_is_acknowledged_is_kept_in_order_whatever_the_disk_does() {
    sdk_seeds::each(1_200, 20_000, one_history);
}

/// 5933: of two copies of a record one was flipped, and the good one was freed without being copied again.
#[test]
fn histories_that_failed_once() {
    for seed in [5, 522, 1704, 2631, 5933] {
        one_history(seed);
    }
}

#[test]
fn the_power_goes_at_every_step_of_a_short_life() {
    let life = |storage: &FaultyStorage, model: &mut Model, rng: &mut Rng| -> Option<()> {
        let (log, _) = try_open(storage, 7).ok()?;
        model.settle(&log);
        for round in 0..12 {
            model.append_some(rng, &log);
            if round % 5 == 4 {
                model.raise_floor(rng, &log);
            }
        }
        Some(())
    };
    let dry = FaultyStorage::new(5);
    life(&dry, &mut Model::default(), &mut Rng(5));
    let steps = dry.steps();
    assert!(steps > 60, "{steps}");
    for step in 1..=steps {
        for fault in [Fault::PowerCut, Fault::Io] {
            let storage = FaultyStorage::new(step);
            storage.set_faults(Faults { at_step: Some((step, fault)), ..Faults::default() });
            let mut model = Model::default();
            life(&storage, &mut model, &mut Rng(5));
            storage.power_cut();
            let log = recover(&storage, &mut Rng(step), step);
            model.settle(&log);
            assert_eq!(model.check(&log), [], "step {step} {fault:?}");
        }
    }
}
