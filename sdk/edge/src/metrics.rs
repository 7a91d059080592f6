//! The figures of an edge, read when somebody asks for them.

use std::fmt;
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};

use crate::edge::Inner;
use crate::status::{
    ChannelStatus, EdgeStatus, FileStatus, GroupStatus, SinkState, SinkStatus, SourceState,
    SourceStatus,
};

/// Reads the status at each scrape. Nothing once the edge is gone.
pub(crate) struct EdgeMetrics {
    edge: Weak<Inner>,
}

type Labels = Vec<(&'static str, String)>;

impl EdgeMetrics {
    pub(crate) fn new(edge: &Arc<Inner>) -> EdgeMetrics {
        EdgeMetrics { edge: Arc::downgrade(edge) }
    }
}

impl fmt::Debug for EdgeMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EdgeMetrics").finish_non_exhaustive()
    }
}

impl Collector for EdgeMetrics {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let Some(edge) = self.edge.upgrade() else { return Ok(()) };
        let status = edge.status();
        let mut page = Page { encoder, status: &status };
        page.edge()?;
        page.sources()?;
        page.files()?;
        page.channels()?;
        page.groups()?;
        page.sinks()
    }
}

struct Page<'a, 'e> {
    encoder: DescriptorEncoder<'e>,
    status: &'a EdgeStatus,
}

impl Page<'_, '_> {
    fn edge(&mut self) -> fmt::Result {
        let status = self.status;
        let (ready, healthy) = (u64::from(status.ready), u64::from(status.healthy));
        self.one("edge_ready", "1 while sources run and the spool takes what they read", ready)?;
        self.one("edge_healthy", "1 while nothing is wrong at all", healthy)?;
        let orphans = status.spool.orphans.iter().map(|orphan| orphan.events).sum();
        self.one("edge_orphaned_events", "Events kept for nobody, at most", orphans)?;
        self.one("dead_letter_bytes", "Bytes of all dead letters", status.dead_letters.bytes)?;
        let help = "Events that went to the dead letters";
        let kind = MetricType::Counter;
        let encoder = self.encoder.encode_descriptor("dead_letter_events", help, None, kind)?;
        ConstCounter::new(status.dead_letters.events).encode(encoder)
    }

    fn sources(&mut self) -> fmt::Result {
        self.source("source_events", "Events stored", |source| source.events)?;
        self.source("source_blocks", "Blocks stored", |source| source.blocks)?;
        self.source("source_dropped_events", "Events that a rule dropped", |source| {
            source.dropped
        })?;
        self.source("source_dead_letters", "Events that could not be put", |source| {
            source.dead_letters
        })?;
        self.source("source_read_errors", "Files that could not be read, each time", |source| {
            source.read_errors
        })?;
        self.source(
            "source_truncations",
            "Files found shorter than what was read of them",
            |source| source.truncations,
        )?;
        let running = |source: &SourceStatus| u64::from(source.state == SourceState::Running);
        let running = self.of_sources(running);
        self.gauge("source_running", "1 while the source receives", running)?;
        let waiting = |source: &SourceStatus| u64::from(source.state == SourceState::Waiting);
        let waiting = self.of_sources(waiting);
        self.gauge("source_waiting", "1 while there is no room for what it received", waiting)?;
        let lag = self.of_sources(|source| source.lag_bytes);
        self.gauge("source_lag_bytes", "Bytes of all its files that are not stored", lag)
    }

    fn files(&mut self) -> fmt::Result {
        let lag = self.of_files(|file| file.lag_bytes);
        self.gauge("source_file_lag_bytes", "Bytes of a file that are not stored", lag)?;
        let size = self.of_files(|file| file.size);
        self.gauge("source_file_size_bytes", "The length of a file", size)
    }

    fn channels(&mut self) -> fmt::Result {
        let bytes = self.of_channels(|channel| channel.pending_bytes);
        self.gauge("channel_pending_bytes", "Bytes stored and not delivered", bytes)?;
        let events = self.of_channels(|channel| channel.pending_events);
        self.gauge("channel_pending_events", "Events stored and not delivered, at most", events)?;
        let capacity = self.of_channels(|channel| channel.capacity_bytes);
        self.gauge("channel_capacity_bytes", "Bytes that may wait in it", capacity)
    }

    fn groups(&mut self) -> fmt::Result {
        let pending = self.of_groups(|group| group.pending_events);
        self.gauge("group_pending_events", "Events it has to deliver, at most", pending)?;
        let dead = self.of_groups(|group| group.dead_lettered_events);
        self.counter("group_dead_lettered_events", "Events that its sinks rejected", dead)?;
        let lost = self.of_groups(|group| group.lost_offsets);
        self.counter("group_lost_offsets", "Offsets passed because they cannot be read", lost)
    }

    fn sinks(&mut self) -> fmt::Result {
        let events = self.of_sinks(|sink| sink.delivered_events);
        self.counter("sink_events", "Events delivered", events)?;
        let batches = self.of_sinks(|sink| sink.delivered_batches);
        self.counter("sink_batches", "Batches delivered", batches)?;
        let failures = self.of_sinks(|sink| sink.failed_deliveries);
        self.counter("sink_failures", "Deliveries that were refused", failures)?;
        let out = |sink: &SinkStatus| {
            u64::from(matches!(sink.state, SinkState::Unavailable | SinkState::Paused))
        };
        let out = self.of_sinks(out);
        self.gauge("sink_out", "1 while the sink does not take what it is given", out)
    }

    fn source(&mut self, name: &str, help: &str, value: fn(&SourceStatus) -> u64) -> fmt::Result {
        let rows = self.of_sources(value);
        self.counter(name, help, rows)
    }

    fn of_sources(&self, value: impl Fn(&SourceStatus) -> u64) -> Vec<(Labels, u64)> {
        let mut rows = Vec::new();
        for flow in &self.status.flows {
            for source in &flow.sources {
                let labels = vec![("flow", flow.name.clone()), ("source", source.name.clone())];
                rows.push((labels, value(source)));
            }
        }
        rows
    }

    fn of_files(&self, value: impl Fn(&FileStatus) -> u64) -> Vec<(Labels, u64)> {
        let mut rows = Vec::new();
        for flow in &self.status.flows {
            for source in &flow.sources {
                for file in source.files.iter().take(FILES_MAX) {
                    let labels = vec![
                        ("flow", flow.name.clone()),
                        ("source", source.name.clone()),
                        ("file", file.path.clone()),
                    ];
                    rows.push((labels, value(file)));
                }
            }
        }
        rows
    }

    fn of_channels(&self, value: impl Fn(&ChannelStatus) -> u64) -> Vec<(Labels, u64)> {
        let mut rows = Vec::new();
        for flow in &self.status.flows {
            for channel in &flow.channels {
                let labels = vec![("flow", flow.name.clone()), ("channel", channel.name.clone())];
                rows.push((labels, value(channel)));
            }
        }
        rows
    }

    fn of_groups(&self, value: impl Fn(&GroupStatus) -> u64) -> Vec<(Labels, u64)> {
        let mut rows = Vec::new();
        for flow in &self.status.flows {
            for group in &flow.groups {
                let labels = vec![("flow", flow.name.clone()), ("group", group.name.clone())];
                rows.push((labels, value(group)));
            }
        }
        rows
    }

    fn of_sinks(&self, value: impl Fn(&SinkStatus) -> u64) -> Vec<(Labels, u64)> {
        let mut rows = Vec::new();
        for flow in &self.status.flows {
            for sink in &flow.sinks {
                let labels = vec![("flow", flow.name.clone()), ("sink", sink.name.clone())];
                rows.push((labels, value(sink)));
            }
        }
        rows
    }

    fn one(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let encoder = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(encoder)
    }

    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels, u64)>,
    ) -> fmt::Result {
        let family = Family::<Labels, Gauge>::default();
        for (labels, value) in rows {
            family.get_or_create(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        let encoder = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        family.encode(encoder)
    }

    fn counter(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels, u64)>,
    ) -> fmt::Result {
        let family = Family::<Labels, Counter>::default();
        for (labels, value) in rows {
            family.get_or_create(&labels).inc_by(value);
        }
        let encoder = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        family.encode(encoder)
    }
}

/// A source follows as many files as it finds; so many have figures of their own.
const FILES_MAX: usize = 1_000;
