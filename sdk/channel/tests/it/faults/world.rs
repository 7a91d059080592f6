//! One seed: a disk, a few lives of a process on it, and what must be true of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sdk_event::{EventId, Lineage, ProducerId};
use sdk_flow::{Batch, Entropy, ManualClock, SeededEntropy};
use sdk_wal::{Fault, Faults, FaultyStorage, Quarantined};

use super::model::{Journaled, Model};
use super::producers::Producer;
use crate::harness::{NOW_MS, lineage};

/// Lives of the process, at most.
const LIVES_MAX: u64 = 6;

/// What a run came to.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) lives: u64,
    pub(super) acked: u64,
    pub(super) duplicates: u64,
    pub(super) delivered: u64,
    pub(super) lost: u64,
    pub(super) expired: u64,
    pub(super) refused: u64,
    pub(super) power_cuts: u64,
    pub(super) io_errors: u64,
    pub(super) flips: u64,
    pub(super) full: u64,
    pub(super) inexact: u64,
}

impl Sums {
    pub(super) fn add(&mut self, one: &Sums) {
        self.lives += one.lives;
        self.acked += one.acked;
        self.duplicates += one.duplicates;
        self.delivered += one.delivered;
        self.lost += one.lost;
        self.expired += one.expired;
        self.refused += one.refused;
        self.power_cuts += one.power_cuts;
        self.io_errors += one.io_errors;
        self.flips += one.flips;
        self.full += one.full;
        self.inexact += one.inexact;
    }
}

/// An acknowledgement, never taken back.
#[derive(Debug, Clone)]
pub(super) struct Acked {
    pub(super) id: EventId,
    pub(super) count: u32,
    pub(super) words: Vec<String>,
}

pub(super) struct World {
    pub(super) rng: SeededEntropy,
    pub(super) storage: FaultyStorage,
    pub(super) clock: Arc<ManualClock>,
    /// What Raft would know: lineages with their lengths, and floors.
    pub(super) sealed: Vec<(Lineage, u64)>,
    pub(super) floors: BTreeMap<Lineage, u64>,
    /// The lineage whose length is not decided, and how far it was handed out.
    pub(super) open: Option<(Lineage, u64)>,
    pub(super) epoch: u64,
    pub(super) producers: Vec<Producer>,
    pub(super) model: Model,
    /// What was written to the open lineage, in its order.
    pub(super) journal: Vec<Journaled>,
    pub(super) acked: Vec<Acked>,
    /// Every event that was read, by where it stands.
    pub(super) read: BTreeMap<(Lineage, u64), (EventId, String)>,
    pub(super) lost: Vec<(Lineage, u64, u64)>,
    pub(super) unreadable: Vec<Quarantined>,
    /// Whether bits were flipped: then some may be lost, and say so.
    pub(super) flipped: bool,
    /// Whether a name in the log's directory may never become durable.
    pub(super) names_in_doubt: bool,
    pub(super) sums: Sums,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let rng = SeededEntropy::new(seed);
        let producers = 1 + rng.below(4) as u8;
        World {
            storage: FaultyStorage::new(rng.next_u64()),
            rng,
            clock: Arc::new(ManualClock::new(NOW_MS)),
            sealed: Vec::new(),
            floors: BTreeMap::new(),
            open: None,
            epoch: 0,
            producers: (1..=producers).map(Producer::new).collect(),
            model: Model::default(),
            journal: Vec::new(),
            acked: Vec::new(),
            read: BTreeMap::new(),
            lost: Vec::new(),
            unreadable: Vec::new(),
            flipped: false,
            names_in_doubt: false,
            sums: Sums::default(),
        }
    }

    pub(super) fn run(mut self) -> Sums {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime, for its timers");
        let _guard = runtime.enter();
        for _ in 0..1 + self.rng.below(LIVES_MAX) {
            self.sums.lives += 1;
            self.life(false);
            self.end_life();
        }
        // A last life without faults drains everything.
        self.storage.set_faults(Faults::default());
        self.sums.lives += 1;
        self.life(true);
        self.judge();
        self.sums
    }

    pub(super) fn chance(&self, percent: u64) -> bool {
        self.rng.below(100) < percent
    }

    pub(super) fn next_lineage(&mut self) -> Lineage {
        self.epoch += 1;
        lineage(self.epoch)
    }

    /// What goes wrong from here on.
    pub(super) fn draw_faults(&mut self, steps: u64) -> Faults {
        let at = self.storage.steps() + 1 + self.rng.below(steps);
        let at_step = match self.rng.below(10) {
            0..4 => {
                self.sums.power_cuts += 1;
                Some((at, Fault::PowerCut))
            }
            4..6 => {
                self.sums.io_errors += 1;
                Some((at, Fault::Io))
            }
            _ => None,
        };
        Faults { at_step, short_writes: self.chance(30), capacity_bytes: None }
    }

    /// The process is gone, one way or the other.
    fn end_life(&mut self) {
        self.producers.iter_mut().for_each(Producer::disconnected);
        let killed = self.rng.below(3) == 0 && !self.storage.is_down();
        // Where a directory's sync has failed, this disk never makes its names
        // durable: no process can know, so the machine goes down with it.
        match killed && !std::mem::take(&mut self.names_in_doubt) {
            true => self.storage.kill(),
            false => self.storage.power_cut(),
        }
        self.clock.advance(Duration::from_millis(self.rng.below(20_000)));
    }

    /// Checks a batch and remembers what was in it.
    pub(super) fn take(&mut self, batch: &Batch, limit: u64) {
        assert!(batch.to <= limit, "a batch up to {} passes the watermark {limit}", batch.to);
        let mut last = None;
        for (offset, event) in batch.events() {
            assert!((batch.from..batch.to).contains(&offset), "{offset} is not in the batch");
            assert!(last.is_none_or(|last| last < offset), "offsets do not ascend");
            last = Some(offset);
            let text = String::from_utf8_lossy(event.body()).into_owned();
            let now = (event.id(), text);
            let before = self.read.insert((batch.lineage, offset), now.clone());
            assert!(
                before.is_none() || before.as_ref() == Some(&now),
                "another event stands at {offset} of {} now: {before:?}, {now:?}",
                batch.lineage
            );
        }
    }

    /// Nothing acknowledged is lost, nothing is there twice, order is kept.
    fn judge(&mut self) {
        self.sums.delivered = self.read.len() as u64;
        let mut places: BTreeMap<EventId, (Lineage, u64)> = BTreeMap::new();
        let mut last: BTreeMap<ProducerId, (u64, u64)> = BTreeMap::new();
        for (place, (id, _)) in &self.read {
            let twice = places.insert(*id, *place);
            assert!(twice.is_none(), "{id} is at {twice:?} and at {place:?}");
            let now = (id.generation, id.sequence);
            let before = last.insert(id.producer, now);
            assert!(before.is_none_or(|before| before < now), "{id} comes after {before:?}");
        }
        let mut missing = Vec::new();
        for acked in &self.acked {
            for at in 0..acked.count {
                let id = EventId { sequence: acked.id.sequence + u64::from(at), ..acked.id };
                match places.get(&id) {
                    Some(place) => {
                        assert_eq!(self.read[place].1, acked.words[at as usize], "{id} changed");
                    }
                    None => missing.push(id),
                }
            }
        }
        self.sums.lost = missing.len() as u64;
        assert!(missing.is_empty() || self.flipped, "acknowledged and lost: {missing:?}");
        for id in &missing {
            let listed = self.unreadable.iter().any(|range| {
                let known = range.identity.filter(|known| {
                    (known.producer, known.generation) == (id.producer, id.generation)
                });
                known.is_some_and(|known| {
                    (known.sequence..known.sequence + (range.to - range.from))
                        .contains(&id.sequence)
                })
            });
            assert!(listed, "{id} is lost and not listed by its id: {:?}", self.unreadable);
        }
    }
}
