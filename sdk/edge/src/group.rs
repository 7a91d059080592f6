//! A sink group draining its channel, lineage after lineage.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::FutureExt as _;
use sdk_channel::{Spool, SpoolChannel, Undelivered};
use sdk_config::SinkGroup;
use sdk_event::Lineage;
use sdk_flow::{
    BoxError, Channel as _, DeadLetters, Ended, Entropy, GroupCounts, GroupOptions, GroupRunner,
    GroupStats, LocalPenalties, Member, jittered, penalty, with_causes,
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::status::{GroupStatus, SinkStatus};
use crate::watch::{SharedSink, SinkWatch};

/// Bytes that are delivered and committed at a time.
const BATCH_BYTES: usize = 4 << 20;
/// The longest pause before a group that failed goes on.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A sink group of a flow.
pub(crate) struct Group {
    pub(crate) spec: SinkGroup,
    pub(crate) spool: Spool,
    pub(crate) channel: SpoolChannel,
    /// The channel's number in the lineage being written.
    pub(crate) number: u8,
    /// The members with their priorities.
    pub(crate) sinks: Vec<(Arc<SinkWatch>, i64)>,
    pub(crate) penalties: Arc<LocalPenalties>,
    pub(crate) letters: Arc<dyn DeadLetters>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// What earlier processes left behind for it.
    pub(crate) earlier: Vec<Undelivered>,
    pub(crate) progress: Mutex<Progress>,
}

/// What the group has done since the start.
#[derive(Default)]
pub(crate) struct Progress {
    /// The runner at work, and whether on the lineage being written.
    runner: Option<(bool, Arc<GroupStats>)>,
    /// What runners before it have done.
    all: GroupCounts,
    /// Events of the lineage being written that they have passed.
    current: u64,
    failure: Option<String>,
}

impl Group {
    /// Runs until `stop`, then closes the sinks.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        self.follow(&stop).await;
        for (sink, _) in &self.sinks {
            sink.close().await;
        }
    }

    async fn follow(&self, stop: &CancellationToken) {
        for lineage in self.spool.lineages(&self.spec.channel, &self.spec.name) {
            let mut failures: u32 = 0;
            loop {
                match self.drain(lineage, stop).await {
                    Ok(Ended::Drained) => break,
                    Ok(Ended::Stopped | Ended::Fenced) => return,
                    Err(_) if stop.is_cancelled() => return,
                    Err(error) => {
                        let (group, error) = (&self.spec.name, with_causes(&*error));
                        failures = failures.saturating_add(1);
                        let pause = jittered(penalty(failures, PAUSE_MAX), &*self.entropy);
                        error!(group, %lineage, error, ?pause, "sink group failed, will go on");
                        self.lock().failure = Some(error);
                        if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                            return;
                        }
                        self.lock().failure = None;
                    }
                }
            }
            debug!(group = self.spec.name, %lineage, "an earlier lineage is delivered");
        }
    }

    /// Delivers one lineage from where its cursor stands.
    async fn drain(&self, lineage: Lineage, stop: &CancellationToken) -> Result<Ended, BoxError> {
        let (channel, group) = (&self.spec.channel, &self.spec.name);
        let cursor = self.spool.cursor(channel, group, lineage);
        // It leaves the spool with the last of it that anybody had to deliver.
        let Some(cursor) = cursor else { return Ok(Ended::Drained) };
        let reader = self.channel.reader(lineage, cursor.floor().await?)?;
        let members = self.sinks.iter().map(|(sink, priority)| Member {
            name: sink.name().into(),
            priority: *priority,
            sink: Box::new(SharedSink::new(Arc::clone(sink))),
        });
        let runner = GroupRunner::new(GroupOptions {
            name: group.as_str().into(),
            reader,
            cursor,
            members: members.collect(),
            policy: self.spec.policy.into(),
            penalties: Arc::clone(&self.penalties) as _,
            dead_letters: Some(Arc::clone(&self.letters)),
            entropy: Arc::clone(&self.entropy),
            batch_bytes_max: BATCH_BYTES,
            stats: Arc::default(),
        });
        let current = lineage == self.spool.shard().lineage();
        self.lock().runner = Some((current, runner.stats()));
        let ended = runner.run(stop.clone()).await;
        self.lock().settle();
        Ok(ended?)
    }

    /// Events it has still to deliver. What earlier processes left behind is
    /// counted by offsets, an upper bound.
    pub(crate) fn pending_events(&self) -> u64 {
        let earlier: u64 = self.earlier.iter().map(|left| self.left_behind(left)).sum();
        let (_, totals) = self.spool.shard().totals();
        let put = totals.channel(self.number).put;
        earlier + put.saturating_sub(self.lock().passed())
    }

    fn left_behind(&self, left: &Undelivered) -> u64 {
        let cursor = self.spool.cursor(&left.channel, &left.group, left.lineage);
        // Where it stands is in memory, so the answer is there at once.
        let floor = cursor.and_then(|cursor| cursor.floor().now_or_never());
        floor.and_then(Result::ok).map_or(0, |floor| left.end.saturating_sub(floor))
    }

    /// Whether waiting for it is of no use: all its sinks refused what they were
    /// last given, or it cannot read or commit.
    pub(crate) fn is_out(&self) -> bool {
        self.lock().failure.is_some() || self.sinks.iter().all(|(sink, _)| sink.is_out())
    }

    pub(crate) fn status(&self) -> GroupStatus {
        let pending_events = self.pending_events();
        let progress = self.lock();
        let counts = progress.counts();
        GroupStatus {
            name: self.spec.name.clone(),
            channel: self.spec.channel.clone(),
            pending_events,
            dead_lettered_events: counts.dead_lettered_events,
            lost_offsets: counts.lost_offsets,
            failure: progress.failure.clone(),
        }
    }

    pub(crate) fn sinks(&self) -> Vec<SinkStatus> {
        let out = self.penalties.list();
        self.sinks.iter().map(|(sink, _)| sink.status(&out)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().expect("no panic while the lock is held")
    }
}

impl Progress {
    /// The runner at work has ended.
    fn settle(&mut self) {
        (self.all, self.current) = (self.counts(), self.passed());
        self.runner = None;
    }

    fn counts(&self) -> GroupCounts {
        let now = self.runner.as_ref().map(|(_, stats)| stats.counts()).unwrap_or_default();
        GroupCounts {
            delivered_events: self.all.delivered_events + now.delivered_events,
            delivered_batches: self.all.delivered_batches + now.delivered_batches,
            failed_deliveries: self.all.failed_deliveries + now.failed_deliveries,
            dead_lettered_events: self.all.dead_lettered_events + now.dead_lettered_events,
            lost_offsets: self.all.lost_offsets + now.lost_offsets,
        }
    }

    fn passed(&self) -> u64 {
        let Some((true, stats)) = &self.runner else { return self.current };
        let counts = stats.counts();
        self.current + counts.delivered_events + counts.dead_lettered_events + counts.lost_offsets
    }
}
