//! Failover penalties, shared by the whole cluster.

use crate::cluster::Cluster;
use async_trait::async_trait;
use sdk_flow::{Admission, Clock, Entropy, Penalties};
use server_cluster::FlowId;
use server_cluster::command::{Outcome, ProbeSink, ReportSink};
use server_cluster::state::Use;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// Failures are gathered: at most one report per sink in this time.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// How long to wait before asking again when the state does not say.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// By how many thousandths a penalty is shortened at most.
const JITTER_PERMILLE: f64 = 250.0;
/// A prober that has said nothing for so long no longer keeps others from trying.
const PROBE_WITHIN: Duration = Duration::from_secs(60);

/// The penalties of the sinks of one group on this node.
pub(crate) struct ClusterPenalties {
    cluster: Cluster,
    flow: FlowId,
    /// The group's sinks by name.
    sinks: BTreeMap<String, u32>,
    reports: Arc<Reports>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// What this process has reported of each sink, whatever group or lineage it was in.
#[derive(Default)]
pub(crate) struct Reports {
    by_sink: Mutex<BTreeMap<(FlowId, u32), Reported>>,
}

#[derive(Default)]
struct Reported {
    /// The number of the last report.
    number: u64,
    /// Failures since then.
    unreported: u64,
    last: Option<Duration>,
    failing: bool,
    /// The penalty that some drain tries to end, and until when the others leave it to that one.
    probe: Option<(u64, Duration)>,
}

impl Reports {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(FlowId, u32), Reported>> {
        self.by_sink.lock().expect("no panic while the lock is held")
    }
}

impl ClusterPenalties {
    pub(crate) fn new(
        cluster: Cluster,
        flow: FlowId,
        sinks: BTreeMap<String, u32>,
        reports: Arc<Reports>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { cluster, flow, sinks, reports, clock, entropy }
    }

    /// One drain of this node tries, the others wait for how it goes.
    fn begin_probe(&self, sink: u32, serial: u64) -> bool {
        let now = self.clock.monotonic();
        let mut reports = self.reports.lock();
        let known = reports.entry((self.flow, sink)).or_default();
        let taken = known.probe.is_some_and(|(of, until)| of == serial && now < until);
        if !taken {
            known.probe = Some((serial, now + PROBE_WITHIN));
        }
        !taken
    }

    async fn report(&self, sink: &str, number: u32, report: u64, outcome: Outcome) {
        let command = ReportSink {
            flow: self.flow,
            sink: number,
            node: self.cluster.node(),
            incarnation: self.cluster.incarnation(),
            report,
            outcome,
        };
        if let Err(error) = self.cluster.propose(command).await {
            // The next failure is reported again; nothing depends on this one.
            warn!(%sink, %error, "cannot report how a sink is doing");
        }
    }
}

#[async_trait]
impl Penalties for ClusterPenalties {
    async fn admit(&self, sink: &str) -> Admission {
        let Some(number) = self.sinks.get(sink).copied() else { return Admission::Free };
        let node = self.cluster.node();
        let probe = self.cluster.read(|state| match state.may_use(self.flow, number, node) {
            Use::Yes => Ok(()),
            Use::Probe(penalty) => Err(Some(penalty.serial)),
            Use::No { .. } => Err(None),
        });
        match probe {
            Ok(()) => Admission::Free,
            Err(Some(serial)) if self.begin_probe(number, serial) => Admission::Probe,
            Err(_) => Admission::Out { retry_in: ASK_AGAIN },
        }
    }

    async fn failed(&self, sink: &str, reason: &str) {
        let Some(number) = self.sinks.get(sink).copied() else { return };
        let now = self.clock.monotonic();
        let due = {
            let mut reports = self.reports.lock();
            let known = reports.entry((self.flow, number)).or_default();
            if !known.failing {
                known.failing = true;
                warn!(%sink, %reason, "sink failed");
            }
            known.unreported += 1;
            // How a probe went is always told.
            let probed = known.probe.take().is_some();
            let due =
                probed || known.last.is_none_or(|last| now.saturating_sub(last) >= REPORT_EVERY);
            due.then(|| {
                known.last = Some(now);
                known.number += 1;
                (known.number, std::mem::take(&mut known.unreported))
            })
        };
        if let Some((report, failures)) = due {
            let jitter_permille = (self.entropy.fraction() * JITTER_PERMILLE) as u16;
            let outcome = Outcome::Failed { failures, reason: reason.to_owned(), jitter_permille };
            self.report(sink, number, report, outcome).await;
        }
    }

    async fn succeeded(&self, sink: &str) {
        let Some(number) = self.sinks.get(sink).copied() else { return };
        let penalised = self.cluster.read(|state| {
            let own = self.cluster.node();
            !matches!(state.may_use(self.flow, number, own), Use::Yes)
        });
        let report = {
            let mut reports = self.reports.lock();
            let known = reports.entry((self.flow, number)).or_default();
            let news = known.failing || penalised;
            if known.failing {
                known.failing = false;
                info!(%sink, "sink works again");
            }
            known.unreported = 0;
            known.probe = None;
            news.then(|| {
                known.number += 1;
                known.number
            })
        };
        if let Some(report) = report {
            self.report(sink, number, report, Outcome::Worked).await;
        }
    }
}

/// Ends penalties when their time is up: what the leader counts on its own clock.
pub(crate) struct PenaltyTimer {
    cluster: Cluster,
    clock: Arc<dyn Clock>,
    /// When each wait was first seen here, by its serial.
    seen: Mutex<BTreeMap<u64, Duration>>,
}

/// How often it looks while penalties run.
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl PenaltyTimer {
    pub(crate) fn new(cluster: Cluster, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { cluster, clock, seen: Mutex::default() })
    }

    /// Runs until `stop`.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            for probe in self.due() {
                if let Err(error) = self.cluster.propose(probe).await {
                    // Looked at again soon.
                    debug!(%error, "cannot end a penalty");
                }
            }
        }
    }

    /// How long the wait of that serial goes on, in milliseconds.
    pub(crate) fn remaining_ms(&self, serial: u64, duration_ms: u64) -> u64 {
        let now = self.clock.monotonic();
        let begun = self.lock().get(&serial).copied().unwrap_or(now);
        let waited = u64::try_from(now.saturating_sub(begun).as_millis()).unwrap_or(u64::MAX);
        duration_ms.saturating_sub(waited)
    }

    fn due(&self) -> Vec<ProbeSink> {
        let now = self.clock.monotonic();
        self.cluster.read(|state| {
            let running = state.penalties();
            let mut seen = self.lock();
            seen.retain(|serial, _| running.iter().any(|it| it.penalty.serial == *serial));
            let mut due = Vec::new();
            for status in running.iter().filter(|status| !status.penalty.probing) {
                let begun = *seen.entry(status.penalty.serial).or_insert(now);
                let wait = Duration::from_millis(status.penalty.duration_ms);
                let known = due.iter().any(|it: &ProbeSink| it.serial == status.penalty.serial);
                if now.saturating_sub(begun) >= wait && !known {
                    due.push(ProbeSink {
                        flow: status.flow,
                        sink: status.sink,
                        serial: status.penalty.serial,
                    });
                }
            }
            due
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Duration>> {
        self.seen.lock().expect("no panic while the lock is held")
    }
}
