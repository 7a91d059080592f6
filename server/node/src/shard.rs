//! A shard as the ingest face sees it: whatever lineage it is at.

use crate::committed::Committed;
use crate::version::Version;
use arc_swap::ArcSwapOption;
use sdk_channel::Shard;
use server_ingest::SourceShard;
use std::sync::Arc;

/// One shard of a flow on this node. What is in it changes with each seal.
#[derive(Default)]
pub(crate) struct Slot {
    open: ArcSwapOption<OpenShard>,
}

/// A shard that takes events.
pub(crate) struct OpenShard {
    pub(crate) shard: Arc<Shard>,
    /// The way in for producers, if the flow has one.
    pub(crate) ingest: Option<Arc<SourceShard>>,
}

impl Slot {
    /// The open shard; `None` while it moves.
    pub(crate) fn get(&self) -> Option<Arc<OpenShard>> {
        self.open.load_full()
    }

    /// From now on events go there.
    pub(crate) fn set(&self, open: Option<Arc<OpenShard>>) {
        self.open.store(open);
    }
}

impl OpenShard {
    /// A shard of the given version; `committed` says when its events are final.
    pub(crate) fn new(shard: Shard, version: &Version, committed: Committed) -> Self {
        let shard = Arc::new(shard);
        let ingest = version.ingest.as_ref().map(|processor| {
            let (shard, processor) = (Arc::clone(&shard), Arc::clone(processor));
            Arc::new(SourceShard::new(shard, processor, Arc::new(committed)))
        });
        Self { shard, ingest }
    }
}
