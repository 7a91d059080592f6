//! When blocks are due.

use crate::arguments::{RateArgument, RunArguments};
use std::time::Duration;
use tokio::time::Instant;

/// The due times of one producer's blocks.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    begun: Instant,
    end: Instant,
    pace: Pace,
    /// How many blocks have been taken.
    taken: u64,
}

#[derive(Debug, Clone)]
enum Pace {
    /// The blocks of all producers, one every so many seconds, in turn.
    Open { interval: f64, index: u64, producers: u64 },
    /// Whenever there is room.
    Closed,
}

impl Schedule {
    /// Of producer `index` of a run that began at `begun`.
    pub(super) fn new(begun: Instant, index: u32, arguments: &RunArguments) -> Self {
        let pace = match arguments.rate {
            RateArgument::PerSecond(rate) => Pace::Open {
                interval: f64::from(arguments.batch_events) / rate as f64,
                index: index.into(),
                producers: arguments.producers.into(),
            },
            RateArgument::Max => Pace::Closed,
        };
        Self { begun, end: begun + Duration::from_secs(arguments.seconds), pace, taken: 0 }
    }

    /// When the next block is due; `None` when the run is over.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let due = match &self.pace {
            Pace::Open { interval, index, producers } => {
                let number = self.taken * producers + index;
                self.begun + Duration::from_secs_f64(number as f64 * interval)
            }
            Pace::Closed => now,
        };
        (due < self.end).then_some(due)
    }

    /// The next block has been dealt with.
    pub(super) fn take(&mut self) {
        self.taken += 1;
    }

    /// Nothing is due from `now` on.
    pub(super) fn stop(&mut self, now: Instant) {
        self.end = self.end.min(now);
    }

    /// How long blocks were due.
    pub(super) fn lasted(&self) -> Duration {
        self.end - self.begun
    }

    /// How many blocks were due until now.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due_ms(producers: u32, rate: RateArgument) -> Vec<Vec<u128>> {
        let arguments = RunArguments {
            seconds: 1,
            rate,
            batch_events: 100,
            producers,
            ..crate::run::tests::arguments()
        };
        let begun = Instant::now();
        let one = |index| {
            let mut schedule = Schedule::new(begun, index, &arguments);
            let mut times = Vec::new();
            while let Some(due) =
                schedule.due(begun + Duration::from_millis(times.len() as u64 * 300))
            {
                schedule.take();
                times.push((due - begun).as_millis());
            }
            times
        };
        (0..producers).map(one).collect()
    }

    #[test]
    fn an_open_loop_is_due_by_the_clock_alone_and_producers_take_turns() {
        assert_eq!(due_ms(1, RateArgument::PerSecond(400)), [[0, 250, 500, 750]]);
        assert_eq!(due_ms(2, RateArgument::PerSecond(400)), [[0, 500], [250, 750]]);
    }

    #[test]
    fn a_closed_loop_is_due_whenever_it_is_asked() {
        assert_eq!(due_ms(1, RateArgument::Max), [[0, 300, 600, 900]]);
    }
}
