//! What the node knows about itself: status, metrics, health.

mod books;
mod count;
mod disks;
mod freshness;
mod rates;
#[cfg(test)]
pub(crate) mod rig;
mod sinks;
mod undrained;

use crate::cluster::Cluster;
use crate::data_dir::DataDir;
use crate::drains::Drains;
use crate::flows::Flows;
use crate::http::Faces;
use crate::lineages::Lineages;
use crate::node::Addresses;
use crate::penalties::PenaltyTimer;
use async_trait::async_trait;
pub(crate) use books::BookRow;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use proto::v1;
use rates::FlowRates;
use sdk_config::Port;
use sdk_flow::Clock;
use sdk_tls::Gate;
use sdk_wal::Log;
use server_cluster::FlowId;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Everything that can be said about this node.
pub struct Figures {
    pub(crate) cluster: Cluster,
    pub(crate) flows: Flows,
    pub(crate) lineages: Arc<Lineages>,
    pub(crate) drains: Arc<Drains>,
    pub(crate) log: Log,
    pub(crate) penalty_timer: Arc<PenaltyTimer>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) data_dir: DataDir,
    addresses: Addresses,
    gate: Gate,
    started: Duration,
    ready: AtomicBool,
    registry: Registry,
    gauges: Gauges,
    encoding: Mutex<()>,
    rates: Mutex<BTreeMap<FlowId, FlowRates>>,
    connections: Gauge,
}

type Seconds = Gauge<f64, std::sync::atomic::AtomicU64>;

/// Metrics that are looked up when they are asked for.
#[derive(Default)]
struct Gauges {
    pending_events: Family<Vec<(String, String)>, Gauge>,
    oldest_pending: Family<Vec<(String, String)>, Seconds>,
    final_before: Family<Vec<(String, String)>, Seconds>,
    sink_ok: Family<Vec<(String, String)>, Gauge>,
    healthy: Gauge,
}

impl Gauges {
    /// What is no longer there is not to be shown as it was last.
    fn clear(&self) {
        self.pending_events.clear();
        self.oldest_pending.clear();
        self.final_before.clear();
        self.sink_ok.clear();
    }
}

impl Figures {
    #[expect(clippy::too_many_arguments, reason = "it looks at everything, and is made once")]
    pub(crate) fn new(
        cluster: Cluster,
        flows: Flows,
        lineages: Arc<Lineages>,
        drains: Arc<Drains>,
        log: Log,
        penalty_timer: Arc<PenaltyTimer>,
        clock: Arc<dyn Clock>,
        data_dir: DataDir,
        addresses: Addresses,
        gate: Gate,
        connections: Gauge,
        mut registry: Registry,
    ) -> Arc<Self> {
        let gauges = Gauges::default();
        let own = registry.sub_registry_with_prefix("collector");
        own.register(
            "channel_pending_events",
            "Events of a channel that are not final in some sink group",
            gauges.pending_events.clone(),
        );
        own.register(
            "flow_oldest_pending_seconds",
            "Age of the oldest event that is not final",
            gauges.oldest_pending.clone(),
        );
        own.register(
            "flow_final_before_timestamp_seconds",
            "Everything put before this time is final",
            gauges.final_before.clone(),
        );
        own.register("sink_ok", "1 if the sink delivers", gauges.sink_ok.clone());
        own.register(
            "node_healthy",
            "1 if status has no reason to complain",
            gauges.healthy.clone(),
        );
        let started = clock.monotonic();
        Arc::new(Self {
            cluster,
            flows,
            lineages,
            drains,
            log,
            penalty_timer,
            clock,
            data_dir,
            addresses,
            gate,
            started,
            ready: AtomicBool::new(false),
            registry,
            gauges,
            encoding: Mutex::default(),
            rates: Mutex::default(),
            connections,
        })
    }

    /// An address as others write it: a URL where it is encrypted.
    fn address(&self, port: Port, address: SocketAddr) -> String {
        match self.gate.tls(port) {
            Some(_) => format!("https://{address}"),
            None => address.to_string(),
        }
    }

    /// Whether events are accepted.
    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// How everything is.
    pub(crate) fn look(&self) -> v1::StatusReply {
        let raft = self.cluster.raft().status().borrow().clone();
        let uuid = self.cluster.read(|state| state.cluster().map(|id| id.to_string()));
        let leader = raft.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string());
        let sinks = self.sinks();
        let flows = self.flow_figures(&sinks);
        let penalties = self.penalties();
        let disks = self.disks();
        let mut reasons = Vec::new();
        if raft.leader.is_none() {
            reasons.push(
                "the control plane has no leader: nothing is assigned and no file becomes final"
                    .to_owned(),
            );
        }
        if !self.ready.load(Ordering::Relaxed) {
            reasons.push("the node takes no events: it is starting or stopping".to_owned());
        }
        for sink in sinks.iter().filter(|sink| sink.state != "ok") {
            reasons.push(format!(
                "sink {}/{} is {}: {}",
                sink.flow, sink.name, sink.state, sink.reason
            ));
        }
        reasons.extend(self.undrained());
        for disk in disks.iter().filter(|disk| disk.mark != "ok") {
            reasons.push(disks::sentence(disk));
        }
        for penalty in &penalties {
            reasons.push(format!(
                "sink {}/{} is left alone for {} s more after {} failures: {}",
                penalty.flow,
                penalty.sink,
                penalty.remaining_ms.div_ceil(1_000),
                penalty.failures,
                penalty.reason
            ));
        }
        let quarantined = self.log.quarantined();
        if !quarantined.is_empty() {
            reasons.push(format!(
                "{} records of the log cannot be read; `collector-cli wal verify` lists them",
                quarantined.len()
            ));
        }
        reasons.extend(self.gate.reasons(self.clock.wall_ms() / 1_000));
        let elapsed = self.clock.monotonic().saturating_sub(self.started);
        let node = v1::Node {
            id: self.cluster.node().to_string(),
            state: "up".to_owned(),
            ingest: self.address(Port::Ingest, self.addresses.ingest),
            admin: self.address(Port::Admin, self.addresses.admin),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            incarnation: self.cluster.incarnation(),
            resident_bytes: resident_bytes(),
            connections: u64::try_from(self.connections.get()).unwrap_or(0),
        };
        v1::StatusReply {
            healthy: reasons.is_empty(),
            reasons,
            cluster: Some(v1::Cluster {
                uuid: uuid.unwrap_or_default(),
                leader,
                term: raft.term,
                applied_index: self.cluster.read(server_cluster::State::applied),
            }),
            nodes: vec![node],
            flows,
            sinks,
            penalties,
            disks,
        }
    }

    pub(crate) fn penalties(&self) -> Vec<v1::Penalty> {
        self.cluster.read(|state| {
            let running = state.penalties().into_iter().map(|status| v1::Penalty {
                flow: status.flow_name.to_owned(),
                group: String::new(),
                sink: status.sink_name.to_owned(),
                node: if status.cluster_wide { String::new() } else { status.node.to_string() },
                failures: u32::try_from(status.penalty.failures).unwrap_or(u32::MAX),
                remaining_ms: self
                    .penalty_timer
                    .remaining_ms(status.penalty.serial, status.penalty.duration_ms),
                reason: status.penalty.reason.clone(),
            });
            running.collect()
        })
    }

    fn flow_figures(&self, sinks: &[v1::Sink]) -> Vec<v1::Flow> {
        let lineages = self.lineages.all();
        // Before everything else is looked up: what is put from here on was not looked for.
        let now_ms = self.clock.wall_ms();
        let running = self.drains.running().into_iter().collect();
        let books = self.books();
        let mut rates = self.rates.lock().expect("no panic while the lock is held");
        let mut figures = Vec::new();
        for (name, flow) in self.flows.all().iter() {
            let version = flow.version.load();
            let own: Vec<_> =
                lineages.iter().filter(|(lineage, _)| lineage.flow == flow.id).collect();
            let known = rates.entry(flow.id).or_default();
            let finished = self.finished(flow.id);
            let rate = self.rate(flow.id, &books, known);
            let freshness =
                self.final_before_ms(flow.id, &books, &running, &mut known.quiet, now_ms);
            let channels = version.channels.iter().map(|channel| {
                let pending = sinks
                    .iter()
                    .filter(|sink| sink.flow == *name)
                    .filter(|sink| {
                        version
                            .spec
                            .sinks
                            .get(&sink.name)
                            .is_some_and(|it| it.channel() == &*channel.name)
                    })
                    .map(|sink| sink.backlog_events)
                    .max();
                let dropped = own
                    .iter()
                    .map(|(_, held)| held.held.totals().1.channel(channel.number).dropped());
                v1::FlowChannel {
                    name: channel.name.to_string(),
                    r#type: if channel.durable { "durable" } else { "memory" }.to_owned(),
                    required: channel.required,
                    pending_events: pending.unwrap_or(0),
                    pending_bytes: channel.capacity.used(),
                    capacity_bytes: channel.capacity.bytes_max(),
                    dropped_events: dropped.sum::<u64>()
                        + finished.get(&*channel.name).copied().unwrap_or(0),
                }
            });
            figures.push(v1::Flow {
                name: name.clone(),
                id: flow.id,
                shards: u32::try_from(flow.shards.len()).unwrap_or(u32::MAX),
                version: version.number.into(),
                events_per_second: rate.events_per_second,
                bytes_per_second: rate.bytes_per_second,
                acknowledged_events: rate.acknowledged,
                channels: channels.collect(),
                oldest_pending_ms: freshness.map(|ms| u64::try_from(now_ms - ms).unwrap_or(0)),
                final_before_ms: freshness.unwrap_or(0),
                final_before: freshness
                    .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
                    .map(|time| time.to_string())
                    .unwrap_or_default(),
            });
        }
        figures
    }

    /// Events dropped in lineages that have left the state, by channel.
    fn finished(&self, flow: FlowId) -> BTreeMap<String, u64> {
        self.cluster.read(|state| {
            let Some(flow) = state.flow(flow) else { return BTreeMap::new() };
            let mut dropped: BTreeMap<String, u64> = BTreeMap::new();
            for (key, book) in &flow.books {
                let known = dropped.entry(key.channel.clone()).or_default();
                *known = (*known).max(book.dropped_events());
            }
            dropped
        })
    }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[async_trait]
impl Faces for Figures {
    async fn status(&self) -> v1::StatusReply {
        self.look()
    }

    fn ready(&self) -> Result<(), String> {
        self.live()?;
        if !self.ready.load(Ordering::Relaxed) {
            return Err("the node is starting or stopping".to_owned());
        }
        if self.cluster.raft().status().borrow().leader.is_none() {
            return Err("the control plane has no leader".to_owned());
        }
        Ok(())
    }

    fn live(&self) -> Result<(), String> {
        match &*self.log.failure().borrow() {
            Some(reason) => Err(format!("the log is dead: {reason}")),
            None => Ok(()),
        }
    }

    fn metrics(&self) -> String {
        // One at a time: the gauges of the other are half there.
        let _one = self.encoding.lock().expect("no panic while the lock is held");
        let status = self.look();
        self.gauges.clear();
        let labels = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        self.gauges.healthy.set(i64::from(status.healthy));
        for flow in &status.flows {
            let of_flow = labels(&[("flow", &flow.name)]);
            // No figure rather than a good one while it is not known.
            if let Some(oldest_ms) = flow.oldest_pending_ms {
                let (oldest, before) = (&self.gauges.oldest_pending, &self.gauges.final_before);
                oldest.get_or_create(&of_flow).set(oldest_ms as f64 / 1_000.0);
                before.get_or_create(&of_flow).set(flow.final_before_ms as f64 / 1_000.0);
            }
            for channel in &flow.channels {
                let of_channel = labels(&[("flow", &flow.name), ("channel", &channel.name)]);
                self.gauges
                    .pending_events
                    .get_or_create(&of_channel)
                    .set(channel.pending_events as i64);
            }
        }
        for sink in &status.sinks {
            let of_sink = labels(&[("flow", &sink.flow), ("sink", &sink.name)]);
            self.gauges.sink_ok.get_or_create(&of_sink).set(i64::from(sink.state == "ok"));
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("a string takes everything");
        text
    }
}

#[cfg(test)]
mod tests;
