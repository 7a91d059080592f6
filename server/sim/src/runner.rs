//! Runs seeds, on every core, and says which one failed.

use crate::panics;
use crate::trace::Trace;
use crate::world::{Sums, World};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How one seed ended.
#[derive(Debug)]
pub struct Outcome {
    /// Which.
    pub seed: u64,
    /// What it came to, or what was wrong.
    pub result: Result<Sums, String>,
    /// What happened, if that was asked for.
    pub trace: String,
}

/// Runs one seed. With `traced` everything that happens is written down; it happens the same either way.
#[must_use]
pub fn run(seed: u64, traced: bool) -> Outcome {
    outcome(seed, traced, World::run)
}

/// Runs one seed in which the file system is away for so long and nothing else fails.
#[must_use]
pub fn run_outage(seed: u64, lasts: Duration, traced: bool) -> Outcome {
    outcome(seed, traced, |world| world.run_outage(lasts))
}

fn outcome(seed: u64, traced: bool, run: impl FnOnce(World) -> Result<Sums, String>) -> Outcome {
    panics::remember();
    drop(panics::take());
    let trace = if traced { Trace::kept() } else { Trace::default() };
    let world = World::new(seed, trace.clone());
    let result = catch_unwind(AssertUnwindSafe(|| run(world))).unwrap_or_else(|_| {
        let panics = panics::take();
        Err(panics.into_iter().next().unwrap_or_default())
    });
    Outcome { seed, result, trace: trace.text() }
}

/// Runs seeds until one fails; gives the first that did, with its trace.
pub fn run_all(seeds: Range<u64>) -> Result<Sums, Outcome> {
    let (next, end) = (AtomicU64::new(seeds.start), seeds.end);
    let sums = Mutex::new(Sums::default());
    let failed: Mutex<Option<u64>> = Mutex::new(None);
    let lock = "no panic while the lock is held";
    let work = || {
        while failed.lock().expect(lock).is_none() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                break;
            }
            match run(seed, false).result {
                Ok(one) => sums.lock().expect(lock).add(one),
                Err(_) => {
                    failed.lock().expect(lock).get_or_insert(seed);
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    match failed.into_inner().expect(lock) {
        Some(seed) => Err(run(seed, true)),
        None => Ok(sums.into_inner().expect(lock)),
    }
}
