//! What the ingest face counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counters and gauges under `collector_ingest_`. All clones are one.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Connections open now.
    pub connections: Gauge,
    /// Connections closed at once because there were as many as may be.
    pub connections_refused: Counter,
    /// Connections cut because memory was full of unfinished messages.
    pub connections_cut: Counter,
    /// Bytes read from sockets and not stored yet.
    pub memory_bytes: Gauge,
    /// `Append` streams open now.
    pub streams: Gauge,
    /// Blocks received.
    pub blocks: Counter,
    /// Bytes of blocks received, as they were sent.
    pub block_bytes: Counter,
    /// Events acknowledged, by `Append` and `Send`.
    pub events_acknowledged: Counter,
    /// Blocks acknowledged that had been stored before.
    pub duplicate_blocks: Counter,
    /// Blocks and calls that were not acknowledged, by the code they were answered with.
    pub refused: Family<CodeLabel, Counter>,
    /// `Send` calls received.
    pub send_calls: Counter,
    /// Blocks built of `Send` calls.
    pub send_blocks: Counter,
    /// Blocks of the same ids and other bytes than stored: a restored image, a copied spool.
    pub conflicts: Counter,
}

/// The label `code`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CodeLabel {
    code: &'static str,
}

impl Metrics {
    /// Adds everything to `registry`, which has the prefix `collector`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("ingest");
        let mut add =
            |name: &str, help: &str, metric: Counter| registry.register(name, help, metric);
        add(
            "connections_refused",
            "Connections closed at the limit",
            self.connections_refused.clone(),
        );
        add(
            "connections_cut",
            "Connections cut for unfinished messages",
            self.connections_cut.clone(),
        );
        add("blocks", "Blocks received", self.blocks.clone());
        add("block_bytes", "Bytes of blocks received", self.block_bytes.clone());
        add("events_acknowledged", "Events acknowledged", self.events_acknowledged.clone());
        add(
            "duplicate_blocks",
            "Acknowledged blocks that were stored before",
            self.duplicate_blocks.clone(),
        );
        add("send_calls", "Send calls received", self.send_calls.clone());
        add("send_blocks", "Blocks built of Send calls", self.send_blocks.clone());
        add("conflicts", "Blocks refused for other bytes under stored ids", self.conflicts.clone());
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register(
            "memory_bytes",
            "Bytes read and not stored yet",
            self.memory_bytes.clone(),
        );
        registry.register("streams", "Open Append streams", self.streams.clone());
        registry.register("refused", "Blocks and calls refused, by code", self.refused.clone());
    }

    pub(crate) fn refuse(&self, code: proto::v1::Code) {
        self.refused.get_or_create(&CodeLabel { code: code.as_str_name() }).inc();
        if code == proto::v1::Code::Conflict {
            self.conflicts.inc();
        }
    }
}
