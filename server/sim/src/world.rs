//! One seed: a disk, a file system, producers, and what is true of them all.

use crate::finals::{Finals, Id};
use crate::outage::Outage;
use crate::producer::Producer;
use crate::trace::Trace;
use sdk_files::fs::{Faults as FileFaults, FaultyDisk, MemoryDisk};
use sdk_flow::{Entropy, SeededEntropy};
use sdk_wal::FaultyStorage;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Lives of the node before the last one, at most.
const LIVES_MAX: u64 = 4;
/// Some day in 2027.
const NOW_MS: i64 = 1_800_000_000_000;

/// What a seed came to.
#[derive(Debug, Default, Clone, Copy)]
pub struct Sums {
    /// Lives of the node.
    pub lives: u64,
    /// Events acknowledged.
    pub acked: u64,
    /// Of these, those that were said to be final.
    pub committed: u64,
    /// Blocks that were there already when they came again.
    pub duplicates: u64,
    /// Lives that ended in a power cut.
    pub power_cuts: u64,
    /// Final files.
    pub files: u64,
    /// What became of an outage, if there was one.
    pub outage: Outage,
}

impl Sums {
    /// Adds another's.
    pub fn add(&mut self, other: Sums) {
        self.lives += other.lives;
        self.acked += other.acked;
        self.committed += other.committed;
        self.duplicates += other.duplicates;
        self.power_cuts += other.power_cuts;
        self.files += other.files;
    }
}

/// Everything that outlives a life of the node.
pub struct World {
    pub(crate) draw: SeededEntropy,
    pub(crate) storage: FaultyStorage,
    pub(crate) disk: FaultyDisk,
    /// Whether the finals are on the node's own disk, whose power goes with the node's.
    pub(crate) local: bool,
    pub(crate) producers: Vec<Arc<Producer>>,
    pub(crate) now_ms: i64,
    pub(crate) spec: String,
    /// How long the file system is away in the last life.
    pub(crate) outage: Option<Duration>,
    pub(crate) trace: Trace,
    pub(crate) sums: Sums,
    finals: Finals,
}

impl World {
    pub(crate) fn new(seed: u64, trace: Trace) -> World {
        let draw = SeededEntropy::new(seed);
        let faults = Arc::new(SeededEntropy::new(draw.next_u64()));
        let producers = (1..=1 + u8::try_from(draw.below(3)).unwrap_or(0))
            .map(|number| Producer::new(number, draw.next_u64(), trace.clone()))
            .collect();
        World {
            storage: FaultyStorage::new(draw.next_u64()),
            disk: FaultyDisk::new(MemoryDisk::new(), faults, FileFaults::NONE),
            local: draw.below(2) == 0,
            producers,
            now_ms: NOW_MS,
            spec: spec(&draw),
            outage: None,
            trace,
            sums: Sums::default(),
            finals: Finals::default(),
            draw,
        }
    }

    /// All lives, the last one without faults.
    pub(crate) fn run(mut self) -> Result<Sums, String> {
        for _ in 0..1 + self.draw.below(LIVES_MAX) {
            self.life(false)?;
            self.check()?;
            self.take();
        }
        self.producers.iter().for_each(|producer| producer.state().ends = true);
        self.last()
    }

    /// One life without faults, in which the file system is away for so long.
    pub(crate) fn run_outage(mut self, lasts: Duration) -> Result<Sums, String> {
        self.outage = Some(lasts);
        self.last()
    }

    /// The last life, and what has come of it all.
    fn last(mut self) -> Result<Sums, String> {
        self.life(true)?;
        let seen = self.check()?;
        for producer in &self.producers {
            let made = producer.made();
            let state = producer.state();
            self.sums.acked += state.acked.len() as u64;
            self.sums.committed += state.committed.len() as u64;
            self.sums.duplicates += state.duplicates;
            if let Some(lost) = (0..made).find(|at| !seen.contains_key(&(producer.number(), *at))) {
                return Err(format!("{}-{lost} is lost", producer.number()));
            }
        }
        let made: u64 = self.producers.iter().map(|producer| producer.made()).sum();
        if seen.len() as u64 != made {
            return Err(format!("{} events are in files, {made} were made", seen.len()));
        }
        self.sums.files = seen.values().collect::<std::collections::BTreeSet<_>>().len() as u64;
        Ok(self.sums)
    }

    /// What holds at any time.
    pub(crate) fn check(&mut self) -> Result<BTreeMap<Id, String>, String> {
        let seen = self.finals.read(self.disk.disk())?;
        for producer in &self.producers {
            let state = producer.state();
            if let Some(wrong) = &state.wrong {
                return Err(wrong.clone());
            }
            let missing =
                state.committed.iter().find(|at| !seen.contains_key(&(producer.number(), **at)));
            if let Some(missing) = missing {
                return Err(format!(
                    "{}-{missing} is committed, and in no file",
                    producer.number()
                ));
            }
        }
        Ok(seen)
    }

    /// A job takes some of what is committed away: a call that comes late must not bring it back.
    fn take(&mut self) {
        let World { finals, draw, disk, producers, .. } = self;
        let is_committed = |id: &Id| {
            let of = producers.iter().find(|producer| producer.number() == id.0);
            of.is_some_and(|producer| producer.state().committed.contains(&id.1))
        };
        finals.take(disk.disk(), |ids| ids.iter().all(is_committed) && draw.below(2) == 0);
    }

    /// Everything is committed by now, and a job takes it all.
    pub(crate) fn take_all(&mut self) {
        self.finals.take(self.disk.disk(), |_| true);
    }

    /// The power goes, where the node is and perhaps where its finals are.
    pub(crate) fn power_cut(&mut self) {
        self.sums.power_cuts += 1;
        self.storage.power_cut();
        if self.local {
            self.disk.power_cut();
            self.finals.forget();
        }
    }

    /// So many in a hundred times.
    pub(crate) fn chance(&self, percent: u64) -> bool {
        self.draw.below(100) < percent
    }
}

/// A node's file with one flow, a little different for each seed.
fn spec(draw: &SeededEntropy) -> String {
    let shards = 1 + draw.below(2);
    let interval_ms = 500 + draw.below(6_000);
    let count = 1 + draw.below(30);
    format!(
        r#"
[flow.web]
shards = {shards}
replicas = 1
[flow.web.sources.in]
type = "collector"
channels = ["main"]
[flow.web.channels.main]
type = "durable"
[flow.web.sinks.out]
type = "files"
channel = "main"
path = "/data/web/%{{app}}/%H%M"
roll_interval = "{interval_ms}ms"
roll_count = {count}
"#
    )
}
