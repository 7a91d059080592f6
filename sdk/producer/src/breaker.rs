//! A circuit breaker: leaves an endpoint alone that does not answer.

use std::time::Duration;

use tokio::time::Instant;

/// When a breaker opens and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerOptions {
    /// Failures in a row after which it opens.
    pub failures: u32,
    /// How long it stays open the first time; each time in a row doubles it.
    pub open_for: Duration,
    /// The longest it stays open.
    pub open_for_max: Duration,
}

impl Default for BreakerOptions {
    fn default() -> BreakerOptions {
        BreakerOptions {
            failures: 5,
            open_for: Duration::from_secs(1),
            open_for_max: Duration::from_secs(30),
        }
    }
}

/// What a breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything.
    Closed,
    /// Nothing, until its time is over.
    Open,
    /// One attempt, which decides.
    HalfOpen,
}

/// The breaker of one endpoint.
#[derive(Debug)]
pub(crate) struct Breaker {
    options: BreakerOptions,
    state: BreakerState,
    failures: u32,
    /// How often in a row it has opened.
    opened: u32,
    open_until: Instant,
}

impl Breaker {
    pub(crate) fn new(options: BreakerOptions) -> Breaker {
        Breaker {
            options,
            state: BreakerState::Closed,
            failures: 0,
            opened: 0,
            open_until: Instant::now(),
        }
    }

    pub(crate) fn state(&self) -> BreakerState {
        self.state
    }

    /// Asks for an attempt, which must end in [`success`](Self::success) or
    /// [`failure`](Self::failure).
    ///
    /// # Errors
    /// When to ask again.
    pub(crate) fn attempt(&mut self, now: Instant) -> Result<(), Instant> {
        match self.state {
            BreakerState::Closed => Ok(()),
            BreakerState::Open if now < self.open_until => Err(self.open_until),
            BreakerState::Open => {
                self.state = BreakerState::HalfOpen;
                Ok(())
            }
            // The one attempt is under way, or was abandoned: then this one takes its place.
            BreakerState::HalfOpen => Ok(()),
        }
    }

    pub(crate) fn success(&mut self) {
        self.state = BreakerState::Closed;
        self.failures = 0;
        self.opened = 0;
    }

    pub(crate) fn failure(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        let opens = match self.state {
            BreakerState::Closed => self.failures >= self.options.failures,
            BreakerState::HalfOpen => true,
            BreakerState::Open => false,
        };
        if opens {
            let doubled = 2u32.saturating_pow(self.opened);
            let open_for = self.options.open_for.saturating_mul(doubled);
            self.open_until = now + open_for.min(self.options.open_for_max);
            self.opened = self.opened.saturating_add(1);
            self.state = BreakerState::Open;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn opens_after_failures_and_one_attempt_decides() {
        let mut breaker = Breaker::new(BreakerOptions::default());
        for _ in 0..5 {
            assert_eq!(breaker.attempt(Instant::now()), Ok(()));
            breaker.failure(Instant::now());
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        for open_for in [1, 2, 4, 8, 16, 30, 30] {
            let opened = Instant::now();
            let again = breaker.attempt(opened).expect_err("open");
            assert_eq!(again - opened, Duration::from_secs(open_for));
            tokio::time::sleep_until(again).await;
            assert_eq!(breaker.attempt(Instant::now()), Ok(()));
            assert_eq!(breaker.state(), BreakerState::HalfOpen);
            breaker.failure(Instant::now());
        }
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(breaker.attempt(Instant::now()), Ok(()));
        breaker.success();
        assert_eq!(breaker.state(), BreakerState::Closed);
        breaker.failure(Instant::now());
        assert_eq!(breaker.state(), BreakerState::Closed, "the count began anew");
    }
}
