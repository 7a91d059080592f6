//! When a file is full, old or idle enough to be finished.

use sdk_config::FilesSink;

/// When a file is rolled. `None`: never for that reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RollPolicy {
    /// So long after the put time of its first event, in milliseconds.
    pub interval_ms: Option<i64>,
    /// When the bodies of its events reach so many bytes.
    pub body_bytes: Option<u64>,
    /// At so many events.
    pub events: Option<u64>,
    /// So long without a further event, in milliseconds.
    pub idle_ms: Option<i64>,
}

/// What the policy judges by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// Events in the file.
    pub events: u64,
    /// Bytes of their bodies.
    pub body_bytes: u64,
    /// Put time of the first.
    pub first_put_ms: i64,
    /// Put time of the newest.
    pub last_put_ms: i64,
}

impl RollPolicy {
    /// As a sink's spec says.
    pub fn new(spec: &FilesSink) -> RollPolicy {
        let millis = |text: sdk_config::DurationText| {
            (!text.is_zero()).then(|| i64::try_from(text.millis()).unwrap_or(i64::MAX))
        };
        RollPolicy {
            interval_ms: millis(spec.roll_interval),
            body_bytes: (!spec.roll_size.is_zero()).then(|| spec.roll_size.bytes()),
            events: (spec.roll_count > 0).then_some(spec.roll_count),
            idle_ms: millis(spec.idle_timeout),
        }
    }

    /// Whether the file is full: asked before each event, as in Flume, so that a file is never empty
    /// and passes its size by less than one event.
    #[inline]
    pub fn is_full(&self, events: u64, body_bytes: u64) -> bool {
        self.events.is_some_and(|most| events >= most)
            || self.body_bytes.is_some_and(|most| body_bytes >= most)
    }

    /// Whether the file's time has come when it is `now_ms`. Catching up, that is the put time of
    /// what is being read: an hour of backlog becomes files of `interval_ms` each, not one event a
    /// file because all are old.
    pub fn is_due(&self, fill: &Fill, now_ms: i64) -> bool {
        self.due_ms(fill).is_some_and(|due_ms| due_ms <= now_ms)
    }

    /// When that will be, if nothing more comes.
    pub fn due_ms(&self, fill: &Fill) -> Option<i64> {
        let by_age = self.interval_ms.map(|interval| fill.first_put_ms.saturating_add(interval));
        let by_idleness = self.idle_ms.map(|idle| fill.last_put_ms.saturating_add(idle));
        match (by_age, by_idleness) {
            (Some(age), Some(idleness)) => Some(age.min(idleness)),
            (age, idleness) => age.or(idleness),
        }
    }
}
