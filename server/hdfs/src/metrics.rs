//! What is counted about HDFS.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use sdk_files::fs::FsErrorKind;

/// The metrics of all HDFS mounts of a process. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    calls: Family<Calls, Counter>,
    failures: Family<Failures, Counter>,
    outages: Family<Part, Counter>,
    out: Family<Part, Gauge>,
    connections: Family<Mount, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Calls {
    mount: String,
    part: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failures {
    mount: String,
    part: &'static str,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Part {
    mount: String,
    part: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Mount {
    mount: String,
}

impl Metrics {
    /// Registers the metrics, each under its name.
    pub fn register(registry: &mut Registry) -> Metrics {
        let metrics = Metrics::default();
        let Metrics { calls, failures, outages, out, connections } = metrics.clone();
        let registry = registry.sub_registry_with_prefix("collector_hdfs");
        registry.register("calls", "Calls to NameNodes and DataNodes", calls);
        registry.register("failures", "Calls that failed, by class", failures);
        registry.register("outages", "Outages that began", outages);
        registry.register("out", "1 while an outage lasts", out);
        registry.register("connections", "Clients made anew", connections);
        metrics
    }

    pub(crate) fn called(&self, mount: &str, part: &'static str) {
        self.calls.get_or_create(&Calls { mount: mount.to_owned(), part }).inc();
    }

    pub(crate) fn failed(&self, mount: &str, part: &'static str, kind: FsErrorKind) {
        let labels = Failures { mount: mount.to_owned(), part, kind: kind.as_str() };
        self.failures.get_or_create(&labels).inc();
    }

    pub(crate) fn outage_began(&self, mount: &str, part: &'static str) {
        let labels = Part { mount: mount.to_owned(), part };
        self.outages.get_or_create(&labels).inc();
        self.out.get_or_create(&labels).set(1);
    }

    pub(crate) fn outage_ended(&self, mount: &str, part: &'static str) {
        self.out.get_or_create(&Part { mount: mount.to_owned(), part }).set(0);
    }

    pub(crate) fn connected(&self, mount: &str) {
        self.connections.get_or_create(&Mount { mount: mount.to_owned() }).inc();
    }

    /// Outages that began, and whether one lasts.
    #[cfg(test)]
    pub(crate) fn outage(&self, mount: &str, part: &'static str) -> (u64, i64) {
        let labels = Part { mount: mount.to_owned(), part };
        (self.outages.get_or_create(&labels).get(), self.out.get_or_create(&labels).get())
    }
}
