//! Which sinks are to be left alone for a while, because they failed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;

use crate::{Clock, Entropy};

/// The penalties of a group's sinks, shared by all who drain that group.
///
/// A sink that fails is out for [`penalty`]; then one prober is let in, and only
/// its success restores the sink for all. On a node this is Raft, on an agent
/// [`LocalPenalties`].
#[async_trait]
pub trait Penalties: Send + Sync {
    /// Whether `sink` may be used now. Whoever gets [`Admission::Probe`] is the
    /// only one for a while and says how it went.
    async fn admit(&self, sink: &str) -> Admission;

    /// A delivery to `sink` failed. Several reports of one outage count once.
    async fn failed(&self, sink: &str, reason: &str);

    /// A delivery to `sink` succeeded. Called for each: cheap when there is no
    /// penalty to lift.
    async fn succeeded(&self, sink: &str);
}

/// Whether a sink may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Free,
    /// It was out; the caller finds out whether it is back.
    Probe,
    /// Not before so long.
    Out {
        /// When to ask again, from now.
        retry_in: Duration,
    },
}

/// How long a sink is out after its `failures`th failure in a row, before
/// jitter: 2ⁿ seconds, at most `max`. Never overflows.
#[must_use]
pub fn penalty(failures: u32, max: Duration) -> Duration {
    let seconds = 1u64.checked_shl(failures).unwrap_or(u64::MAX);
    Duration::from_secs(seconds).min(max)
}

/// `duration` shortened by up to a fifth, so that those who were sent away
/// together do not come back together.
#[must_use]
pub fn jittered(duration: Duration, entropy: &dyn Entropy) -> Duration {
    duration.mul_f64(1.0 - JITTER * entropy.fraction())
}

const JITTER: f64 = 0.2;

/// Penalties of one process.
pub struct LocalPenalties {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    max_penalty: Duration,
    /// At most one entry for each sink of the group, and only while it is out.
    out: Mutex<BTreeMap<String, Out>>,
}

struct Out {
    failures: u32,
    until: Duration,
    /// Until when a prober has the sink to itself, once one was let in.
    probe_until: Option<Duration>,
    reason: String,
}

/// A sink that is out, for `status` and `penalties`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Penalised {
    /// Its name.
    pub sink: String,
    /// How often it failed in a row.
    pub failures: u32,
    /// When it will be tried again, from now.
    pub retry_in: Duration,
    /// What the last failure said.
    pub reason: String,
}

impl LocalPenalties {
    /// Nobody is out; penalties grow to `max_penalty`.
    #[must_use]
    pub fn new(
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        max_penalty: Duration,
    ) -> LocalPenalties {
        LocalPenalties { clock, entropy, max_penalty, out: Mutex::default() }
    }

    /// Who is out, by name.
    #[must_use]
    pub fn list(&self) -> Vec<Penalised> {
        let now = self.clock.monotonic();
        self.lock()
            .iter()
            .map(|(sink, out)| Penalised {
                sink: sink.clone(),
                failures: out.failures,
                retry_in: out.until.saturating_sub(now),
                reason: out.reason.clone(),
            })
            .collect()
    }

    /// Restores a sink by hand. Says whether it was out.
    pub fn clear(&self, sink: &str) -> bool {
        self.lock().remove(sink).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Out>> {
        self.out.lock().expect("no panic while the lock is held")
    }
}

#[async_trait]
impl Penalties for LocalPenalties {
    async fn admit(&self, sink: &str) -> Admission {
        let now = self.clock.monotonic();
        let mut sinks = self.lock();
        let Some(out) = sinks.get_mut(sink) else { return Admission::Free };
        let closed_until = out.probe_until.unwrap_or(out.until);
        if now < closed_until {
            return Admission::Out { retry_in: closed_until - now };
        }
        // A prober that is never heard of again keeps others out no longer
        // than a failure would have.
        out.probe_until = Some(now + self.max_penalty.max(PROBE_MIN));
        Admission::Probe
    }

    async fn failed(&self, sink: &str, reason: &str) {
        let now = self.clock.monotonic();
        let mut sinks = self.lock();
        let out = sinks.entry(sink.to_owned()).or_insert_with(|| Out {
            failures: 0,
            until: now,
            probe_until: None,
            reason: String::new(),
        });
        // Deliveries that were under way when the sink went out say nothing new.
        if now < out.until {
            return;
        }
        out.failures = out.failures.saturating_add(1);
        let pause = jittered(penalty(out.failures, self.max_penalty), &*self.entropy);
        out.until = now.saturating_add(pause);
        out.probe_until = None;
        reason.clone_into(&mut out.reason);
    }

    async fn succeeded(&self, sink: &str) {
        self.lock().remove(sink);
    }
}

const PROBE_MIN: Duration = Duration::from_secs(1);
