//! A wall clock that goes with the runtime's time.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sdk_flow::{Clock, SystemClock};

pub(crate) struct TestClock {
    monotonic: SystemClock,
    base_ms: AtomicI64,
}

impl TestClock {
    pub(crate) fn new(now_ms: i64) -> TestClock {
        TestClock { monotonic: SystemClock::new(), base_ms: AtomicI64::new(now_ms) }
    }
}

impl Clock for TestClock {
    fn wall_ms(&self) -> i64 {
        let since = i64::try_from(self.monotonic.monotonic().as_millis()).unwrap();
        self.base_ms.load(Ordering::Relaxed) + since
    }

    fn monotonic(&self) -> Duration {
        self.monotonic.monotonic()
    }
}
