//! One flow of an edge: its spool, its sources, its sink groups.

use std::sync::{Arc, Mutex};

use sdk_channel::{
    CHECKPOINT_BYTES, Capacity, ChannelKind, ChannelMetrics, Recovered, Spool, SpoolChannelOptions,
    SpoolOptions,
};
use sdk_config::{ChannelSpec, FlowSpec};
use sdk_flow::{
    ChannelNumbers, ChannelProcessor, Clock, Entropy, Environment, HostNames, LocalPenalties, Tasks,
};
use sdk_wal::Log;
use tracing::{info, warn};

use crate::EdgeError;
use crate::dead_letters::{DeadLetterBox, SinkLetters};
use crate::group::{Group, Progress};
use crate::sinks::SinkBuilder;
use crate::source::SourceRunner;
use crate::status::{ChannelStatus, FlowStatus, OrphanStatus};
use crate::watch::{SinkWatch, SourceWatch};

/// So many checkpoints lie in a full log at least, were each its shortest.
const CHECKPOINTS: u64 = 64;
/// Checkpoints closer together would be most of what is written.
const CHECKPOINT_BYTES_MIN: u64 = 64 << 10;

/// What all flows of an edge share.
pub(crate) struct Shared {
    pub(crate) log: Log,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) host: HostNames,
    pub(crate) sinks: Arc<dyn SinkBuilder>,
    pub(crate) letters: Arc<DeadLetterBox>,
    pub(crate) metrics: ChannelMetrics,
    pub(crate) discard_orphans: bool,
}

/// A flow that is open. [`Flow::start`] makes it run.
pub(crate) struct Flow {
    name: String,
    spool: Spool,
    channels: Vec<Part>,
    runners: Mutex<Vec<SourceRunner>>,
    pub(crate) sources: Vec<Arc<SourceWatch>>,
    pub(crate) groups: Vec<Arc<Group>>,
    orphans: Vec<OrphanStatus>,
}

/// One of its channels.
struct Part {
    kind: &'static str,
    capacity: Arc<Capacity>,
    capacity_bytes: u64,
}

impl Flow {
    /// Whether such a flow can be, before anything is opened for it.
    pub(crate) fn check(
        name: &str,
        spec: &FlowSpec,
        host: &HostNames,
        clock: &Arc<dyn Clock>,
    ) -> Result<(), EdgeError> {
        for (source, of) in &spec.sources {
            let wrong = |error| EdgeError::Source {
                flow: name.to_owned(),
                source_name: source.clone(),
                error,
            };
            SourceRunner::check(of, Arc::clone(clock)).map_err(wrong)?;
            let environment = Environment { clock: Arc::clone(clock), host: host.clone() };
            ChannelProcessor::build(of, spec, &environment).map_err(|error| wrong(error.into()))?;
        }
        Ok(())
    }

    /// Recovers the flow's spool and makes its parts; nothing runs yet.
    pub(crate) async fn open(
        name: &str,
        number: u64,
        spec: &FlowSpec,
        shared: &Shared,
    ) -> Result<Flow, EdgeError> {
        let channels: Vec<Part> = spec
            .channels
            .iter()
            .map(|(name, channel)| Part::new(name, channel, shared.log.usage().quota_bytes))
            .collect();
        let failed = |error| EdgeError::Spool { flow: name.to_owned(), error };
        let options = spool_options(name, number, spec, &channels, shared);
        let (spool, recovered) = Spool::open(options).await.map_err(failed)?;
        let orphans = orphans(name, &spool, &recovered, shared).await;
        let groups = groups(name, spec, &spool, &recovered, shared)?;
        let (mut runners, mut sources) = (Vec::new(), Vec::new());
        for (source, of) in &spec.sources {
            let clock = Arc::clone(&shared.clock);
            let watch = Arc::new(SourceWatch::new(name, source, of.type_name(), clock));
            sources.push(Arc::clone(&watch));
            let clock = Arc::clone(&shared.clock);
            let environment = Environment { clock, host: shared.host.clone() };
            let processor = ChannelProcessor::build(of, spec, &environment);
            let processor = processor.map_err(|error| EdgeError::Source {
                flow: name.to_owned(),
                source_name: source.clone(),
                error: error.into(),
            })?;
            runners.push(SourceRunner {
                spec: of.clone(),
                spool: spool.clone(),
                processor: Arc::new(processor),
                letters: Arc::clone(&shared.letters),
                watch,
                clock: Arc::clone(&shared.clock),
                entropy: Arc::clone(&shared.entropy),
            });
        }
        let (name, runners) = (name.to_owned(), Mutex::new(runners));
        Ok(Flow { name, spool, channels, runners, sources, groups, orphans })
    }

    /// Sinks first, so that what is waiting makes room.
    pub(crate) fn start(&self, sources: &Tasks, groups: &Tasks) {
        for group in &self.groups {
            let group = Arc::clone(group);
            groups.start(format!("group {}", group.spec.name), |stop| group.run(stop));
        }
        let runners = std::mem::take(&mut *self.runners.lock().expect("no panic holds this lock"));
        for runner in runners {
            let name = format!("source {}", runner.watch.name());
            sources.start(name, |stop| runner.run(stop));
        }
    }

    /// Ends its spool: nothing is taken any more, and readers end.
    pub(crate) async fn stop(&self) {
        self.spool.stop().await;
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What is kept for channels and groups that the flow no longer has.
    pub(crate) fn orphans(&self) -> &[OrphanStatus] {
        &self.orphans
    }

    /// Bytes that are stored and not delivered.
    pub(crate) fn pending_bytes(&self) -> u64 {
        self.channels.iter().map(|channel| channel.capacity.used()).sum()
    }

    pub(crate) fn status(&self) -> FlowStatus {
        let groups: Vec<_> = self.groups.iter().map(|group| group.status()).collect();
        let channels = self.channels.iter().map(|channel| {
            let name = channel.capacity.name().to_string();
            let mine = groups.iter().filter(|group| group.channel == name);
            ChannelStatus {
                kind: channel.kind.to_owned(),
                pending_bytes: channel.capacity.used(),
                pending_events: mine.map(|group| group.pending_events).max().unwrap_or(0),
                capacity_bytes: channel.capacity_bytes,
                name,
            }
        });
        let channels = channels.collect();
        let mut sinks: Vec<_> = self.groups.iter().flat_map(|group| group.sinks()).collect();
        sinks.sort_by(|a, b| a.name.cmp(&b.name));
        FlowStatus {
            name: self.name.clone(),
            sources: self.sources.iter().map(|source| source.status()).collect(),
            channels,
            groups,
            sinks,
        }
    }
}

impl Part {
    fn new(name: &str, spec: &ChannelSpec, quota_bytes: u64) -> Part {
        // Without a limit of its own it ends where the log does.
        let (bytes, span) = match spec {
            ChannelSpec::Durable(durable) => (durable.capacity, durable.log_span),
            ChannelSpec::Memory(memory) => (Some(memory.capacity), None),
        };
        let bytes_max = bytes.map_or(u64::MAX, |bytes| bytes.bytes());
        let span_max = span.map_or(u64::MAX, |bytes| bytes.bytes());
        Part {
            kind: spec.type_name(),
            capacity: Capacity::new(name, bytes_max, span_max),
            capacity_bytes: bytes_max.min(quota_bytes),
        }
    }
}

fn spool_options(
    name: &str,
    number: u64,
    spec: &FlowSpec,
    channels: &[Part],
    shared: &Shared,
) -> SpoolOptions {
    let groups = spec.sink_groups();
    let channel = |(part, spec): (&Part, &ChannelSpec)| {
        let mine = groups.iter().filter(|group| *group.channel == **part.capacity.name());
        SpoolChannelOptions {
            kind: if spec.is_durable() { ChannelKind::Durable } else { ChannelKind::Memory },
            capacity: Arc::clone(&part.capacity),
            groups: mine.map(|group| group.name.clone()).collect(),
        }
    };
    let clock = Arc::clone(&shared.clock);
    let quota = shared.log.usage().quota_bytes;
    SpoolOptions {
        channels: channels.iter().zip(spec.channels.values()).map(channel).collect(),
        // The log keeps what is behind the latest one: that must never be most of it.
        checkpoint_bytes: (quota / CHECKPOINTS).clamp(CHECKPOINT_BYTES_MIN, CHECKPOINT_BYTES),
        metrics: shared.metrics.clone(),
        ..SpoolOptions::new(shared.log.clone(), number, name, clock)
    }
}

async fn orphans(
    flow: &str,
    spool: &Spool,
    recovered: &Recovered,
    shared: &Shared,
) -> Vec<OrphanStatus> {
    if !recovered.unreadable.is_empty() || !recovered.exact {
        let ranges = recovered.unreadable.len();
        warn!(flow, ranges, exact = recovered.exact, "some of the spool cannot be read");
    }
    if recovered.orphans.is_empty() {
        return Vec::new();
    }
    if shared.discard_orphans {
        match spool.discard_orphans().await {
            Ok(cursors) => {
                info!(flow, cursors, "gave up what was left for removed channels and sinks");
                return Vec::new();
            }
            Err(error) => warn!(flow, %error, "cannot give up what nobody takes any more"),
        }
    }
    let mut orphans: Vec<OrphanStatus> = Vec::new();
    for left in &recovered.orphans {
        let events = left.end.saturating_sub(left.floor);
        let (channel, group) = (Some(left.channel.clone()), Some(left.group.clone()));
        let same = |known: &&mut OrphanStatus| known.channel == channel && known.group == group;
        match orphans.iter_mut().find(same) {
            Some(known) => known.events += events,
            None => orphans.push(OrphanStatus { flow: flow.to_owned(), channel, group, events }),
        }
    }
    for OrphanStatus { channel, group, events, .. } in &orphans {
        warn!(flow, channel, group, events, "the spool keeps events that nobody takes any more");
    }
    orphans
}

fn groups(
    flow: &str,
    spec: &FlowSpec,
    spool: &Spool,
    recovered: &Recovered,
    shared: &Shared,
) -> Result<Vec<Arc<Group>>, EdgeError> {
    let numbers = ChannelNumbers::of(spec);
    let letters =
        Arc::new(SinkLetters { flow: flow.to_owned(), letters: Arc::clone(&shared.letters) });
    let mut groups = Vec::new();
    for group in spec.sink_groups() {
        let (Some(channel), Some(number)) =
            (spool.channel(&group.channel), numbers.number(&group.channel))
        else {
            let error = format!("it takes from channel {}, which is not there", group.channel);
            let (flow, sink) = (flow.to_owned(), group.name);
            return Err(EdgeError::Sink { flow, sink, error: error.into() });
        };
        let mut sinks = Vec::new();
        for (name, priority) in &group.members {
            let wrong =
                |error| EdgeError::Sink { flow: flow.to_owned(), sink: name.clone(), error };
            let of = spec.sinks.get(name).ok_or_else(|| wrong("there is no such sink".into()))?;
            let sink = shared.sinks.build(flow, name, of).map_err(wrong)?;
            let clock = Arc::clone(&shared.clock);
            let watch = SinkWatch::new(name, of.type_name(), &group.name, clock, sink);
            sinks.push((Arc::new(watch), *priority));
        }
        let mine = |left: &&sdk_channel::Undelivered| {
            left.channel == group.channel && left.group == group.name
        };
        groups.push(Arc::new(Group {
            spool: spool.clone(),
            channel,
            number,
            sinks,
            penalties: Arc::new(LocalPenalties::new(
                Arc::clone(&shared.clock),
                Arc::clone(&shared.entropy),
                group.max_penalty.get(),
            )),
            letters: Arc::clone(&letters) as _,
            entropy: Arc::clone(&shared.entropy),
            earlier: recovered.undelivered.iter().filter(mine).cloned().collect(),
            progress: Mutex::new(Progress::default()),
            spec: group,
        }));
    }
    Ok(groups)
}
