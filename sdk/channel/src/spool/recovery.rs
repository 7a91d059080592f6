//! How a spool comes back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use sdk_event::Lineage;
use sdk_wal::Quarantined;

use super::{Earlier, Inner, LEVEL, Spool, SpoolError, SpoolOptions};
use crate::capacity::Capacity;
use crate::facts::NamedChannel;
use crate::recover::{Rebuilt, RecoverError, rebuild};
use crate::sealed::SealedLineage;
use crate::shard::{ChannelKind, ChannelOptions, Remembered, Shard, ShardOptions};

/// A spool's only shard.
const SHARD: u32 = 0;

/// What a spool found when it opened.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// What earlier lineages have still to deliver, in the order to drain it.
    pub undelivered: Vec<Undelivered>,
    /// The same for channels and groups that the flow no longer has: kept until
    /// they are discarded.
    pub orphans: Vec<Undelivered>,
    /// Records that could not be read while the memory was rebuilt.
    pub unreadable: Vec<Quarantined>,
    /// Whether the memory of producers is exact.
    pub exact: bool,
}

/// What one sink group has still to deliver of one lineage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    /// The lineage.
    pub lineage: Lineage,
    /// The channel.
    pub channel: String,
    /// The sink group.
    pub group: String,
    /// Below it everything is delivered.
    pub floor: u64,
    /// The lineage's length.
    pub end: u64,
}

pub(super) async fn open(options: SpoolOptions) -> Result<(Spool, Recovered), SpoolError> {
    let (sealed, next) = lineages(&options);
    let (mut remembered, mut recovered) = remember(&options, &sealed, next).await?;
    let facts = &mut remembered.facts;

    // Which of the earlier lineages have something left, and for whom.
    let mut floors = BTreeMap::new();
    let mut earlier = Vec::new();
    let mut delivered = Vec::new();
    for (lineage, end) in &sealed {
        // A lineage that never named its channels took no puts.
        let channels = facts.channels(lineage.epoch).unwrap_or_default();
        let mut left = false;
        for channel in &channels {
            for group in &channel.groups {
                let floor = facts.cursor(channel.number, group, lineage.epoch);
                floors.insert((*lineage, channel.number, group.clone()), floor);
                if floor >= *end {
                    continue;
                }
                left = true;
                let undelivered = Undelivered {
                    lineage: *lineage,
                    channel: channel.name.clone(),
                    group: group.clone(),
                    floor,
                    end: *end,
                };
                let known = options.channels.iter().any(|known| {
                    **known.capacity.name() == *channel.name && known.groups.contains(group)
                });
                let list = if known { &mut recovered.undelivered } else { &mut recovered.orphans };
                list.push(undelivered);
            }
        }
        match left {
            true => earlier.push(open_earlier(&options, *lineage, *end, channels, &floors)?),
            false => delivered.push(*lineage),
        }
    }
    for lineage in &delivered {
        facts.forget_epoch(lineage.epoch);
    }

    let channels: Vec<NamedChannel> = (0u8..).zip(&options.channels).map(named).collect();
    // Memory channels have nothing to find again.
    let durable = (0u8..).zip(&options.channels).filter(|(_, c)| c.kind == ChannelKind::Durable);
    let durable: Vec<NamedChannel> = durable.map(named).collect();
    facts.name_channels(next, &durable);
    let shard_options = ShardOptions {
        flow: options.name.clone(),
        channels: (0u8..).zip(&options.channels).map(shard_channel).collect(),
        checkpoint_bytes: options.checkpoint_bytes,
        inline_reads: options.inline_reads,
        metrics: options.metrics.clone(),
        ..ShardOptions::new(next, LEVEL, Some(options.log.clone()), Arc::clone(&options.clock))
    };
    let shard = Shard::open(shard_options, remembered).await;
    let shard = shard.map_err(SpoolError::Open)?;

    // The new lineage's checkpoint is durable: now the old ones may go.
    delivered.iter().for_each(|lineage| options.log.forget(*lineage));
    earlier.iter().for_each(|earlier| earlier.lineage.superseded());
    let inner = Inner {
        shard: Arc::new(shard),
        channels,
        kinds: options.channels.iter().map(|channel| channel.kind).collect(),
        sealed: Mutex::new(earlier),
        floors: Mutex::new(floors),
    };
    Ok((Spool { inner: Arc::new(inner) }, recovered))
}

/// The flow's lineages in the log with their lengths, oldest first, and the next.
fn lineages(options: &SpoolOptions) -> (Vec<(Lineage, u64)>, Lineage) {
    let extents = options.log.lineages();
    let mine = extents
        .iter()
        .filter(|extent| extent.lineage.flow == options.flow && extent.lineage.shard == SHARD);
    let sealed: Vec<_> = mine.map(|extent| (extent.lineage, extent.end)).collect();
    let epoch = sealed.last().map_or(1, |(lineage, _)| lineage.epoch + 1);
    (sealed, Lineage { flow: options.flow, shard: SHARD, epoch })
}

async fn remember(
    options: &SpoolOptions,
    sealed: &[(Lineage, u64)],
    next: Lineage,
) -> Result<(Remembered, Recovered), SpoolError> {
    let Rebuilt { remembered, unreadable, exact, .. } = match options.inline_reads {
        true => rebuild(&options.log, sealed, next, options.view.clone()),
        false => {
            let (log, view, sealed) = (options.log.clone(), options.view.clone(), sealed.to_vec());
            let rebuilt =
                tokio::task::spawn_blocking(move || rebuild(&log, &sealed, next, view)).await;
            rebuilt.unwrap_or(Err(RecoverError::View))
        }
    }
    .map_err(SpoolError::Recover)?;
    Ok((remembered, Recovered { unreadable, exact, ..Recovered::default() }))
}

fn open_earlier(
    options: &SpoolOptions,
    lineage: Lineage,
    end: u64,
    channels: Vec<NamedChannel>,
    floors: &BTreeMap<(Lineage, u8, String), u64>,
) -> Result<Arc<Earlier>, SpoolError> {
    let with_floor = channels.iter().map(|channel| {
        let of = |group: &String| {
            floors.get(&(lineage, channel.number, group.clone())).copied().unwrap_or(0)
        };
        // A channel that nobody drains holds nothing back.
        let floor = channel.groups.iter().map(of).min().unwrap_or(end);
        let known = options.channels.iter().find(|known| **known.capacity.name() == *channel.name);
        let capacity = match known {
            Some(known) => Arc::clone(&known.capacity),
            None => Capacity::new(channel.name.as_str(), u64::MAX, u64::MAX),
        };
        (ChannelOptions { number: channel.number, kind: ChannelKind::Durable, capacity }, floor)
    });
    let with_floor: Vec<_> = with_floor.collect();
    let inline = options.inline_reads;
    let lineage = SealedLineage::open(&options.log, lineage, end, &with_floor, inline);
    let lineage = Arc::new(lineage.map_err(SpoolError::Recover)?);
    Ok(Arc::new(Earlier { lineage, channels }))
}

fn named((number, channel): (u8, &super::SpoolChannelOptions)) -> NamedChannel {
    let name = channel.capacity.name().to_string();
    NamedChannel { number, name, groups: channel.groups.clone() }
}

fn shard_channel((number, channel): (u8, &super::SpoolChannelOptions)) -> ChannelOptions {
    ChannelOptions { number, kind: channel.kind, capacity: Arc::clone(&channel.capacity) }
}
