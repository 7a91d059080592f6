//! Runs a test for many seeds, and says which one failed.

use std::time::{Duration, Instant};

/// A test stops early after so long: how many seeds a machine does is its own affair.
const PATIENCE: Duration = Duration::from_secs(25);

/// Runs `test` for `count` seeds, or `COLLECTOR_SEEDS` of them, or the one of `COLLECTOR_SEED`.
#[allow(
    clippy::disallowed_methods,
    reason = "the test bounds its own time, nothing is decided by it"
)]
pub(crate) fn run(name: &str, count: u64, test: impl Fn(u64)) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    if let Some(seed) = number("COLLECTOR_SEED") {
        let _replay = Replay { name, seed };
        return test(seed);
    }
    let asked = number("COLLECTOR_SEEDS");
    let start = Instant::now();
    for seed in 0..asked.unwrap_or(count) {
        let _replay = Replay { name, seed };
        test(seed);
        if asked.is_none() && start.elapsed() > PATIENCE {
            println!("{name}: stopped after {seed} of {count} seeds");
            return;
        }
    }
}

struct Replay<'a> {
    name: &'a str,
    seed: u64,
}

impl Drop for Replay<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}: replay with COLLECTOR_SEED={}", self.name, self.seed);
        }
    }
}
