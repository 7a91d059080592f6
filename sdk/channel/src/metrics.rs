//! What channels count.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Metrics of all channels of a process, `collector_channel_…`. A clone is the same.
#[derive(Debug, Clone, Default)]
pub struct ChannelMetrics {
    put_records: Family<FlowLabels, Counter>,
    put_events: Family<ChannelLabels, Counter>,
    put_bytes: Family<ChannelLabels, Counter>,
    dropped_events: Family<RuleLabels, Counter>,
    used_bytes: Family<ChannelLabels, Gauge>,
    refused: Family<ChannelLabels, Counter>,
    accepted: Family<FlowLabels, Counter>,
    duplicates: Family<FlowLabels, Counter>,
    rejections: Family<ReasonLabels, Counter>,
    gaps: Family<FlowLabels, Counter>,
    sessions: Family<FlowLabels, Counter>,
    forgotten: Family<FlowLabels, Counter>,
    producers: Family<ShardLabels, Gauge>,
    checkpoints: Family<FlowLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FlowLabels {
    flow: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShardLabels {
    flow: String,
    shard: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChannelLabels {
    flow: String,
    channel: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabels {
    flow: String,
    channel: String,
    rule: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    flow: String,
    reason: &'static str,
}

/// The part of one shard, looked up once.
#[derive(Debug)]
pub(crate) struct ShardMetrics {
    all: ChannelMetrics,
    flow: String,
    pub(crate) put_records: Counter,
    pub(crate) accepted: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) gaps: Counter,
    pub(crate) sessions: Counter,
    pub(crate) forgotten: Counter,
    pub(crate) producers: Gauge,
    pub(crate) checkpoints: Counter,
}

/// The part of one channel in a shard.
#[derive(Debug, Clone)]
pub(crate) struct SlotMetrics {
    pub(crate) put_events: Counter,
    pub(crate) put_bytes: Counter,
    pub(crate) refused: Counter,
    pub(crate) used_bytes: Gauge,
}

impl ChannelMetrics {
    /// Puts them into a registry whose prefix is `collector`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("channel");
        registry.register(
            "put_records",
            "Puts stored, one log record each",
            self.put_records.clone(),
        );
        registry.register("put_events", "Events put, by channel", self.put_events.clone());
        registry.register("put_bytes", "Bytes of blocks put, by channel", self.put_bytes.clone());
        registry.register(
            "dropped_events",
            "Events that a rule dropped on their way to a channel",
            self.dropped_events.clone(),
        );
        registry.register(
            "used_bytes",
            "Bytes of blocks that a channel has not delivered",
            self.used_bytes.clone(),
        );
        registry.register("refused", "Puts refused at a channel's limit", self.refused.clone());
        let registry = registry.sub_registry_with_prefix("admission");
        registry.register("accepted", "Blocks that were the next expected", self.accepted.clone());
        registry.register("duplicates", "Blocks that were stored already", self.duplicates.clone());
        registry.register("rejections", "Blocks and sessions rejected", self.rejections.clone());
        registry.register(
            "gaps",
            "Gaps in sequence numbers that producers declared",
            self.gaps.clone(),
        );
        registry.register("sessions", "Sessions opened", self.sessions.clone());
        registry.register(
            "forgotten",
            "Producers forgotten for others above the cap",
            self.forgotten.clone(),
        );
        registry.register("producers", "Producers remembered", self.producers.clone());
        registry.register("checkpoints", "Checkpoints completed", self.checkpoints.clone());
    }

    pub(crate) fn shard(&self, flow: &str, shard: u32) -> Arc<ShardMetrics> {
        let label = FlowLabels { flow: flow.to_owned() };
        let of_shard = ShardLabels { flow: flow.to_owned(), shard };
        Arc::new(ShardMetrics {
            flow: flow.to_owned(),
            put_records: self.put_records.get_or_create_owned(&label),
            accepted: self.accepted.get_or_create_owned(&label),
            duplicates: self.duplicates.get_or_create_owned(&label),
            gaps: self.gaps.get_or_create_owned(&label),
            sessions: self.sessions.get_or_create_owned(&label),
            forgotten: self.forgotten.get_or_create_owned(&label),
            producers: self.producers.get_or_create_owned(&of_shard),
            checkpoints: self.checkpoints.get_or_create_owned(&label),
            all: self.clone(),
        })
    }
}

impl ShardMetrics {
    pub(crate) fn channel(&self, channel: &str) -> SlotMetrics {
        let label = ChannelLabels { flow: self.flow.clone(), channel: channel.to_owned() };
        SlotMetrics {
            put_events: self.all.put_events.get_or_create_owned(&label),
            put_bytes: self.all.put_bytes.get_or_create_owned(&label),
            refused: self.all.refused.get_or_create_owned(&label),
            used_bytes: self.all.used_bytes.get_or_create_owned(&label),
        }
    }

    pub(crate) fn rejected(&self, reason: &'static str) {
        let label = ReasonLabels { flow: self.flow.clone(), reason };
        self.all.rejections.get_or_create(&label).inc();
    }

    pub(crate) fn dropped(&self, channel: &str, rule: &str, events: u32) {
        let label = RuleLabels {
            flow: self.flow.clone(),
            channel: channel.to_owned(),
            rule: rule.to_owned(),
        };
        self.all.dropped_events.get_or_create(&label).inc_by(u64::from(events));
    }
}
