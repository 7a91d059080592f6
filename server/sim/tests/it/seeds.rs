//! Whatever fails, and whenever: nothing acknowledged is lost, nothing is there twice.
//!
//! `COLLECTOR_SEEDS=N` runs N seeds, from `COLLECTOR_FROM_SEED` on; `COLLECTOR_SEED=N` runs that one alone and prints
//! what happened.

use server_sim::{Outcome, run, run_all};
use std::time::Instant;

/// Seeds of the normal run.
const SEEDS: u64 = 2000;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn fail(outcome: Outcome) -> ! {
    let Outcome { seed, result, trace } = outcome;
    println!("{trace}");
    println!("COLLECTOR_SEED={seed} replays this: {result:?}");
    panic!("seed {seed}: {}", result.err().unwrap_or("it passes when it runs alone".to_owned()));
}

#[test]
fn a_node_keeps_its_promises_whatever_fails() {
    if let Some(seed) = number("COLLECTOR_SEED") {
        let outcome = run(seed, true);
        match outcome.result {
            Ok(sums) => return println!("{}\n{sums:?}", outcome.trace),
            Err(_) => fail(outcome),
        }
    }
    let first = number("COLLECTOR_FROM_SEED").unwrap_or(0);
    let count = number("COLLECTOR_SEEDS").unwrap_or(SEEDS);
    #[allow(clippy::disallowed_methods, reason = "says how fast it was, decides nothing")]
    let begun = Instant::now();
    match run_all(first..first + count) {
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
