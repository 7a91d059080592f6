//! Shards that take nothing although nobody has moved them.

use super::{Held, HeldLineage, LineageError, Lineages};
use sdk_event::Lineage;
use sdk_flow::penalty;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(60);

impl Lineages {
    /// Opens, until `stop`, what could not be opened when it was to be, and what has become unable to
    /// take anything: a full log has room again once it drains, and what is damaged is rebuilt.
    pub(crate) async fn mend(self: Arc<Self>, stop: CancellationToken) {
        let mut failures = 0;
        loop {
            let pause = tokio::time::sleep(penalty(failures, PAUSE_MAX));
            let stopped = tokio::select! {
                biased;
                () = stop.cancelled() => true,
                () = self.stopping.cancelled() => true,
                () = pause => false,
            };
            if stopped {
                return;
            }
            let is_changing = self.changing.try_lock().is_err();
            if is_changing || self.is_whole() {
                failures = 0;
                continue;
            }
            failures += 1;
            match self.settle().await {
                Ok(()) => info!("every shard takes events again"),
                Err(LineageError::Shards { .. }) => (),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    warn!(error, "shards cannot be opened, will try again");
                }
            }
        }
    }

    /// Lineages of this process that take nothing more and that nobody has sealed: those whose table of
    /// producers is damaged, which the log still has, those that were stopped for a seal that had no
    /// answer, and those that were opened in vain and are begun in the log, for a lineage is opened once.
    pub(super) fn spent(&self) -> Vec<Lineage> {
        let unsealed = self.listed().into_iter().filter(|(_, sealed)| !sealed);
        let spent = unsealed.filter(|(lineage, _)| match self.get(*lineage) {
            Some(HeldLineage { held: Held::Written(shard), .. }) => {
                // A node that stops says so before it stops its shards.
                shard.damage().is_some() || (shard.is_stopped() && !self.stopping.is_cancelled())
            }
            Some(_) => false,
            None => self.options.log.lineage(*lineage).is_some(),
        });
        spent.map(|(lineage, _)| lineage).collect()
    }

    /// Ends the shards whose seal was applied without an answer and whose lineages are drained and have left
    /// the state, and says at which lengths.
    pub(super) async fn ended_unheard(&self) -> BTreeMap<Lineage, u64> {
        let mut ends = BTreeMap::new();
        for (lineage, held) in self.all() {
            let Held::Written(shard) = held.held else { continue };
            let known = self.options.cluster.read(|state| state.lineage(lineage).is_some());
            if shard.is_stopped() && !known {
                // What was proposed: a second call returns the same.
                let end = shard.stop().await;
                shard.end_at(end);
                ends.insert(lineage, end);
            }
        }
        ends
    }

    /// Whether everything listed is held as it should be.
    fn is_whole(&self) -> bool {
        let held = self.listed().into_iter().all(|(lineage, _)| self.get(lineage).is_some());
        held && self.spent().is_empty()
    }

    /// The lineages of the state that this node has, and whether they are sealed.
    fn listed(&self) -> Vec<(Lineage, bool)> {
        let node = self.options.cluster.node();
        self.options.cluster.read(|state| {
            let mine = state.lineages().filter(|(_, found)| found.replicas.contains(&node));
            mine.map(|(lineage, found)| (lineage, found.sealed.is_some())).collect()
        })
    }
}
