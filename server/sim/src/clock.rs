//! A wall clock that goes with the runtime's time.

use sdk_flow::{Clock, SystemClock};
use std::time::Duration;

/// The clocks of one life.
pub(crate) struct LifeClock {
    monotonic: SystemClock,
    began_ms: i64,
}

impl LifeClock {
    pub(crate) fn new(began_ms: i64) -> Self {
        Self { monotonic: SystemClock::new(), began_ms }
    }
}

impl Clock for LifeClock {
    fn wall_ms(&self) -> i64 {
        let since = self.monotonic().as_millis();
        self.began_ms + i64::try_from(since).unwrap_or(i64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.monotonic.monotonic()
    }
}
