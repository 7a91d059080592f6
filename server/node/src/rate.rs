//! How fast a counter grows, averaged over the last seconds.

use std::collections::VecDeque;
use std::time::Duration;

/// Over how long a rate is averaged.
pub(crate) const WINDOW: Duration = Duration::from_secs(10);
/// Samples in the window at most, however often it is asked.
const SAMPLES_MAX: usize = 64;

/// A counter's samples.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    samples: VecDeque<(Duration, u64)>,
}

impl Rate {
    /// Takes a sample and returns the rate per second.
    pub(crate) fn sample(&mut self, now: Duration, count: u64) -> f64 {
        while self.samples.len() > 1
            && self.samples.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= WINDOW)
        {
            self.samples.pop_front();
        }
        let spaced = self.samples.back().is_none_or(|(at, _)| {
            now.saturating_sub(*at) >= WINDOW / u32::try_from(SAMPLES_MAX).unwrap_or(1)
        });
        if spaced {
            self.samples.push_back((now, count));
        }
        let Some((since, before)) = self.samples.front() else { return 0.0 };
        let elapsed = now.saturating_sub(*since).as_secs_f64();
        if elapsed > 0.0 { count.saturating_sub(*before) as f64 / elapsed } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_last_ten_seconds() {
        let mut rate = Rate::default();
        for second in 0..30_u64 {
            let count = if second < 15 { second * 100 } else { 1_500 + (second - 15) * 1_000 };
            rate.sample(Duration::from_secs(second), count);
        }
        let now = rate.sample(Duration::from_secs(30), 16_500);
        assert!((now - 1_000.0).abs() < 1.0, "{now}");
    }
}
