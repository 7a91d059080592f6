//! When and how often to try again.

use std::time::Duration;

use sdk_flow::Entropy;
use tokio::time::Instant;

/// How retries are spread.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryOptions {
    /// The pause after the first failure; each further one in a row doubles it.
    pub pause: Duration,
    /// The longest pause.
    pub pause_max: Duration,
    /// Blocks sent again may be at most this share of the blocks sent.
    pub budget: f64,
    /// So many may be sent again in any second all the same.
    pub budget_per_second: u32,
}

impl Default for RetryOptions {
    fn default() -> RetryOptions {
        RetryOptions {
            pause: Duration::from_millis(50),
            pause_max: Duration::from_secs(5),
            budget: 0.1,
            budget_per_second: 10,
        }
    }
}

impl RetryOptions {
    /// The pause after so many failures in a row, at least half of it and the rest random, so that
    /// those who failed together do not come back together.
    pub(crate) fn backoff(&self, failures: u32, entropy: &dyn Entropy) -> Duration {
        let doubled = 2u32.saturating_pow(failures.saturating_sub(1));
        let pause = self.pause.saturating_mul(doubled).min(self.pause_max);
        pause.mul_f64(0.5 + entropy.fraction() / 2.0)
    }
}

/// How many seconds of its trickle, or blocks of its share, a budget can save up.
const SAVED_MAX: f64 = 1_000.0;

/// Keeps retries a small share of the traffic, so that they never are what overloads a node.
///
/// It never refuses one: blocks are sent until their deadline. It says how long to wait.
#[derive(Debug)]
pub(crate) struct Budget {
    share: f64,
    per_second: f64,
    balance: f64,
    counted_at: Instant,
}

impl Budget {
    pub(crate) fn new(options: &RetryOptions) -> Budget {
        let per_second = f64::from(options.budget_per_second.max(1));
        let balance = per_second * 10.0;
        Budget { share: options.budget, per_second, balance, counted_at: Instant::now() }
    }

    /// A block was sent for the first time.
    pub(crate) fn sent(&mut self) {
        self.balance = (self.balance + self.share).min(SAVED_MAX);
    }

    /// Pays for `blocks` that are sent again; returns how long to wait before.
    pub(crate) fn spend(&mut self, blocks: usize, now: Instant) -> Duration {
        let trickle = (now - self.counted_at).as_secs_f64() * self.per_second;
        self.counted_at = now;
        self.balance = (self.balance + trickle).min(SAVED_MAX) - blocks as f64;
        if self.balance >= 0.0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64(-self.balance / self.per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_tenth_may_be_sent_again_and_a_trickle_always() {
        let mut budget = Budget::new(&RetryOptions::default());
        assert_eq!(budget.spend(100, Instant::now()), Duration::ZERO, "what it begins with");
        (0..1000).for_each(|_| budget.sent());
        assert!(budget.spend(100, Instant::now()) < Duration::from_millis(1), "a tenth");
        assert!(
            budget.spend(50, Instant::now()).abs_diff(Duration::from_secs(5))
                < Duration::from_millis(1)
        );
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(budget.spend(9, Instant::now()), Duration::ZERO, "ten a second");
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_differ() {
        let (options, entropy) = (RetryOptions::default(), sdk_flow::SeededEntropy::new(1));
        for (failures, pause_ms) in [(1, 50), (2, 100), (3, 200), (8, 5000), (u32::MAX, 5000)] {
            let pauses: Vec<_> = (0..50).map(|_| options.backoff(failures, &entropy)).collect();
            let whole = Duration::from_millis(pause_ms);
            assert!(pauses.iter().all(|pause| *pause >= whole / 2 && *pause <= whole));
            assert!(pauses.windows(2).any(|pair| pair[0] != pair[1]));
        }
    }
}
