//! Waiting for the level `committed`.

use crate::cluster::Cluster;
use crate::version::Version;
use async_trait::async_trait;
use sdk_event::Lineage;
use server_ingest::CommitError;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What `committed` means for one version of a flow: final in each required channel.
#[derive(Clone)]
pub(crate) struct Committed {
    cluster: Cluster,
    required: Arc<BTreeSet<String>>,
    stop: CancellationToken,
}

impl Committed {
    /// Waits end when `stop` is cancelled.
    pub(crate) fn new(cluster: Cluster, version: &Version, stop: CancellationToken) -> Self {
        let required = version.channels.iter().filter(|channel| channel.required);
        Self { cluster, required: Arc::new(required.map(|it| it.name.to_string()).collect()), stop }
    }

    /// `None` while some of it is not final.
    fn look(&self, lineage: Lineage, from: u64, to: u64) -> Option<Result<(), CommitError>> {
        self.cluster.read(|state| {
            // A lineage that has left the state was drained.
            let Some(found) = state.lineage(lineage) else { return Some(Ok(())) };
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
            changes.mark_unchanged();
            if let Some(reached) = self.look(lineage, from, to) {
                return reached;
            }
            tokio::select! {
                () = self.stop.cancelled() => return Err(CommitError::Stopped),
                changed = changes.changed() => changed.map_err(|_| CommitError::Stopped)?,
            }
        }
    }
}
