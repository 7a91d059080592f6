//! Moves batches from a channel to the sinks of a group until told to stop.

mod policy;
mod stats;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::policy::Turns;
pub use self::policy::{Order, Policy};
pub use self::stats::{GroupCounts, GroupStats, SinkCounts, SinkFailure};
use crate::{
    Admission, Batch, BoxError, ChannelReader, Cursor, CursorError, Entropy, Penalties, ReadError,
    Sink, SinkError, jittered, penalty, with_causes,
};

/// A sink of a group.
pub struct Member {
    /// Its name in the flow, by which it is penalised.
    pub name: Arc<str>,
    /// Higher is preferred by [`Policy::Failover`].
    pub priority: i64,
    /// The sink itself, used by this runner alone.
    pub sink: Box<dyn Sink>,
}

/// What a runner works with.
pub struct GroupOptions {
    /// The group's name, for logs.
    pub name: Arc<str>,
    /// One lineage of the group's channel.
    pub reader: Box<dyn ChannelReader>,
    /// Where the group stands in that lineage.
    pub cursor: Arc<dyn Cursor>,
    /// The sinks; at least one.
    pub members: Vec<Member>,
    /// How a member is chosen.
    pub policy: Policy,
    /// Who is out. Shared by the runners of one group, one for each lineage.
    pub penalties: Arc<dyn Penalties>,
    /// Where a batch goes that a sink rejected. `None`: the runner stops.
    pub dead_letters: Option<Arc<dyn DeadLetters>>,
    /// Randomness for orders and pauses.
    pub entropy: Arc<dyn Entropy>,
    /// Bytes of a batch: what is delivered and committed at a time.
    pub batch_bytes_max: usize,
    /// Where it counts what it does, always before it commits that.
    pub stats: Arc<GroupStats>,
}

/// Takes what a sink refuses for good.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Keeps the batch. Durable when it returns; then the group moves on. May
    /// come again after a crash.
    ///
    /// # Errors
    /// The runner tries again after a pause: a rejected batch is never passed
    /// over.
    async fn bury(&self, sink: &str, batch: &Batch, reason: &BoxError) -> Result<(), BoxError>;
}

/// How a runner ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// The lineage is sealed and everything of it is delivered.
    Drained,
    /// Another process delivers this lineage now.
    Fenced,
}

/// Why a runner could not go on.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// The channel's.
    #[error("cannot read the channel")]
    Read(#[source] ReadError),
    /// The cursor's.
    #[error("cannot move the cursor")]
    Cursor(#[source] CursorError),
    /// A sink refused events and there is nowhere to put those.
    #[error("sink {sink} rejected offsets {from} to {to}")]
    Rejected {
        /// Which sink.
        sink: Arc<str>,
        /// The first offset of the batch.
        from: u64,
        /// The offset behind its last.
        to: u64,
        /// What the sink said.
        #[source]
        error: BoxError,
    },
}

/// Follows one lineage of a channel and has each batch delivered by one member
/// of the group, in order, one at a time.
///
/// A batch is committed at the cursor after its delivery. Nothing is committed
/// that was not delivered, dead-lettered, or booked as lost by the reader, so a
/// runner that is dropped anywhere delivers at most the batch in hand again.
pub struct GroupRunner {
    options: GroupOptions,
    turns: Turns,
    /// Rounds in which every member failed, one after the other.
    failed_rounds: u32,
    /// Which members did not take what they were last given: an outage is said
    /// once, and its end once.
    failing: Vec<bool>,
    /// Below this offset a batch that was picked apart is delivered or buried.
    picked_to: u64,
}

impl GroupRunner {
    /// A batch is read up to this many bytes unless the options say otherwise.
    pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

    /// A runner that has not begun.
    ///
    /// # Panics
    /// If there is no member; a flow's spec is checked for that.
    #[must_use]
    pub fn new(options: GroupOptions) -> GroupRunner {
        assert!(!options.members.is_empty(), "a group has at least one sink");
        let priorities = options.members.iter().map(|member| member.priority);
        let turns = Turns::new(options.policy, priorities);
        let failing = vec![false; options.members.len()];
        GroupRunner { options, turns, failed_rounds: 0, failing, picked_to: 0 }
    }

    /// What it has done so far; stays readable while it runs.
    #[must_use]
    pub fn stats(&self) -> Arc<GroupStats> {
        Arc::clone(&self.options.stats)
    }

    /// Runs until `stop` or the end of the lineage, then closes the sinks.
    ///
    /// # Errors
    /// See [`GroupError`]; the cursor is then where the last delivery left it.
    pub async fn run(mut self, stop: CancellationToken) -> Result<Ended, GroupError> {
        let ended = self.follow(&stop).await;
        for member in &mut self.options.members {
            if let Err(error) = member.sink.close().await {
                warn!(group = %self.options.name, sink = %member.name,
                    error = &error as &dyn std::error::Error, "sink did not close well");
            }
        }
        ended
    }

    async fn follow(&mut self, stop: &CancellationToken) -> Result<Ended, GroupError> {
        loop {
            // Only the wait is cancelled. A delivery that has begun is
            // finished, so a clean stop never causes a duplicate.
            let read = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Ended::Stopped),
                read = self.options.reader.next(self.options.batch_bytes_max) => read,
            };
            let ended = match read {
                Ok(Some(batch)) => self.pass(batch, stop).await?,
                Ok(None) => Some(Ended::Drained),
                Err(ReadError::Lost { from, to }) => {
                    warn!(group = %self.options.name, from, to, "passing a lost range");
                    self.options.stats.lost(to - from);
                    self.options.reader.seek(to);
                    self.commit(from, to, stop).await?
                }
                Err(ReadError::Closed) if stop.is_cancelled() => Some(Ended::Stopped),
                Err(error) => return Err(GroupError::Read(error)),
            };
            if let Some(ended) = ended {
                return Ok(ended);
            }
        }
    }

    /// Delivers a batch and commits it. `Some` ends the runner.
    async fn pass(
        &mut self,
        batch: Batch,
        stop: &CancellationToken,
    ) -> Result<Option<Ended>, GroupError> {
        let put_times = || batch.stored.iter().map(|stored| stored.put_time_ms);
        self.options.stats.stands_at(put_times().min());
        if !batch.is_empty()
            && let Some(ended) = self.deliver(&batch, stop).await?
        {
            return Ok(Some(ended));
        }
        let ended = self.commit(batch.from, batch.to, stop).await?;
        if ended.is_none() {
            self.options.stats.stands_at(put_times().max());
        }
        Ok(ended)
    }

    async fn deliver(
        &mut self,
        batch: &Batch,
        stop: &CancellationToken,
    ) -> Result<Option<Ended>, GroupError> {
        self.turns.next_turn(&*self.options.entropy);
        let mut choice = self.choose().await;
        loop {
            let (pause, same) = match choice {
                Choice::Wait(pause) => (pause, None),
                Choice::Use(index) => match self.try_member(index, batch).await? {
                    Tried::Delivered => return Ok(None),
                    Tried::Fenced => return Ok(Some(Ended::Fenced)),
                    Tried::Failed => (Duration::ZERO, None),
                    Tried::Paused(pause) => (pause, Some(index)),
                },
            };
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                return Ok(Some(Ended::Stopped));
            }
            choice = match same {
                Some(index) => Choice::Use(index),
                None => self.choose().await,
            };
        }
    }

    /// The first member in this turn's order that may be used.
    async fn choose(&mut self) -> Choice {
        let mut soonest: Option<Duration> = None;
        for at in 0..self.turns.order().len() {
            let index = self.turns.order()[at];
            if !self.turns.penalises() {
                return Choice::Use(index);
            }
            let name = &self.options.members[index].name;
            match self.options.penalties.admit(name).await {
                Admission::Free | Admission::Probe => return Choice::Use(index),
                Admission::Out { retry_in } => {
                    soonest = Some(soonest.map_or(retry_in, |soonest| soonest.min(retry_in)));
                }
            }
        }
        if !self.turns.penalises() {
            // Without penalties a turn ends when each member has failed once.
            self.turns.next_turn(&*self.options.entropy);
            self.failed_rounds = self.failed_rounds.saturating_add(1);
            let pause = penalty(self.failed_rounds, ROUND_PAUSE_MAX);
            return Choice::Wait(jittered(pause, &*self.options.entropy));
        }
        Choice::Wait(soonest.unwrap_or_default().max(PAUSE_MIN))
    }

    /// Has one member deliver the batch. A sink rejects a batch for what one put in it holds: such a
    /// batch is picked apart, put by put, so that only what is at fault is a dead letter.
    async fn try_member(&mut self, index: usize, batch: &Batch) -> Result<Tried, GroupError> {
        let puts = || batch.stored.iter().filter(|stored| !stored.is_empty());
        if self.picked_to <= batch.from {
            let several = self.options.dead_letters.is_some() && puts().nth(1).is_some();
            match self.try_batch(index, batch, several).await? {
                Some(tried) => return Ok(tried),
                None => self.picked_to = batch.from,
            }
        }
        for stored in puts() {
            // A try before this one may have come to here.
            if stored.end() <= self.picked_to {
                continue;
            }
            let (from, to) = (stored.first_offset, stored.end());
            let one = Batch { lineage: batch.lineage, from, to, stored: vec![stored.clone()] };
            match self.try_batch(index, &one, false).await? {
                Some(Tried::Delivered) | None => self.picked_to = to,
                Some(tried) => return Ok(tried),
            }
        }
        Ok(Tried::Delivered)
    }

    /// `None` if it is rejected and to be picked apart.
    async fn try_batch(
        &mut self,
        index: usize,
        batch: &Batch,
        pick_apart: bool,
    ) -> Result<Option<Tried>, GroupError> {
        let member = &mut self.options.members[index];
        let error = match member.sink.deliver(batch).await {
            Ok(()) => {
                self.failed_rounds = 0;
                self.options.stats.delivered(&member.name, batch.len() as u64);
                if std::mem::take(&mut self.failing[index]) {
                    info!(group = %self.options.name, sink = %member.name, "sink delivers again");
                }
                if self.turns.penalises() {
                    self.options.penalties.succeeded(&member.name).await;
                }
                return Ok(Some(Tried::Delivered));
            }
            Err(error) => error,
        };
        self.options.stats.failed(&member.name, with_causes(&error));
        let outage = matches!(error, SinkError::Unavailable(_) | SinkError::Paused { .. });
        let known = std::mem::replace(&mut self.failing[index], outage);
        match error {
            SinkError::Unavailable(error) => {
                say_unavailable(&self.options.name, &member.name, &*error, known);
                if self.turns.penalises() {
                    self.options.penalties.failed(&member.name, &error.to_string()).await;
                } else {
                    self.turns.skip(index);
                }
                Ok(Some(Tried::Failed))
            }
            SinkError::Paused { retry_after, error } => {
                say_paused(&self.options.name, &member.name, &*error, known);
                Ok(Some(Tried::Paused(retry_after.clamp(PAUSE_MIN, PAUSE_MAX))))
            }
            SinkError::Rejected(_) if pick_apart => Ok(None),
            SinkError::Rejected(error) => self.bury(index, batch, error).await.map(Some),
            SinkError::Fenced => Ok(Some(Tried::Fenced)),
        }
    }

    async fn bury(
        &mut self,
        index: usize,
        batch: &Batch,
        error: BoxError,
    ) -> Result<Tried, GroupError> {
        let sink = Arc::clone(&self.options.members[index].name);
        let Some(dead_letters) = &self.options.dead_letters else {
            return Err(GroupError::Rejected { sink, from: batch.from, to: batch.to, error });
        };
        match dead_letters.bury(&sink, batch, &error).await {
            Ok(()) => {
                // It answered, so it is not out.
                if self.turns.penalises() {
                    self.options.penalties.succeeded(&sink).await;
                }
                warn!(group = %self.options.name, %sink, from = batch.from, to = batch.to,
                    error = &*error as &dyn std::error::Error, "sink rejected events, they are dead letters now");
                self.options.stats.dead_lettered(&sink, batch.len() as u64);
                Ok(Tried::Delivered)
            }
            Err(error) => {
                warn!(group = %self.options.name, %sink, error = &*error as &dyn std::error::Error,
                    "cannot keep a rejected batch, will retry");
                Ok(Tried::Paused(BURY_PAUSE))
            }
        }
    }

    // By `&mut`: a shared borrow held across an await would ask the sinks to be `Sync`.
    async fn commit(
        &mut self,
        from: u64,
        to: u64,
        stop: &CancellationToken,
    ) -> Result<Option<Ended>, GroupError> {
        loop {
            match self.options.cursor.commit(from, to).await {
                Ok(()) => return Ok(None),
                Err(CursorError::Fenced) => return Ok(Some(Ended::Fenced)),
                Err(CursorError::Unavailable(error)) => {
                    warn!(group = %self.options.name, error = &*error as &dyn std::error::Error,
                        "cannot move the cursor, will retry");
                    if stop.run_until_cancelled(sleep(COMMIT_PAUSE)).await.is_none() {
                        return Ok(Some(Ended::Stopped));
                    }
                }
                Err(CursorError::Closed) if stop.is_cancelled() => {
                    return Ok(Some(Ended::Stopped));
                }
                Err(error) => return Err(GroupError::Cursor(error)),
            }
        }
    }
}

fn say_unavailable(
    group: &str,
    sink: &str,
    error: &(dyn std::error::Error + 'static),
    known: bool,
) {
    match known {
        false => warn!(group, sink, error, "sink is unavailable"),
        true => debug!(group, sink, error, "sink is still unavailable"),
    }
}

fn say_paused(group: &str, sink: &str, error: &(dyn std::error::Error + 'static), known: bool) {
    match known {
        false => info!(group, sink, error, "sink asks for a pause"),
        true => debug!(group, sink, error, "sink asks for a longer pause"),
    }
}

enum Choice {
    Use(usize),
    Wait(Duration),
}

enum Tried {
    Delivered,
    Fenced,
    /// The next in line is to be asked, if there is one.
    Failed,
    /// The same sink is to be asked again.
    Paused(Duration),
}

/// The longest pause of a group without penalties whose members all fail.
const ROUND_PAUSE_MAX: Duration = Duration::from_secs(30);
/// A sink that asks for less is asked again after this.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// A sink that asks for more is asked again after this.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Between two tries to keep what a sink rejected.
const BURY_PAUSE: Duration = Duration::from_secs(5);
/// Between two tries to move the cursor.
const COMMIT_PAUSE: Duration = Duration::from_secs(1);
