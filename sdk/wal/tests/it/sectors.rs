//! The last flush is cut, earlier ones never.

use crate::support::{DIR, Rng, entry, lineage, open, put, read};
use sdk_wal::inspect::Inspector;
use sdk_wal::{Entry, FaultyStorage, Log, LogReadError, Position, Storage};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SECTOR: usize = 512;

/// A directory as it stands on the disk.
type Image = BTreeMap<PathBuf, Vec<u8>>;

fn image(storage: &FaultyStorage) -> Image {
    let entries = storage.list(Path::new(DIR)).unwrap();
    let paths = entries.into_iter().map(|entry| Path::new(DIR).join(entry.name));
    paths.map(|path| (path.clone(), storage.contents(&path).unwrap())).collect()
}

fn plant(image: &Image) -> FaultyStorage {
    let storage = FaultyStorage::new(0);
    image.iter().for_each(|(path, bytes)| storage.plant(path, bytes));
    storage
}

/// Two flushes of two lineages at the end of a log, in a segment that had another life.
struct Scene {
    /// What is durable before the two.
    before: Image,
    after: Image,
    tail: PathBuf,
    earlier: Vec<Entry>,
    flushes: [Vec<Entry>; 2],
    /// Where each record of the two stands in the tail.
    places: [Vec<Range<usize>>; 2],
    /// Where header and directories of each stand.
    heads: [Range<usize>; 2],
    /// Both, in whole sectors.
    sectors: Vec<usize>,
}

impl Scene {
    fn new(rng: &mut Rng) -> Self {
        let storage = FaultyStorage::new(rng.next());
        let (log, _) = open(&storage, rng.next());
        let mut earlier = Vec::new();
        let mut next = [0_u64; 3];
        let fill = |log: &Log, rng: &mut Rng, next: &mut [u64; 3], rounds: usize| {
            let mut filled = Vec::new();
            for _ in 0..rounds {
                let flow = 1 + rng.below(2);
                let entry = entry(flow, next[flow as usize], 2, 3000 + rng.below(3000) as usize);
                next[flow as usize] += 2;
                put(log, entry.clone()).unwrap();
                filled.push(entry);
            }
            filled
        };
        fill(&log, rng, &mut next, 60);
        for flow in [1, 2] {
            log.raise_floor(lineage(flow), next[flow as usize]);
        }
        log.drive();
        // The next segments are recycled ones.
        earlier.extend(fill(&log, rng, &mut next, 14));
        let floors = [1, 2].map(|flow| {
            let mine = earlier.iter().filter(|entry| entry.lineage.flow == flow);
            mine.map(|entry| entry.first_offset).min()
        });
        assert!(floors.iter().all(Option::is_some));
        let mut flushes: [Vec<Entry>; 2] = [Vec::new(), Vec::new()];
        let before = image(&storage);
        let mut positions: Vec<Position> = Vec::new();
        for flush in &mut flushes {
            let answers: Vec<_> = (0..2 + rng.below(3))
                .map(|_| {
                    let flow = 1 + rng.below(2);
                    let length = rng.below(1800) as usize;
                    let entry = entry(flow, next[flow as usize], 2, length);
                    next[flow as usize] += 2;
                    flush.push(entry.clone());
                    log.append(entry).unwrap()
                })
                .collect();
            log.drive();
            positions.extend(answers.into_iter().map(|answer| answer.wait().unwrap()));
        }
        let after = image(&storage);
        let at = [positions[0], *positions.last().unwrap()];
        if at[0].segment != at[1].segment || at[0].flush + 1 != at[1].flush {
            // A roll came between: another scene.
            return Self::new(rng);
        }
        let tail = Path::new(DIR).join(format!("{:020}.segment", at[0].segment));
        let counts = [flushes[0].len(), flushes[1].len()];
        let previous = previous_records(&after[&tail], at[0].at as usize);
        let heads = [(at[0].at, counts[0] + previous), (at[1].at, counts[1] + counts[0])];
        let heads = heads.map(|(at, records)| at as usize..at as usize + 64 + 80 * records);
        let mut places: [Vec<Range<usize>>; 2] = [Vec::new(), Vec::new()];
        for ((flush, head), places) in flushes.iter().zip(&heads).zip(&mut places) {
            let mut start = head.end;
            for entry in flush {
                let end = start + 56 + entry.body.len();
                places.push(start..end);
                start = end;
            }
        }
        let end = places[1].last().unwrap().end;
        let sectors = (heads[0].start / SECTOR..end.div_ceil(SECTOR)).collect();
        Self { before, after, tail, earlier, flushes, places, heads, sectors }
    }

    /// The disk with only these sectors of the two flushes, and what has to be there then.
    fn check(&self, kept: impl Fn(usize) -> bool) {
        let (old, new) = (&self.before[&self.tail], &self.after[&self.tail]);
        let mut bytes = new.clone();
        for &sector in self.sectors.iter().filter(|&&sector| !kept(sector)) {
            let range = sector * SECTOR..(sector + 1) * SECTOR;
            bytes[range.clone()].copy_from_slice(&old[range]);
        }
        let whole = |range: &Range<usize>| bytes[range.clone()] == new[range.clone()];
        // Its own directory is all that a header needs; the repeated one behind it may be gone.
        let own = |flush: usize| {
            let head = &self.heads[flush];
            head.start..head.start + 64 + 80 * self.flushes[flush].len()
        };
        let repeats = whole(&self.heads[1]);
        let readable = [whole(&own(0)), whole(&own(1))];
        let good: [Vec<bool>; 2] = [0, 1].map(|at| self.places[at].iter().map(whole).collect());
        let until_bad = |good: &[bool]| good.iter().take_while(|&&good| good).count();
        // Per flush: how many records have a place, and which of them can be read.
        let first: Vec<bool> = match (readable, repeats) {
            ([true, true], _) | ([false, true], true) => good[0].clone(),
            ([true, false], _) => good[0][..until_bad(&good[0])].to_vec(),
            _ => Vec::new(),
        };
        let second = if readable[1] { good[1][..until_bad(&good[1])].to_vec() } else { Vec::new() };
        let mut expected: Vec<(Entry, bool)> =
            self.earlier.iter().map(|entry| (entry.clone(), true)).collect();
        expected.extend(self.flushes[0].iter().cloned().zip(first));
        expected.extend(self.flushes[1].iter().cloned().zip(second));
        let lost_flush = readable == [false, true] && !repeats;
        let mut image = self.after.clone();
        image.insert(self.tail.clone(), bytes);
        let storage = plant(&image);
        for round in 0..2 {
            let (log, recovery) = open(&storage, 99 + round);
            if !lost_flush {
                self.compare(&log, &expected);
            }
            let bad = expected.iter().filter(|(_, good)| !good).count();
            // The second time a footer may stand for the segment, and nobody reads it before it is asked for.
            assert!(recovery.quarantined.len() == bad || round > 0);
            let inspector = Inspector::new(Arc::new(storage.clone()), DIR);
            assert_eq!(inspector.verify().unwrap().bad.len(), bad, "round {round}");
            assert!(lost_flush || log.quarantined().len() == bad, "round {round}");
            drop(log);
            storage.power_cut();
        }
    }

    fn compare(&self, log: &Log, expected: &[(Entry, bool)]) {
        for flow in [1, 2] {
            let mine = || expected.iter().filter(|(entry, _)| entry.lineage.flow == flow);
            let Some((first, _)) = mine().next() else { continue };
            let end = mine().last().map_or(0, |(entry, _)| entry.end());
            assert_eq!(log.end(lineage(flow)), end, "end of {flow}");
            let mut reader = log.reader(lineage(flow), first.first_offset);
            for (entry, good) in mine() {
                match reader.next() {
                    Ok(Some(record)) => {
                        assert!(*good, "a bad record was delivered");
                        assert_eq!(record.first_offset, entry.first_offset);
                        assert_eq!(record.body, entry.body);
                    }
                    Err(LogReadError::Quarantined(bad)) => {
                        assert!(!good, "a good record was not delivered: {bad:?}");
                        assert_eq!((bad.from, bad.to), (entry.first_offset, entry.end()));
                        assert_eq!(bad.identity, entry.identity);
                        reader.seek(entry.end());
                    }
                    other => panic!("{other:?} at {}", entry.first_offset),
                }
            }
            assert!(read(&mut reader).unwrap().is_empty());
        }
    }
}

/// How many records the flush before had, as the header of a flush says.
fn previous_records(segment: &[u8], at: usize) -> usize {
    u32::from_le_bytes(segment[at + 36..at + 40].try_into().unwrap()) as usize
}

#[test]
fn every_mix_of_sectors_of_the_last_two_flushes() {
    sdk_seeds::each(60, 1_000, |seed| {
        let mut rng = Rng(seed);
        let scene = Scene::new(&mut rng);
        let first = scene.sectors[0];
        let count = scene.sectors.len();
        scene.check(|_| true);
        scene.check(|_| false);
        for cut in 0..count {
            scene.check(|sector| sector != first + cut);
            scene.check(|sector| sector < first + cut);
            scene.check(|sector| sector >= first + cut);
        }
        for _ in 0..40 {
            let mut mix = rng.clone();
            rng.next();
            let dense = mix.below(8) + 2;
            let kept: Vec<bool> = (0..count).map(|_| !mix.one_in(dense)).collect();
            scene.check(|sector| kept[sector - first]);
        }
    });
}

#[test]
fn a_record_of_an_earlier_attempt_in_the_same_place_is_another_one() {
    let storage = FaultyStorage::new(1);
    let (log, _) = open(&storage, 1);
    put(&log, entry(1, 0, 1, 100)).unwrap();
    log.drive();
    drop(log);
    let start = image(&storage);
    // The same offsets, the same length, other bytes.
    let attempt = |flow: u64| {
        let storage = plant(&start);
        let (log, _) = open(&storage, 2);
        let body = entry(flow, 7, 1, 3000).body;
        // A record before it takes the rest of the sector with the header.
        let first = log.append(entry(1, 1, 1, 600)).unwrap();
        let position = put(&log, Entry { body, ..entry(1, 2, 1, 3000) }).unwrap();
        assert_eq!(first.wait().unwrap(), position);
        (image(&storage), position)
    };
    let ((first, position), (mut second, same)) = (attempt(1), attempt(2));
    assert_eq!(position, same);
    let segment = Path::new(DIR).join(format!("{:020}.segment", position.segment));
    // Of the second attempt only the header reached the disk; the first had left its record there.
    let data = position.at as usize + SECTOR;
    let tail = first[&segment][data..].to_vec();
    second.get_mut(&segment).unwrap()[data..].copy_from_slice(&tail);
    let (log, recovery) = open(&plant(&second), 3);
    assert_eq!(recovery.records_cut, 1);
    assert_eq!(log.end(lineage(1)), 2);
}
