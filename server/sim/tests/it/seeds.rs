//! Whatever fails, and whenever: nothing acknowledged is lost, nothing is there twice.
//!
//! `COLLECTOR_SEED=N` runs that one alone and prints what happened.

use server_sim::{Outcome, run, run_all, run_outage};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Whether a place in the code logs is decided for all threads at once: what is compared line for line runs alone.
static ALONE: Mutex<()> = Mutex::new(());

/// Seeds that are run twice, to be compared.
const REPEATED: u64 = 40;

/// Seeds with an outage, however many others there are: each takes half a second.
const OUTAGES: u64 = 20;

fn fail(outcome: Outcome) -> ! {
    let Outcome { seed, result, trace } = outcome;
    println!("{trace}");
    println!("COLLECTOR_SEED={seed} replays this: {result:?}");
    panic!("seed {seed}: {}", result.err().unwrap_or("it passes when it runs alone".to_owned()));
}

/// What is printed of a failure is what happened: nothing but the seed decides.
#[test]
fn a_seed_happens_the_same_way_again() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let from = sdk_seeds::range(REPEATED, REPEATED).start;
    for seed in from..from + REPEATED {
        let (first, again) = (run(seed, true), run(seed, true));
        let mut lines = first.trace.lines().zip(again.trace.lines());
        let differs = lines.find(|(one, other)| one != other);
        if differs.is_some() || first.trace.len() != again.trace.len() {
            // The hook for panics keeps what it is told.
            println!("COLLECTOR_SEED={seed}, first and again: {differs:#?}");
            panic!("seed {seed}");
        }
    }
}

#[test]
fn a_node_keeps_its_promises_whatever_fails() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let seeds = sdk_seeds::range(2_000, 100_000);
    if sdk_seeds::is_replay() {
        let outcome = run(seeds.start, true);
        match outcome.result {
            Ok(sums) => return println!("{}\n{sums:?}", outcome.trace),
            Err(_) => fail(outcome),
        }
    }
    let count = seeds.end - seeds.start;
    #[allow(clippy::disallowed_methods, reason = "says how fast it was, decides nothing")]
    let begun = Instant::now();
    match run_all(seeds) {
        Ok(sums) => {
            println!("{count} seeds in {:.1?}, {sums:?}", begun.elapsed());
            assert!(
                sums.acked > 10 * count && sums.committed > 0,
                "too little was tried: {sums:?}"
            );
        }
        Err(outcome) => fail(outcome),
    }
}

/// An hour without a file system: what comes in waits on the disk, and is final soon after.
#[test]
fn an_hour_without_a_file_system_waits_on_the_disk_and_drains_at_twice_the_rate() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let seeds = sdk_seeds::range(OUTAGES, OUTAGES);
    for seed in seeds.start..seeds.end.min(seeds.start + OUTAGES) {
        let outcome = run_outage(seed, Duration::from_secs(3600), sdk_seeds::is_replay());
        match outcome.result {
            Ok(sums) => println!("seed {seed}: {:?}", sums.outage),
            Err(_) => fail(outcome),
        }
    }
}
