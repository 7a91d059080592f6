//! What file sinks count.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The metrics of all file sinks of a process.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    files: Family<Labels, Counter>,
    file_bytes: Family<Labels, Counter>,
    events: Family<Labels, Counter>,
    dead_letters: Family<Labels, Counter>,
    late_events: Family<Labels, Counter>,
    skipped_events: Family<Labels, Counter>,
    rebuilt_files: Family<Labels, Counter>,
    failures: Family<Labels, Counter>,
    open_files: Family<Labels, Gauge>,
    quarantined: Family<Labels, Gauge>,
}

/// Those of one sink. Cheap to clone; clones count together.
#[derive(Debug, Clone, Default)]
pub struct SinkMetrics {
    /// Files that are final, dead letters included.
    pub files: Counter,
    /// Their bytes.
    pub file_bytes: Counter,
    /// Events in them, dead letters not included.
    pub events: Counter,
    /// Dead letters in them.
    pub dead_letters: Counter,
    /// Events that came after their directory's time had passed.
    pub late_events: Counter,
    /// Events read again that are in a file already.
    pub skipped_events: Counter,
    /// Files built from the log, not while their events came in.
    pub rebuilt_files: Counter,
    /// Failed calls of the file system.
    pub failures: Counter,
    /// Files open for writing.
    pub open_files: Gauge,
    /// Buckets left alone for now.
    pub quarantined: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    flow: String,
    sink: String,
}

impl Metrics {
    /// Registers the metrics, each under its name.
    pub fn register(registry: &mut Registry) -> Metrics {
        let metrics = Metrics::default();
        let Metrics {
            files,
            file_bytes,
            events,
            dead_letters,
            late_events,
            skipped_events,
            rebuilt_files,
            failures,
            open_files,
            quarantined,
        } = metrics.clone();
        let registry = registry.sub_registry_with_prefix("collector_sink");
        registry.register("files_final", "Files that got their final name", files);
        registry.register("file_bytes", "Bytes of final files", file_bytes);
        registry.register("events", "Events in final files, without dead letters", events);
        registry.register("dead_letters", "Dead letters in final files", dead_letters);
        registry.register("late_events", "Events later than their directory", late_events);
        registry.register("skipped_events", "Events read again, in a file already", skipped_events);
        registry.register("rebuilt_files", "Files built from the log", rebuilt_files);
        registry.register("failures", "Failed calls of the file system", failures);
        registry.register("open_files", "Files open for writing", open_files);
        registry.register("quarantined_buckets", "Buckets left alone for now", quarantined);
        metrics
    }

    /// The metrics of one sink.
    pub fn sink(&self, flow: &str, sink: &str) -> SinkMetrics {
        let labels = Labels { flow: flow.to_owned(), sink: sink.to_owned() };
        let counter = |family: &Family<Labels, Counter>| family.get_or_create(&labels).clone();
        let gauge = |family: &Family<Labels, Gauge>| family.get_or_create(&labels).clone();
        SinkMetrics {
            files: counter(&self.files),
            file_bytes: counter(&self.file_bytes),
            events: counter(&self.events),
            dead_letters: counter(&self.dead_letters),
            late_events: counter(&self.late_events),
            skipped_events: counter(&self.skipped_events),
            rebuilt_files: counter(&self.rebuilt_files),
            failures: counter(&self.failures),
            open_files: gauge(&self.open_files),
            quarantined: gauge(&self.quarantined),
        }
    }
}
