//! Which seeds a test of random schedules tries. For tests alone.
//!
//! | variable | meaning |
//! |---|---|
//! | `COLLECTOR_SEED=N` | that seed alone: a failure is repeated by it |
//! | `COLLECTOR_SEEDS=N` | so many, instead of a test's own number |
//! | `COLLECTOR_FROM_SEED=N` | beginning there, to go on where a long run ended |
//! | `COLLECTOR_FULL=1` | the test's long number instead of its normal one |

use std::ops::Range;

/// The seeds to try: `normal` of them, `full` in a long run, or what the environment says.
///
/// # Panics
///
/// If a variable is no number.
#[must_use]
pub fn range(normal: u64, full: u64) -> Range<u64> {
    choose(normal, full, |name| std::env::var(name).ok())
}

/// Whether only one seed is to be repeated.
#[must_use]
pub fn is_replay() -> bool {
    std::env::var_os("COLLECTOR_SEED").is_some()
}

/// Runs `test` for every seed of [`range`]; if one panics, says how to repeat it.
pub fn each(normal: u64, full: u64, mut test: impl FnMut(u64)) {
    for seed in range(normal, full) {
        let _failed = Failed(seed);
        test(seed);
    }
}

struct Failed(u64);

impl Drop for Failed {
    #[allow(clippy::print_stderr, reason = "the test's own output")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("COLLECTOR_SEED={} repeats this failure", self.0);
        }
    }
}

fn choose(normal: u64, full: u64, variable: impl Fn(&str) -> Option<String>) -> Range<u64> {
    let number = |name: &str| {
        let text = variable(name)?;
        Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
    };
    if let Some(seed) = number("COLLECTOR_SEED") {
        return seed..seed + 1;
    }
    let own = if variable("COLLECTOR_FULL").is_some() { full } else { normal };
    let first = number("COLLECTOR_FROM_SEED").unwrap_or(0);
    first..first + number("COLLECTOR_SEEDS").unwrap_or(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Range<u64> {
        choose(10, 1_000, |name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_chooses() {
        assert_eq!(with(&[]), 0..10);
        assert_eq!(with(&[("COLLECTOR_FULL", "1")]), 0..1_000);
        assert_eq!(with(&[("COLLECTOR_FULL", "1"), ("COLLECTOR_FROM_SEED", "400")]), 400..1_400);
        assert_eq!(with(&[("COLLECTOR_SEEDS", "7"), ("COLLECTOR_FROM_SEED", "3")]), 3..10);
        assert_eq!(with(&[("COLLECTOR_SEED", "5"), ("COLLECTOR_SEEDS", "7")]), 5..6);
    }
}
