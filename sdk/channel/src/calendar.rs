//! How long ago something was, when the wall clock may jump.

use std::time::Duration;

use sdk_flow::Clock;

/// A wall clock that is no further ahead than this is right.
const AHEAD_MS_MIN: i64 = 120_000;

/// What a process that did not run counts as at most: the wall clock alone knows how long that was.
const DOWN_MS_MAX: i64 = 24 * 3600 * 1000;

/// Time as idle producers are measured by: the wall clock's, but never ahead of time that has passed.
///
/// A wall clock that is set a week ahead by mistake would make everybody idle for a week, and what is
/// forgotten then is gone for good. One that is set back does no harm: nobody is idle for less than nothing.
#[derive(Debug, Clone)]
pub(crate) struct Calendar {
    /// As late as it can be, at `monotonic`.
    latest_ms: i64,
    monotonic: Duration,
    /// How far the wall clock was ahead when that was last written down.
    written_ahead_ms: i64,
}

impl Calendar {
    /// Time goes on where the log ends: its last record was put at `last_put_ms`, by a wall clock that
    /// was `ahead_ms` ahead. Without a record the wall clock is right.
    pub(crate) fn new(clock: &dyn Clock, last_put_ms: Option<i64>, ahead_ms: i64) -> Calendar {
        let wall_ms = clock.wall_ms();
        let last_put_ms = last_put_ms.unwrap_or(wall_ms);
        let down_ms = wall_ms.saturating_sub(last_put_ms).clamp(0, DOWN_MS_MAX);
        Calendar {
            latest_ms: last_put_ms.saturating_sub(ahead_ms).saturating_add(down_ms),
            monotonic: clock.monotonic(),
            written_ahead_ms: ahead_ms,
        }
    }

    /// The time that `wall_ms` stands for.
    pub(crate) fn at(&mut self, wall_ms: i64, clock: &dyn Clock) -> i64 {
        if wall_ms > self.latest_ms {
            let passed = clock.monotonic().saturating_sub(self.monotonic);
            let passed_ms = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
            self.latest_ms = self.latest_ms.saturating_add(passed_ms);
            self.monotonic += Duration::from_millis(passed_ms.unsigned_abs());
        }
        wall_ms.min(self.latest_ms)
    }

    /// Whether it should be written down that the wall clock is ahead, or that it is no longer.
    pub(crate) fn has_jumped(&mut self, wall_ms: i64, clock: &dyn Clock) -> bool {
        let ahead_ms = self.ahead_ms(wall_ms, clock);
        ahead_ms.abs_diff(self.written_ahead_ms) > AHEAD_MS_MIN.unsigned_abs()
    }

    /// It is written down.
    pub(crate) fn wrote(&mut self, ahead_ms: i64) {
        self.written_ahead_ms = ahead_ms;
    }

    /// How far the wall clock is ahead; 0 unless that is more than what is let pass.
    pub(crate) fn ahead_ms(&mut self, wall_ms: i64, clock: &dyn Clock) -> i64 {
        self.at(wall_ms, clock);
        let ahead_ms = wall_ms.saturating_sub(self.latest_ms);
        if ahead_ms > AHEAD_MS_MIN { ahead_ms } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sdk_flow::ManualClock;

    const HOUR: Duration = Duration::from_secs(3600);
    const HOUR_MS: i64 = 3600 * 1000;
    const NOW_MS: i64 = 1_800_000_000_000;

    #[test]
    fn a_wall_clock_that_jumps_ahead_takes_no_time_along() {
        let clock = ManualClock::new(NOW_MS);
        let mut calendar = Calendar::new(&clock, None, 0);
        let mut at = |clock: &ManualClock| calendar.at(clock.wall_ms(), clock) - NOW_MS;
        for hours in 1..=50 {
            clock.advance(HOUR);
            assert_eq!(at(&clock), hours * HOUR_MS);
        }
        clock.set_wall_ms(NOW_MS + 1000 * HOUR_MS);
        assert_eq!(at(&clock), 50 * HOUR_MS);
        clock.advance(HOUR);
        assert_eq!(at(&clock), 51 * HOUR_MS);
        // Set back too far, and then right: as if nothing had been.
        clock.set_wall_ms(NOW_MS);
        assert_eq!(at(&clock), 0);
        clock.advance(HOUR);
        clock.set_wall_ms(NOW_MS + 52 * HOUR_MS);
        assert_eq!(at(&clock), 52 * HOUR_MS);
    }

    #[test]
    fn time_goes_on_where_the_log_ends() {
        let clock = ManualClock::new(NOW_MS);
        let at = |last_put_ms, ahead_ms| {
            let mut calendar = Calendar::new(&clock, last_put_ms, ahead_ms);
            calendar.at(NOW_MS, &clock) - NOW_MS
        };
        assert_eq!(at(None, 0), 0);
        assert_eq!(at(Some(NOW_MS - 3 * HOUR_MS), 0), 0, "it was down for three hours");
        assert_eq!(at(Some(NOW_MS - 30 * HOUR_MS), 0), -6 * HOUR_MS);
        let ahead = 1000 * HOUR_MS;
        assert_eq!(at(Some(NOW_MS - HOUR_MS), ahead), -ahead, "it still is");
        assert_eq!(at(Some(NOW_MS + ahead), ahead), 0, "and now it is right again");
    }

    #[test]
    fn a_jump_is_written_down_once() {
        let clock = ManualClock::new(NOW_MS);
        let mut calendar = Calendar::new(&clock, None, 0);
        clock.advance(HOUR);
        assert!(!calendar.has_jumped(clock.wall_ms(), &clock));
        clock.set_wall_ms(clock.wall_ms() + HOUR_MS);
        assert!(calendar.has_jumped(clock.wall_ms(), &clock));
        assert_eq!(calendar.ahead_ms(clock.wall_ms(), &clock), HOUR_MS);
        calendar.wrote(HOUR_MS);
        clock.advance(HOUR);
        assert!(!calendar.has_jumped(clock.wall_ms(), &clock));
        clock.set_wall_ms(clock.wall_ms() - HOUR_MS);
        assert!(calendar.has_jumped(clock.wall_ms(), &clock));
        assert_eq!(calendar.ahead_ms(clock.wall_ms(), &clock), 0);
    }
}
