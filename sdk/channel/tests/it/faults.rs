//! The durable channel on a disk that fails: power cuts, torn and dropped writes,
//! EIO, a full disk, short writes, flipped bits; replayable from a seed.
//!
//! `COLLECTOR_SEEDS=N` runs N seeds, `COLLECTOR_SEED=N` that one alone.

mod life;
mod model;
mod producers;
mod world;

use world::World;

/// Seeds of the normal run.
const SEEDS: u64 = 2000;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

#[test]
fn acknowledged_events_survive_every_fault_once_and_in_order() {
    let seeds = match number("COLLECTOR_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("COLLECTOR_SEEDS").unwrap_or(SEEDS),
    };
    let mut sums = world::Sums::default();
    for seed in seeds {
        let run = std::panic::catch_unwind(|| World::new(seed).run());
        match run {
            Ok(one) => sums.add(&one),
            Err(panic) => {
                eprintln!("COLLECTOR_SEED={seed} replays this failure");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{sums:?}");
}
