//! Opens what the state lists: the newest lineage of each shard for writing, those before it for reading.

use super::lost::loss_of_record;
use super::{Held, HeldLineage, Known, LineageError, Lineages};
use crate::committed::Committed;
use crate::off_thread::{is_inline, off_thread};
use crate::shard::OpenShard;
use crate::version::{Version, VersionChannel};
use sdk_channel::record::Loss;
use sdk_channel::{
    ChannelKind, ChannelOptions, RecoverError, Remembered, SealedLineage, Shard, ShardOptions,
    rebuild,
};
use sdk_event::Lineage;
use sdk_flow::BoxError;
use sdk_wal::Quarantined;
use server_cluster::FlowId;
use std::collections::BTreeMap;
use std::sync::Arc;
use tracing::{error, warn};

impl Lineages {
    /// Opens every lineage of the state that is not held yet: the newest of each shard for writing,
    /// those before it for reading.
    pub(super) async fn open_all(&self, ends: &BTreeMap<Lineage, u64>) -> Result<(), LineageError> {
        let node = self.options.cluster.node();
        let shards = self.options.cluster.read(|state| {
            let mut shards: BTreeMap<(FlowId, u32), Vec<Known>> = BTreeMap::new();
            for (lineage, found) in state.lineages() {
                if found.replicas.contains(&node) {
                    let of_shard = shards.entry((lineage.flow, lineage.shard)).or_default();
                    of_shard.push((lineage, found.version, found.sealed));
                }
            }
            shards
        });
        let mut failed = Vec::new();
        for lineages in shards.into_values() {
            if let Err(error) = self.open_shard(&lineages, ends).await {
                error!(error = &error as &dyn std::error::Error, "a shard takes no events");
                failed.push(error);
            }
        }
        let count = failed.len();
        match failed.into_iter().next() {
            None => Ok(()),
            Some(first) => Err(LineageError::Shards { count, first: Box::new(first) }),
        }
    }

    async fn open_shard(
        &self,
        lineages: &[Known],
        ends: &BTreeMap<Lineage, u64>,
    ) -> Result<(), LineageError> {
        let mut sealed = Vec::new();
        let mut before: Vec<HeldLineage> = Vec::new();
        for (lineage, number, end) in lineages {
            let Some(version) = self.version_of(lineage.flow, *number) else { continue };
            match (self.get(*lineage), end) {
                (Some(held), Some(end)) => {
                    if let Held::Written(shard) = &held.held {
                        // The seal may have had no answer.
                        shard.end_at(*end);
                    }
                    sealed.push((*lineage, *end));
                    before.push(held);
                }
                (Some(_), None) => return Ok(()),
                (None, Some(end)) => {
                    let held = self.open_sealed(*lineage, &version, *end).await?;
                    self.hold(*lineage, held.clone());
                    sealed.push((*lineage, *end));
                    before.push(held);
                }
                (None, None) => {
                    let earlier = self.earlier(*lineage, &sealed, ends);
                    let last = earlier.last().and_then(|(last, _)| self.get(*last));
                    let open =
                        self.open_written(*lineage, &version, &earlier, last.as_ref()).await?;
                    before.iter().for_each(|held| held.held.superseded());
                    let held = Held::Written(Arc::clone(&open.shard));
                    let opened = self.options.clock.monotonic();
                    self.hold(*lineage, HeldLineage { held, version, opened });
                    if let Some(flow) = self.options.flows.by_id(lineage.flow)
                        && let Some(slot) = flow.shards.get(lineage.shard as usize)
                    {
                        slot.set(Some(Arc::new(open)));
                    }
                }
            }
        }
        Ok(())
    }

    /// The lineages of a shard before this one, with their lengths: also what the state no longer
    /// lists, for a lineage leaves it when it is drained, and its producers are to be known all the
    /// same. What the log has of such a one lies below its length, since it was drained to that.
    fn earlier(
        &self,
        into: Lineage,
        sealed: &[(Lineage, u64)],
        ends: &BTreeMap<Lineage, u64>,
    ) -> Vec<(Lineage, u64)> {
        let before = |lineage: Lineage| {
            (lineage.flow, lineage.shard) == (into.flow, into.shard) && lineage.epoch < into.epoch
        };
        let extents = self.options.log.lineages();
        let extents = extents.into_iter().map(|extent| (extent.lineage, extent.end));
        let listed = sealed.iter().copied();
        let known = extents.chain(ends.iter().map(|(lineage, end)| (*lineage, *end))).chain(listed);
        let earlier: BTreeMap<Lineage, u64> =
            known.filter(|(lineage, _)| before(*lineage)).collect();
        earlier.into_iter().collect()
    }

    async fn open_sealed(
        &self,
        lineage: Lineage,
        version: &Arc<Version>,
        end: u64,
    ) -> Result<HeldLineage, LineageError> {
        let floors: Vec<(ChannelOptions, u64)> = version
            .channels
            .iter()
            .map(|channel| (options_of(channel), self.floor(lineage, version, channel.number)))
            .collect();
        let log = self.options.log.clone();
        let inline = is_inline();
        let opened = off_thread(move || SealedLineage::open(&log, lineage, end, &floors, inline));
        let failed = |error: BoxError| LineageError::Log { lineage, doing: "read", error };
        let sealed = opened.await.map_err(|error| failed(Box::new(error)))?;
        let sealed = sealed.map_err(|error| failed(Box::new(error)))?;
        let (held, version) = (Held::Sealed(Arc::new(sealed)), Arc::clone(version));
        Ok(HeldLineage { held, version, opened: self.options.clock.monotonic() })
    }

    async fn open_written(
        &self,
        lineage: Lineage,
        version: &Arc<Version>,
        sealed: &[(Lineage, u64)],
        last: Option<&HeldLineage>,
    ) -> Result<OpenShard, LineageError> {
        let (mut remembered, unreadable) = self.remembered(lineage, sealed, last).await?;
        let lost: Vec<Loss> = unreadable.iter().filter_map(loss_of_record).collect();
        remembered.lose(&lost, self.options.clock.wall_ms());
        remembered.table.set_producers_max(self.options.producers_max);
        let log = version.has_log().then(|| self.options.log.clone());
        let clock = Arc::clone(&self.options.clock);
        let options = ShardOptions {
            flow: version.flow_name.to_string(),
            channels: version.channels.iter().map(options_of).collect(),
            metrics: self.options.metrics.clone(),
            recent: Arc::clone(&self.options.recent),
            inline_reads: is_inline(),
            ..ShardOptions::new(lineage, version.level(), log, clock)
        };
        sdk_failpoints::before!(Open);
        let shard = Shard::open(options, remembered).await.map_err(|error| LineageError::Log {
            lineage,
            doing: "opened",
            error: Box::new(error),
        })?;
        sdk_failpoints::after!(Open);
        // Only now: what is listed is passed by drains, and the shard knows of it for good.
        for range in &unreadable {
            self.list_lost(range).await;
        }
        let cluster = self.options.cluster.clone();
        let given_up = Arc::clone(&self.given_up);
        let committed = Committed::new(cluster, version, given_up, self.options.stop.clone());
        Ok(OpenShard::new(shard, version, committed))
    }

    /// What the shard knows, from the lineage before if this process wrote it, else from the log; and what
    /// of that could not be read, and somebody needs.
    async fn remembered(
        &self,
        lineage: Lineage,
        sealed: &[(Lineage, u64)],
        last: Option<&HeldLineage>,
    ) -> Result<(Remembered, Vec<Quarantined>), LineageError> {
        if let (Some(HeldLineage { held: Held::Written(shard), .. }), Some((_, end))) =
            (last, sealed.last())
            && let Some(remembered) = shard.take_remembered(*end)
        {
            return Ok((remembered, Vec::new()));
        }
        let view = Arc::clone(&self.options.view);
        if sealed.is_empty() {
            return Ok((Remembered::nothing(lineage, Some(view)), Vec::new()));
        }
        let (log, lineages) = (self.options.log.clone(), sealed.to_vec());
        let rebuilt = off_thread(move || match rebuild(&log, &lineages, lineage, Some(view)) {
            // Memory has room for all of it.
            Err(RecoverError::View) => rebuild(&log, &lineages, lineage, None),
            rebuilt => rebuilt,
        });
        let failed = |error: BoxError| LineageError::Log { lineage, doing: "rebuilt", error };
        let rebuilt = rebuilt.await.map_err(|error| failed(Box::new(error)))?;
        let rebuilt = rebuilt.map_err(|error| failed(Box::new(error)))?;
        if !rebuilt.exact {
            warn!(%lineage, "what is known of producers is incomplete, some will be told that they expired");
        }
        let mut unreadable = rebuilt.unreadable;
        unreadable.retain(|range| self.is_needed(range.lineage, range.to));
        Ok((rebuilt.remembered, unreadable))
    }
}

fn options_of(channel: &VersionChannel) -> ChannelOptions {
    let kind = if channel.durable { ChannelKind::Durable } else { ChannelKind::Memory };
    ChannelOptions { number: channel.number, kind, capacity: Arc::clone(&channel.capacity) }
}
