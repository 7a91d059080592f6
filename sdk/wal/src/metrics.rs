//! What the log counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds in seconds.
const FSYNC_SECONDS: [f64; 13] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// The kind of a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct KindLabel {
    kind: &'static str,
}

/// Counters and gauges of one log.
pub(crate) struct Metrics {
    pub(crate) appends: Counter,
    pub(crate) append_bytes: Counter,
    pub(crate) refused: Counter,
    put_records: Family<KindLabel, Counter>,
    kinds: Vec<Counter>,
    pub(crate) flushes: Counter,
    pub(crate) written_bytes: Counter,
    pub(crate) fsync_seconds: Histogram,
    pub(crate) quarantined_records: Counter,
    pub(crate) cut_records: Counter,
    pub(crate) copied_records: Counter,
    pub(crate) segments_made: Counter,
    pub(crate) segments_recycled: Counter,
    pub(crate) segments_freed: Counter,
    pub(crate) cache_reads: Counter,
    pub(crate) disk_reads: Counter,
    pub(crate) view_misses: Counter,
    pub(crate) segments: Gauge,
    pub(crate) used_bytes: Gauge<i64>,
    pub(crate) quota_bytes: Gauge<i64>,
    pub(crate) cache_bytes: Gauge<i64>,
    pub(crate) dead: Gauge,
}

impl Metrics {
    pub(crate) fn new(kind_name: fn(u8) -> &'static str) -> Self {
        let put_records: Family<KindLabel, Counter> = Family::default();
        // One counter per kind, so that counting takes no lock.
        let kinds = (0..=u8::MAX).map(|kind| {
            let kind = kind_name(kind);
            put_records.get_or_create(&KindLabel { kind }).clone()
        });
        let kinds = kinds.collect();
        Self {
            appends: Counter::default(),
            append_bytes: Counter::default(),
            refused: Counter::default(),
            put_records,
            kinds,
            flushes: Counter::default(),
            written_bytes: Counter::default(),
            fsync_seconds: Histogram::new(FSYNC_SECONDS),
            quarantined_records: Counter::default(),
            cut_records: Counter::default(),
            copied_records: Counter::default(),
            segments_made: Counter::default(),
            segments_recycled: Counter::default(),
            segments_freed: Counter::default(),
            cache_reads: Counter::default(),
            disk_reads: Counter::default(),
            view_misses: Counter::default(),
            segments: Gauge::default(),
            used_bytes: Gauge::default(),
            quota_bytes: Gauge::default(),
            cache_bytes: Gauge::default(),
            dead: Gauge::default(),
        }
    }

    /// Counts a durable record by its kind.
    pub(crate) fn count_record(&self, kind: u8) {
        self.kinds[usize::from(kind)].inc();
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("collector_log");
        let counters: [(&str, &str, &Counter); 14] = [
            ("appends", "Records handed to the writer", &self.appends),
            ("append_bytes", "Bytes of bodies handed to the writer", &self.append_bytes),
            ("refused", "Records refused before anything of them was written", &self.refused),
            ("flushes", "Group commits, each one write and one fdatasync", &self.flushes),
            ("written_bytes", "Bytes written by group commits", &self.written_bytes),
            ("quarantined_records", "Records found unreadable", &self.quarantined_records),
            ("cut_records", "Records cut from the last flush at a start", &self.cut_records),
            ("copied_records", "Records copied forward", &self.copied_records),
            ("segments_made", "Segments made anew", &self.segments_made),
            ("segments_recycled", "Segments used again", &self.segments_recycled),
            ("segments_freed", "Segments no longer needed", &self.segments_freed),
            ("cache_reads", "Records that readers got from memory", &self.cache_reads),
            ("disk_reads", "Records that readers got from the disk", &self.disk_reads),
            ("view_misses", "Look-ups that the view did not answer", &self.view_misses),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register("put_records", "Durable records by kind", self.put_records.clone());
        let gauges: [(&str, &str, &Gauge); 5] = [
            ("segments", "Segments that hold something", &self.segments),
            ("used_bytes", "Bytes of segments that hold something", &self.used_bytes),
            ("quota_bytes", "Bytes that the log may use", &self.quota_bytes),
            ("cache_bytes", "Bytes of recent records in memory", &self.cache_bytes),
            ("dead", "1 once the log has died", &self.dead),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        let help = "Time that fdatasync of a group commit took";
        registry.register("fsync_seconds", help, self.fsync_seconds.clone());
    }
}
