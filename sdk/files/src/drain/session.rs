//! The work under one token.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use sdk_config::ledger::{Grant, Refusal, Root};
use sdk_flow::{ChannelReader, ReadError};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::bucket::Table;
use super::ledger::Call;
use super::member::{Progress, probe, raise, sweep_foreign};
use super::memory::Share;
use super::outcome::Done;
use super::peek::Peek;
use super::shared::{Preference, Shared};
use super::stretches::Stretches;
use super::{Control, Drain, NAP, READS_WITHIN};
use crate::layout::Placer;
use crate::sink::FileSink;
use crate::status::{DrainStatus, DrainTotals};

/// How a session ended.
pub(crate) enum End {
    /// All of the sealed lineage is final.
    Drained,
    /// It was told to.
    Stopped,
    /// The ledger is somebody else's.
    NotOurs(Refusal),
    /// The log is broken.
    Failed(ReadError),
    /// It goes on with a fresh token, for this reason.
    Fresh(String),
}

pub(crate) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) control: Arc<Control>,
    pub(super) publisher: watch::Sender<DrainStatus>,
    pub(super) reader: Box<dyn ChannelReader>,
    pub(super) table: Table,
    pub(super) members: Vec<Member>,
    /// Members by preference.
    pub(super) order: Vec<usize>,
    /// Where events go; `None` before the first member works.
    pub(super) active: Option<usize>,
    /// How often that has changed.
    pub(super) switches: u64,
    /// The offset read next.
    pub(super) cursor: u64,
    pub(super) floor: u64,
    /// Offsets below may be recorded already.
    pub(super) covered_to: u64,
    pub(super) ended: bool,
    /// The reader has had nothing for a while: time is what the clock says, and no longer what puts say.
    pub(super) caught_up: bool,
    /// Since when the reader has been waited for.
    pub(super) reading_since: Option<Duration>,
    pub(super) stretches: Stretches,
    pub(super) jobs: FuturesUnordered<BoxFuture<'static, Done>>,
    /// Buckets that something has happened to.
    pub(super) dirty: BTreeSet<u32>,
    /// Buckets that something is to be tried for again, and when.
    pub(super) later: BTreeSet<(Duration, u32)>,
    pub(super) to_build: BTreeSet<u32>,
    pub(super) to_place: BTreeSet<u32>,
    pub(super) to_commit: BTreeSet<u32>,
    pub(super) to_announce: BTreeSet<u32>,
    pub(super) to_pin: BTreeSet<u32>,
    pub(super) calls: VecDeque<Call>,
    pub(super) ledger_busy: bool,
    /// The ledger has no room: what makes it grow waits until then.
    pub(super) ledger_full_until: Duration,
    pub(super) builds_running: usize,
    pub(super) places_running: usize,
    /// Files that get no more events and are not committed.
    pub(super) unfinished: usize,
    pub(super) share: Share,
    /// How much memory there is for one chunk.
    pub(super) chunk_room: usize,
    /// Bytes of memory in buffers, those with jobs included.
    pub(super) held: usize,
    /// Those with jobs that write to growing files.
    pub(super) in_flight: usize,
    /// Those with jobs that close files.
    pub(super) closing: usize,
    pub(super) next_id: u64,
    /// Puts read.
    pub(super) uses: u64,
    /// Put time of the newest event read, from the floor on.
    pub(super) newest_put_ms: Option<i64>,
    /// When what was not read was put.
    pub(super) peek: Peek,
    /// No file is due before this.
    pub(super) due_ms: i64,
    pub(super) raised_at: Duration,
    pub(super) raise_not_before: Duration,
    pub(super) committed_since_raise: bool,
    pub(super) published_at: Option<Duration>,
    /// When to end though not all is finished, once told to stop.
    pub(super) stop_by: Option<Duration>,
    pub(super) end: Option<End>,
    pub(super) totals: DrainTotals,
    started: Duration,
}

/// A sink of the group, under this token.
pub(crate) struct Member {
    pub(super) sink: Arc<FileSink>,
    pub(super) placer: Placer,
    pub(super) state: MemberState,
    /// Absent while a job raises it.
    pub(super) progress: Option<Progress>,
    /// Failures since its last committed file.
    pub(super) failures: u32,
    /// Why it does not work.
    pub(super) reason: Option<String>,
    /// The bucket of the dead letters of one day (days since 1970).
    pub(super) dead: Option<(i64, u32)>,
    /// Whether it was tried at all.
    pub(super) settled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberState {
    /// A job finds out whether it works.
    Raising,
    Up,
    /// It is left alone until then.
    Out(Duration),
}

/// How long a preferred sink is waited for before another one is used at the start.
const PREFERRED_GRACE: Duration = Duration::from_secs(5);

/// Beyond so many bytes on their way into growing files nothing more is read: what is written soon
/// after it was filled is still in the processor's cache.
const IN_FLIGHT_BYTES_MAX: usize = 4 << 20;

/// Beyond so many unfinished files nothing more is read.
const UNFINISHED_MAX: usize = 8192;

/// How long a sink that was never tried may take to clean up.
const UNTRIED: Duration = Duration::from_secs(5);

/// Batches taken before others get the worker thread. What was just put is in memory, so that a drain
/// with something to catch up never waits: whoever waits for an acknowledgement would wait for the
/// drain. With a turn after each batch it would not catch up on a busy machine, and read the disk.
const READS_PER_TURN: u64 = 4;

/// Pause before the roots of former sinks are cleaned again.
const FOREIGN_PAUSE: Duration = Duration::from_secs(30);

impl Session {
    pub(super) fn new(
        drain: &Drain,
        grant: Grant,
        totals: DrainTotals,
    ) -> Result<Session, ReadError> {
        let options = drain.options.clone();
        let reader = options.readers.reader(grant.floor)?;
        let members: Vec<Member> = options
            .members
            .iter()
            .map(|sink| Member {
                sink: Arc::clone(sink),
                placer: Placer::new(Arc::clone(sink.layout())),
                state: MemberState::Out(Duration::ZERO),
                progress: Some(Progress::new(&grant, sink.layout().root())),
                failures: 0,
                reason: None,
                dead: None,
                settled: false,
            })
            .collect();
        let mut order: Vec<usize> = (0..members.len()).collect();
        if options.preference == Preference::Spread {
            let lineage = options.names.lineage;
            let turn = u64::from(lineage.shard).wrapping_add(lineage.epoch);
            let turn = usize::try_from(turn % members.len() as u64).expect("less than a usize");
            order.rotate_left(turn);
        }
        let started = options.clock.monotonic();
        let share = Share::new(Arc::clone(&options.memory));
        let foreign: Vec<(u64, Root)> = grant
            .earlier
            .iter()
            .filter(|(_, root)| !members.iter().any(|it| it.sink.layout().root() == root.path))
            .cloned()
            .collect();
        let mut session = Session {
            shared: Arc::new(Shared { options, token: grant.token }),
            control: Arc::clone(&drain.control),
            publisher: drain.status.clone(),
            reader,
            table: Table::default(),
            members,
            order,
            active: None,
            switches: 0,
            cursor: grant.floor,
            floor: grant.floor,
            covered_to: 0,
            ended: false,
            caught_up: false,
            reading_since: None,
            stretches: Stretches::default(),
            jobs: FuturesUnordered::new(),
            dirty: BTreeSet::new(),
            later: BTreeSet::new(),
            to_build: BTreeSet::new(),
            to_place: BTreeSet::new(),
            to_commit: BTreeSet::new(),
            to_announce: BTreeSet::new(),
            to_pin: BTreeSet::new(),
            calls: VecDeque::new(),
            ledger_busy: false,
            ledger_full_until: Duration::ZERO,
            builds_running: 0,
            places_running: 0,
            unfinished: 0,
            share,
            chunk_room: 0,
            held: 0,
            in_flight: 0,
            closing: 0,
            next_id: 0,
            uses: 0,
            newest_put_ms: None,
            peek: Peek::default(),
            due_ms: i64::MAX,
            raised_at: started,
            raise_not_before: Duration::ZERO,
            committed_since_raise: false,
            published_at: None,
            stop_by: None,
            end: None,
            totals,
            started,
        };
        session.sweep_foreign(foreign, Duration::ZERO);
        session.recover(grant);
        Ok(session)
    }

    /// Works until there is a reason to end. Dropping the future is a crash.
    pub(super) async fn run(&mut self, stop: &CancellationToken) -> End {
        let mut reads = 0_u64;
        loop {
            self.schedule();
            self.share.set_busy(self.held > 0);
            if let Some(end) = self.end.take().or_else(|| self.finished()) {
                self.publish(true);
                if matches!(end, End::Drained) {
                    self.clean_up().await;
                }
                return end;
            }
            self.publish(false);
            let may_read = self.may_read();
            let since = self.reading_since.unwrap_or_else(|| self.now());
            self.reading_since = may_read.then_some(since);
            let nap = self.nap();
            let batch_bytes = self.batch_bytes();
            tokio::select! {
                biased;
                () = stop.cancelled(), if self.stop_by.is_none() => self.begin_to_stop(),
                () = self.control.wake.notified() => self.controlled(),
                Some(done) = self.jobs.next(), if !self.jobs.is_empty() => self.apply(done),
                read = self.reader.next(batch_bytes), if may_read => {
                    self.take(read);
                    reads += 1;
                    if reads.is_multiple_of(READS_PER_TURN) {
                        yield_now().await;
                    }
                }
                () = sleep(nap) => self.caught_up |= self.until_caught_up().is_some_and(|it| it.is_zero()),
            }
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.shared.now()
    }

    pub(super) fn group_of_one(&self) -> bool {
        self.members.len() == 1
    }

    pub(super) fn is_up(&self, member: usize) -> bool {
        self.members[member].state == MemberState::Up
    }

    fn batch_bytes(&self) -> usize {
        self.active.map_or(1, |member| self.members[member].sink.batch_bytes())
    }

    fn may_read(&self) -> bool {
        let limits = &self.shared.options.limits;
        self.active.is_some_and(|member| self.is_up(member))
            && !self.ended
            && self.stop_by.is_none()
            && self.in_flight < IN_FLIGHT_BYTES_MAX.min(self.budget())
            && self.has_room()
            && self.unfinished < UNFINISHED_MAX
            && self.table.len() < limits.buckets
    }

    /// Whether more may be held. What is on its way to files is waited for; what is not, however much
    /// that is, gets less by nothing but more events.
    fn has_room(&self) -> bool {
        self.held < 2 * self.budget() || self.in_flight + self.closing == 0
    }

    /// How much longer the reader is to have nothing until all there is has been read, if it is waited for.
    fn until_caught_up(&self) -> Option<Duration> {
        let since = self.reading_since?;
        Some((since + READS_WITHIN).saturating_sub(self.now()))
    }

    /// How long nothing happens by itself.
    fn nap(&self) -> Duration {
        let now = self.now();
        let mut nap = NAP;
        if let Some(until) = self.until_caught_up()
            && !self.caught_up
        {
            nap = nap.min(until);
        }
        if let Some((at, _)) = self.later.first() {
            nap = nap.min(at.saturating_sub(now));
        }
        for member in &self.members {
            if let MemberState::Out(until) = member.state {
                nap = nap.min(until.saturating_sub(now));
            }
        }
        if self.ledger_full_until > now {
            nap = nap.min(self.ledger_full_until - now);
        }
        if let Some(by) = self.stop_by {
            nap = nap.min(by.saturating_sub(now));
        }
        let due_in = self.due_ms.saturating_sub(self.shared.options.clock.wall_ms());
        if self.due_ms < i64::MAX && self.caught_up {
            nap = nap.min(Duration::from_millis(u64::try_from(due_in).unwrap_or(0)));
        }
        nap.max(Duration::from_millis(1))
    }

    fn begin_to_stop(&mut self) {
        self.stop_by = Some(self.now() + self.shared.options.limits.stop_grace);
        self.roll_all();
    }

    fn controlled(&mut self) {
        if self.control.roll.swap(false, Ordering::Relaxed) {
            self.roll_all();
        }
        if self.control.refresh.swap(false, Ordering::Relaxed) {
            self.end_fresh("the ledger was changed by an operator");
        }
    }

    /// Ends the session; the first reason stands.
    pub(super) fn end_fresh(&mut self, reason: impl Into<String>) {
        self.end.get_or_insert_with(|| End::Fresh(reason.into()));
    }

    fn finished(&self) -> Option<End> {
        let idle = !self.ledger_busy && self.calls.is_empty();
        let nothing_left = || self.table.iter().all(|(_, it)| it.segments().next().is_none());
        if self.ended && idle && self.floor == self.cursor && nothing_left() {
            return Some(End::Drained);
        }
        let by = self.stop_by?;
        let all_final = || {
            let mut segments = self.table.iter().flat_map(|(_, bucket)| bucket.segments());
            segments.all(|segment| segment.pinned)
        };
        let helpless = self.members.iter().all(|it| it.settled && it.state != MemberState::Up);
        let done = idle && self.floor == self.floor_now() && all_final();
        (done || helpless || by <= self.now()).then_some(End::Stopped)
    }

    /// Takes the lineage's staging directories away, since nobody will ever fence them.
    // By `&mut`: a shared borrow held across an await would ask the jobs to be `Sync`.
    async fn clean_up(&mut self) {
        for (index, member) in self.members.iter().enumerate() {
            // One that was not tried yet may have what an earlier token left.
            if member.settled && !self.is_up(index) {
                continue;
            }
            let root = member.sink.layout().root();
            let names = &self.shared.options.names;
            let staging = names.lineage_staging(root, member.sink.number());
            let limit = if member.settled { self.shared.deadlines().close } else { UNTRIED };
            // Litter, if it fails: no token of this lineage will ever be granted again.
            let _ = tokio::time::timeout(limit, member.sink.fs().delete(&staging)).await;
        }
    }

    /// Starts the job that gets a member to work, if it is time.
    pub(super) fn raise_members(&mut self) {
        let now = self.now();
        for index in 0..self.members.len() {
            let member = &mut self.members[index];
            let MemberState::Out(until) = member.state else { continue };
            if until > now {
                continue;
            }
            let Some(progress) = member.progress.take() else { continue };
            member.state = MemberState::Raising;
            let shared = Arc::clone(&self.shared);
            self.jobs.push(Box::pin(async move {
                let (raised, progress) = raise(shared, index, progress).await;
                Done::Raised { member: index, raised, progress }
            }));
        }
    }

    /// Looks at the roots of members that work, now and then.
    pub(super) fn look_at_roots(&mut self) {
        let now = self.now();
        for index in 0..self.members.len() {
            if self.is_up(index) && self.members[index].sink.take_look(now) {
                let shared = Arc::clone(&self.shared);
                self.jobs.push(Box::pin(async move {
                    Done::Looked { member: index, result: probe(&shared, index).await }
                }));
            }
        }
    }

    pub(super) fn sweep_foreign(&mut self, pairs: Vec<(u64, Root)>, after: Duration) {
        if pairs.is_empty() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        self.jobs.push(Box::pin(async move {
            sleep(after).await;
            let left = sweep_foreign(shared, pairs).await.err().unwrap_or_default();
            Done::Swept { left }
        }));
    }

    pub(super) fn foreign_swept(&mut self, left: Vec<(u64, Root)>) {
        self.sweep_foreign(left, FOREIGN_PAUSE);
    }

    /// Chooses where events go.
    pub(super) fn choose(&mut self) {
        let Some(best) = self.order.iter().copied().find(|member| self.is_up(*member)) else {
            return;
        };
        match self.active {
            Some(active) if self.is_up(active) => {
                if self.is_left_behind(active) {
                    self.read_again(best);
                } else if active != best {
                    // A preferred one is back. What the other has begun it finishes.
                    self.roll_all();
                    self.switch(best);
                }
            }
            Some(_) => self.read_again(best),
            None => {
                let preferred = self.order.iter().take_while(|member| **member != best);
                let all_settled = preferred.into_iter().all(|it| self.members[*it].settled);
                if all_settled || self.now() >= self.started + PREFERRED_GRACE {
                    self.switch(best);
                }
            }
        }
    }

    /// Whether a sink that is out has something that has no Intent, while another gets the events.
    fn is_left_behind(&self, active: usize) -> bool {
        let out = |member: usize| member != active && !self.is_up(member);
        if !(0..self.members.len()).any(out) {
            return false;
        }
        let mut buckets = self.table.iter().filter(|(_, bucket)| out(bucket.member));
        buckets.any(|(_, bucket)| {
            bucket.segments().any(|segment| !segment.announced() && !segment.hole)
        })
    }

    fn switch(&mut self, member: usize) {
        let name = &**self.members[member].sink.name();
        let group = &*self.shared.options.group;
        let lineage = self.shared.options.names.lineage;
        tracing::info!(group, %lineage, sink = name, "sink takes over");
        self.active = Some(member);
        self.switches += 1;
        for member in &mut self.members {
            member.placer.forget();
            member.dead = None;
        }
    }

    /// Reads again from the floor, for a sink that works, whatever has no Intent yet.
    fn read_again(&mut self, best: usize) {
        // An Intent on its way may be accepted: only its answer says which ranges are taken.
        if self.ledger_busy {
            return;
        }
        self.forget_unannounced();
        self.reader.seek(self.floor);
        self.cursor = self.floor;
        self.ended = false;
        self.caught_up = false;
        self.newest_put_ms = None;
        self.stretches.clear();
        let recorded = self.table.iter().filter_map(|(_, bucket)| bucket.recorded.end());
        self.covered_to = recorded.max().map_or(0, |end| end + 1);
        self.switch(best);
        self.dirty.extend(self.table.iter().map(|(number, _)| number));
    }
}
