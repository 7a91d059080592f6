//! Waiting for a condition.

use std::fmt::Debug;
use std::time::{Duration, Instant};

const ASK_EVERY: Duration = Duration::from_millis(50);

/// Asks until the answer is `Ok`.
///
/// # Panics
///
/// After `within`, with the last answer.
pub fn eventually<T, E: Debug>(
    what: &str,
    within: Duration,
    mut ask: impl FnMut() -> Result<T, E>,
) -> T {
    let begun = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(last) if begun.elapsed() >= within => {
                panic!("{what}: not within {within:?}; last: {last:?}")
            }
            Err(_) => std::thread::sleep(ASK_EVERY),
        }
    }
}

/// Asks until the condition holds.
///
/// # Panics
///
/// If it does not hold after `within`.
pub fn wait_for(what: &str, within: Duration, mut holds: impl FnMut() -> bool) {
    eventually(what, within, || if holds() { Ok(()) } else { Err("does not hold") });
}

/// Lets the programs under test work for a while: load, an outage. Never a way to wait for a result.
pub fn pause(length: Duration) {
    std::thread::sleep(length);
}
