//! Waiting for the level `committed`.

use crate::cluster::Cluster;
use crate::version::Version;
use async_trait::async_trait;
use sdk_config::ledger::Span;
use sdk_event::Lineage;
use server_cluster::limits::LOST_RANGES_MAX;
use server_ingest::CommitError;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

/// What `committed` means for one version of a flow: final in each required channel.
#[derive(Clone)]
pub(crate) struct Committed {
    cluster: Cluster,
    required: Arc<BTreeSet<String>>,
    given_up: Arc<GivenUp>,
    stop: CancellationToken,
}

/// What was listed as lost while this process runs: a lineage leaves the state once drains have passed
/// that, and then only this says that not all of it was delivered.
#[derive(Default)]
pub(crate) struct GivenUp {
    spans: Mutex<BTreeMap<Lineage, Vec<Span>>>,
}

impl GivenUp {
    pub(crate) fn add(&self, lineage: Lineage, spans: impl IntoIterator<Item = Span>) {
        let mut known = self.lock();
        let known = known.entry(lineage).or_default();
        for span in spans {
            if !known.contains(&span) && known.len() < LOST_RANGES_MAX {
                known.push(span);
            }
        }
    }

    fn touches(&self, lineage: Lineage, from: u64, to: u64) -> bool {
        let known = self.lock();
        let mut spans = known.get(&lineage).into_iter().flatten();
        spans.any(|span| span.first < to && from <= span.last)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Lineage, Vec<Span>>> {
        self.spans.lock().expect("no panic while the lock is held")
    }
}

impl Committed {
    /// Waits end when `stop` is cancelled.
    pub(crate) fn new(
        cluster: Cluster,
        version: &Version,
        given_up: Arc<GivenUp>,
        stop: CancellationToken,
    ) -> Self {
        let required = version.channels.iter().filter(|channel| channel.required);
        let required = Arc::new(required.map(|it| it.name.to_string()).collect());
        Self { cluster, required, given_up, stop }
    }

    /// `None` while some of it is not final.
    fn look(&self, lineage: Lineage, from: u64, to: u64) -> Option<Result<(), CommitError>> {
        self.cluster.read(|state| {
            // A lineage that has left the state was drained, but for what was given up.
            let Some(found) = state.lineage(lineage) else {
                let lost = self.given_up.touches(lineage, from, to);
                return Some(if lost { Err(CommitError::Lost) } else { Ok(()) });
            };
            let lost = found.lost.iter().any(|it| it.span.first < to && from <= it.span.last);
            if lost || found.sealed.is_some_and(|sealed| sealed < to) {
                return Some(Err(CommitError::Lost));
            }
            let needed = |channel: &str| self.required.contains(channel);
            let below = state.final_below(lineage, needed);
            below.is_none_or(|below| to <= below).then_some(Ok(()))
        })
    }
}

#[async_trait]
impl server_ingest::Committed for Committed {
    async fn committed(&self, lineage: Lineage, from: u64, to: u64) -> Result<(), CommitError> {
        let mut changes = self.cluster.changes();
        loop {
            changes.mark_seen();
            if let Some(reached) = self.look(lineage, from, to) {
                return reached;
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(CommitError::Stopped),
                () = changes.changed() => (),
            }
        }
    }
}
