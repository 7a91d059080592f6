//! One line when a part of HDFS stops working, one when it works again.

use crate::metrics::Metrics;
use sdk_files::fs::{FsError, FsErrorKind};
use sdk_flow::Clock;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tracing::{info, warn};

/// An outage has ended with a success this long after its last failure: right after a DataNode has
/// died one file fails and the next does not.
const QUIET: Duration = Duration::from_secs(10);

/// What can be out by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Names: the NameNodes.
    Names,
    /// Bytes: the DataNodes.
    Bytes,
}

impl Part {
    fn as_str(self) -> &'static str {
        match self {
            Part::Names => "namenode",
            Part::Bytes => "datanode",
        }
    }
}

/// Follows the calls to one part of one mount.
pub(crate) struct Outage {
    mount: String,
    part: Part,
    metrics: Metrics,
    clock: Arc<dyn Clock>,
    running: Mutex<Option<Running>>,
}

#[derive(Debug, Clone, Copy)]
struct Running {
    since: Duration,
    last_failure: Duration,
    failures: u64,
}

impl Outage {
    pub(crate) fn new(mount: &str, part: Part, metrics: Metrics, clock: Arc<dyn Clock>) -> Outage {
        Outage { mount: mount.to_owned(), part, metrics, clock, running: Mutex::default() }
    }

    /// Takes note of how a call has ended.
    pub(crate) fn note<T>(&self, result: &Result<T, FsError>) {
        let (mount, part) = (self.mount.as_str(), self.part.as_str());
        self.metrics.called(mount, part);
        match result {
            Ok(_) => self.succeeded(),
            Err(error) => {
                self.metrics.failed(mount, part, error.kind());
                if is_outage(error.kind()) {
                    self.failed(error);
                } else {
                    // It answers.
                    self.succeeded();
                }
            }
        }
    }

    fn succeeded(&self) {
        let now = self.clock.monotonic();
        let mut running = self.running.lock().expect("no panic while the lock is held");
        let Some(outage) = *running else { return };
        if now.saturating_sub(outage.last_failure) < QUIET {
            return;
        }
        *running = None;
        drop(running);
        self.metrics.outage_ended(&self.mount, self.part.as_str());
        info!(
            mount = self.mount,
            part = self.part.as_str(),
            seconds = outage.last_failure.saturating_sub(outage.since).as_secs(),
            failures = outage.failures,
            "hdfs works again"
        );
    }

    fn failed(&self, error: &FsError) {
        let now = self.clock.monotonic();
        let mut running = self.running.lock().expect("no panic while the lock is held");
        if let Some(outage) = running.as_mut() {
            outage.last_failure = now;
            outage.failures += 1;
            return;
        }
        *running = Some(Running { since: now, last_failure: now, failures: 1 });
        drop(running);
        self.metrics.outage_began(&self.mount, self.part.as_str());
        warn!(
            mount = self.mount,
            part = self.part.as_str(),
            error = error as &dyn std::error::Error,
            "hdfs does not work, will try again"
        );
    }
}

/// Whether a failure says something about the service rather than about a path.
fn is_outage(kind: FsErrorKind) -> bool {
    matches!(
        kind,
        FsErrorKind::Paused
            | FsErrorKind::Unavailable
            | FsErrorKind::Timeout
            | FsErrorKind::Authentication
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use sdk_flow::ManualClock;

    #[test]
    fn an_outage_is_one_however_often_it_is_tried() {
        let clock = Arc::new(ManualClock::new(0));
        let metrics = Metrics::default();
        let outage = Outage::new("nn", Part::Bytes, metrics.clone(), clock.clone());
        let error = || Err::<(), _>(FsError::new(FsErrorKind::Unavailable, "write", "/x"));
        let count = || metrics.outage("nn", "datanode");
        outage.note(&Ok(()));
        assert_eq!(count(), (0, 0));
        for _ in 0..50 {
            outage.note(&error());
            clock.advance(Duration::from_secs(1));
            // A file that gets through in between does not end it.
            outage.note(&Ok(()));
        }
        assert_eq!(count(), (1, 1));
        clock.advance(Duration::from_secs(10));
        let missing = FsError::new(FsErrorKind::NotFound, "look at", "/x");
        outage.note(&Err::<(), _>(missing));
        assert_eq!(count(), (1, 0));
        outage.note(&error());
        assert_eq!(count(), (2, 1));
    }
}
