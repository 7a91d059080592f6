//! What jobs report, and what follows from it.

use bytes::BytesMut;
use sdk_config::ledger::Root;
use sdk_flow::ReadError;
use tracing::{debug, warn};

use super::bucket::{Quarantine, Segment, Slot, Stage};
use super::build::{BuildError, Built};
use super::failure::{Failure, QUICK_PAUSE_MAX, QUICK_TRIES, pause, weight};
use super::ledger::{Answered, Call};
use super::member::{Progress, Raised, describe};
use super::place::Placed;
use super::session::{End, MemberState, Session};
use super::spans::Spans;
use crate::fs::{FsError, FsErrorKind};
use crate::ledger::LedgerError;
use crate::staged::{Closed, Staged};

/// The end of a job.
pub(crate) enum Done {
    Wrote {
        bucket: u32,
        segment: u64,
        result: Result<Box<Staged>, Failure>,
        buffers: Vec<BytesMut>,
        bytes: usize,
    },
    Closed {
        bucket: u32,
        segment: u64,
        result: Result<Closed, Failure>,
        buffers: Vec<BytesMut>,
        bytes: usize,
    },
    Built(Vec<(u32, u64, Result<Built, BuildError>)>),
    Placed(Vec<((u32, u64), Placed)>),
    Ledger(Answered),
    Raised {
        member: usize,
        raised: Raised,
        progress: Progress,
    },
    Looked {
        member: usize,
        result: Result<(), Failure>,
    },
    Swept {
        left: Vec<(u64, Root)>,
    },
    Peeked {
        offset: u64,
        put_ms: Result<Option<i64>, ReadError>,
    },
    Discarded,
}

/// The pause after a failure that quarantines a bucket, before doubling.
const QUARANTINE_TRIES: u32 = 5;

impl Session {
    pub(super) fn apply(&mut self, done: Done) {
        match done {
            Done::Wrote { bucket, segment, result, buffers, bytes } => {
                self.held -= bytes;
                self.in_flight -= bytes;
                buffers.into_iter().for_each(|buffer| self.share.memory().give(buffer));
                self.wrote(bucket, segment, result);
            }
            Done::Closed { bucket, segment, result, buffers, bytes } => {
                self.held -= bytes;
                self.closing -= bytes;
                buffers.into_iter().for_each(|buffer| self.share.memory().give(buffer));
                self.closed(bucket, segment, result);
            }
            Done::Built(results) => {
                self.builds_running -= 1;
                for (bucket, segment, result) in results {
                    self.built(bucket, segment, result);
                }
            }
            Done::Placed(results) => {
                self.places_running -= 1;
                for ((bucket, segment), placed) in results {
                    self.placed(bucket, segment, placed);
                }
            }
            Done::Ledger(answered) => {
                self.ledger_busy = false;
                self.answered(answered);
            }
            Done::Raised { member, raised, progress } => self.raised(member, raised, progress),
            Done::Looked { member, result } => self.looked(member, result),
            Done::Swept { left } => self.foreign_swept(left),
            Done::Peeked { offset, put_ms } => self.peeked(offset, put_ms),
            Done::Discarded => (),
        }
    }

    pub(super) fn segment_mut(&mut self, bucket: u32, id: u64) -> Option<&mut Segment> {
        self.table.get(bucket)?.segment_mut(id)
    }

    fn wrote(&mut self, bucket: u32, id: u64, result: Result<Box<Staged>, Failure>) {
        self.dirty.insert(bucket);
        match (self.segment_mut(bucket, id), result) {
            (Some(Segment { stage: Stage::Streaming(stream), tries, .. }), Ok(file)) => {
                stream.file = Slot::Idle(file);
                *tries = 0;
                // Memory was not short of it while the job ran, and may be by now.
                if self.held > self.budget() {
                    self.write_small(bucket);
                }
            }
            // It was given up while the job ran.
            (_, Ok(file)) => {
                let member = self.table.get(bucket).map_or(0, |bucket| bucket.member);
                let path = file.path().to_owned();
                drop(file);
                self.discard(member, path);
            }
            (Some(segment), Err(failure)) => {
                let stage = std::mem::replace(&mut segment.stage, Stage::Cold);
                let member = self.table.at(bucket).member;
                self.drop_stage(member, stage);
                self.file_failed(bucket, id, failure);
            }
            (None, Err(failure)) => self.stray_failure(failure),
        }
    }

    fn closed(&mut self, bucket: u32, id: u64, result: Result<Closed, Failure>) {
        self.dirty.insert(bucket);
        match (self.segment_mut(bucket, id), result) {
            (Some(segment), Ok(closed)) => {
                segment.stage = Stage::Staged(closed);
                segment.tries = 0;
            }
            (None, Ok(closed)) => {
                let member = self.table.get(bucket).map_or(0, |bucket| bucket.member);
                self.discard(member, closed.path);
            }
            (Some(segment), Err(failure)) => {
                segment.stage = Stage::Cold;
                self.file_failed(bucket, id, failure);
            }
            (None, Err(failure)) => self.stray_failure(failure),
        }
    }

    fn built(&mut self, bucket: u32, id: u64, result: Result<Built, BuildError>) {
        self.dirty.insert(bucket);
        let member = self.table.get(bucket).map_or(0, |bucket| bucket.member);
        let Some(segment) = self.segment_mut(bucket, id) else {
            if let Ok(built) = result {
                self.discard(member, built.closed.path);
            }
            return;
        };
        segment.stage = Stage::Cold;
        match result {
            Ok(built) => self.take_built(bucket, id, member, built),
            Err(BuildError::Empty { lost }) => self.not_as_it_was(bucket, id, 0, lost),
            Err(BuildError::File(failure)) => self.file_failed(bucket, id, failure),
            Err(BuildError::Read(ReadError::Closed | ReadError::Lost { .. })) => {
                self.try_again_later(bucket, id);
            }
            Err(BuildError::Read(error)) => self.end = Some(End::Failed(error)),
        }
    }

    fn take_built(&mut self, bucket: u32, id: u64, member: usize, built: Built) {
        let Built { closed, first, last, events, more, lost } = built;
        let next_id = self.next_id + 1;
        let Some(segment) = self.segment_mut(bucket, id) else { return };
        let whole = events == segment.events;
        let (began, missing) = (segment.first, segment.events.saturating_sub(events));
        if !whole && (segment.announced() || (!segment.hole && !lost)) {
            self.discard(member, closed.path);
            self.not_as_it_was(bucket, id, events, lost);
            return;
        }
        segment.stage = Stage::Staged(closed);
        segment.tries = 0;
        // What a hole lacks the ledger counts when it is filled.
        let lost_unannounced = !segment.announced() && !segment.hole;
        if !segment.announced() {
            segment.first = first;
            if more {
                let rest = rest_of_hole(segment, next_id, last, events);
                segment.last = last;
                segment.events = events;
                self.next_id = next_id;
                let rolled = &mut self.table.at(bucket).rolled;
                let at = rolled.iter().position(|it| it.id == id).expect("it was just there");
                rolled.insert(at + 1, rest);
                self.unfinished += 1;
            } else {
                // A hole is filled to its end even if its last events are lost.
                segment.last = if segment.hole { segment.last } else { last };
                segment.events = events;
            }
        }
        if lost_unannounced {
            self.stretches.lose(began, missing);
        }
        self.totals.rebuilt_files += 1;
        self.members[member].sink.metrics().rebuilt_files.inc();
    }

    /// A range did not give the events it had.
    fn not_as_it_was(&mut self, bucket: u32, id: u64, events: u64, lost: bool) {
        let Some(segment) = self.segment_mut(bucket, id) else { return };
        if !segment.announced() && !segment.hole {
            // The ledger knows nothing of it.
            if lost {
                let (began, missing) = (segment.first, segment.events.saturating_sub(events));
                self.stretches.lose(began, missing);
                self.forget_segment(bucket, id);
            } else {
                self.end_fresh("the log gave other events than before");
            }
            return;
        }
        segment.stage = Stage::GivingUp;
        let span = segment.span();
        let wanted = segment.events;
        let key = self.table.at(bucket).key.clone();
        warn!(bucket = ?key, ?span, wanted, found = events, "a file cannot be built as it was");
        let missing = wanted.saturating_sub(events);
        self.calls.push_back(Call::GiveUp { bucket, segment: id, key, span, missing });
    }

    fn placed(&mut self, bucket: u32, id: u64, placed: Placed) {
        self.dirty.insert(bucket);
        let now = self.now();
        let Some(segment) = self.segment_mut(bucket, id) else { return };
        let stage = std::mem::replace(&mut segment.stage, Stage::Cold);
        let source = if let Stage::Placing(source) = stage { source } else { None };
        match placed {
            Placed::Final { length, crc } => {
                segment.stage = Stage::Placed { length, crc };
                segment.tries = 0;
                self.unquarantine(bucket);
            }
            // Stays cold: it is built again, and a superseding Intent follows.
            Placed::Absent => debug!(bucket, "an announced file is absent"),
            Placed::SourceLost => {
                segment.stage = Stage::Announced(source);
                self.end_fresh("a file in staging was lost");
            }
            Placed::Conflict(reason) => {
                segment.stage = Stage::Announced(source);
                self.quarantine(bucket, reason);
            }
            Placed::Wait(wait) => {
                segment.stage = Stage::Announced(source);
                segment.retry_at = now + wait;
            }
            Placed::Failed(failure) => {
                segment.stage = Stage::Announced(source);
                self.file_failed(bucket, id, failure);
            }
        }
    }

    /// Goes on after a failure with one file, which is back in a stage at rest.
    fn file_failed(&mut self, bucket: u32, id: u64, failure: Failure) {
        let member = self.table.at(bucket).member;
        match failure {
            Failure::Fenced => self.end_fresh("the staging directory is gone"),
            Failure::Sink(error) => self.member_failed(member, &error),
            Failure::Path(error) => self.quarantine(bucket, describe(&error)),
            Failure::File(error) => {
                // An outage makes many files fail: it is told of once, when the sink fails.
                let shown = &error as &dyn std::error::Error;
                match error.kind() {
                    FsErrorKind::Unavailable | FsErrorKind::Timeout => {
                        debug!(error = shown, "a file failed, will try again");
                    }
                    _ => warn!(error = shown, "a file failed, will try again"),
                }
                let now = self.now();
                let Some(segment) = self.segment_mut(bucket, id) else { return };
                segment.tries = segment.tries.saturating_add(weight(&error));
                segment.retry_at = now + pause(segment.tries, QUICK_PAUSE_MAX);
                if segment.tries >= QUICK_TRIES {
                    segment.tries = 0;
                    self.member_failed(member, &error);
                }
            }
        }
    }

    fn stray_failure(&mut self, failure: Failure) {
        if matches!(failure, Failure::Fenced) {
            self.end_fresh("the staging directory is gone");
        }
    }

    pub(super) fn try_again_later(&mut self, bucket: u32, id: u64) {
        let now = self.now();
        let most = self.shared.options.limits.pause_max;
        if let Some(segment) = self.segment_mut(bucket, id) {
            segment.tries = segment.tries.saturating_add(1);
            segment.retry_at = now + pause(segment.tries, most);
        }
    }

    /// A sink does not work: nothing more is started there until it does.
    pub(super) fn member_failed(&mut self, member: usize, error: &FsError) {
        let now = self.now();
        let most = self.shared.options.limits.pause_max;
        let name = std::sync::Arc::clone(self.members[member].sink.name());
        let known = &mut self.members[member];
        if known.state != MemberState::Up {
            return;
        }
        let reason = describe(error);
        if known.sink.begins_trouble(now) {
            warn!(sink = &*name, reason, "sink does not work");
        }
        known.failures = known.failures.saturating_add(1);
        let wait = pause(known.failures, most);
        known.state = MemberState::Out(now + wait);
        known.reason = Some(reason.clone());
        known.settled = true;
        self.dirty.extend(
            self.table.iter().filter(|(_, it)| it.member == member).map(|(number, _)| number),
        );
        if error.kind() != FsErrorKind::Paused {
            let penalties = std::sync::Arc::clone(&self.shared.options.penalties);
            self.jobs.push(Box::pin(async move {
                penalties.failed(&name, &reason).await;
                Done::Discarded
            }));
        }
    }

    fn raised(&mut self, member: usize, raised: Raised, progress: Progress) {
        let now = self.now();
        let most = self.shared.options.limits.pause_max;
        let known = &mut self.members[member];
        known.progress = Some(progress);
        known.settled = true;
        match raised {
            Raised::Up => {
                known.state = MemberState::Up;
                known.reason = None;
                known.sink.set_warning(None);
                let numbers = self.table.iter().filter(|(_, it)| it.member == member);
                self.dirty.extend(numbers.map(|(number, _)| number));
            }
            Raised::Out(wait, reason) => {
                known.state = MemberState::Out(now + wait.max(pause(0, most)));
                known.reason.get_or_insert(reason);
            }
            Raised::Down(reason) => {
                known.failures = known.failures.saturating_add(1);
                known.state = MemberState::Out(now + pause(known.failures, most));
                if known.sink.begins_trouble(now) {
                    warn!(sink = &**known.sink.name(), reason, "sink does not work");
                }
                known.reason = Some(reason);
            }
            Raised::Paused(wait, reason) => {
                known.state = MemberState::Out(now + wait);
                known.reason = Some(reason);
            }
            Raised::Fenced => {
                known.state = MemberState::Out(now + pause(0, most));
                self.end_fresh("the staging directory is gone");
            }
            Raised::Ledger(error) => {
                known.state = MemberState::Out(now + pause(0, most));
                self.ledger_failed(error);
            }
        }
    }

    /// A look at a root that works so far. What has its directory goes on whatever it shows; the
    /// operator learns of it before a new directory is wanted.
    fn looked(&mut self, member: usize, result: Result<(), Failure>) {
        let sink = &self.members[member].sink;
        match result {
            Ok(()) => sink.set_warning(None),
            Err(Failure::Fenced) => self.end_fresh("the staging directory is gone"),
            Err(Failure::Sink(error) | Failure::Path(error) | Failure::File(error)) => {
                sink.metrics().failures.inc();
                if sink.warning().is_none() {
                    let error = &error as &dyn std::error::Error;
                    warn!(sink = &**sink.name(), error, "nothing new can be made in the root");
                }
                sink.set_warning(Some(describe(&error)));
            }
        }
    }

    /// The ledger did not do what it was asked: only a fresh token tells what holds.
    pub(super) fn ledger_failed(&mut self, error: LedgerError) {
        match error {
            LedgerError::Closed => self.end = Some(End::Stopped),
            LedgerError::Unavailable(error) => {
                self.end_fresh(format!("the ledger cannot be reached: {error}"));
            }
            LedgerError::Refused(refusal) => self.end_fresh(format!("the ledger said: {refusal}")),
        }
    }

    /// Leaves a bucket alone for a while, for a reason of its own.
    pub(super) fn quarantine(&mut self, number: u32, reason: String) {
        let now = self.now();
        let most = self.shared.options.limits.pause_max;
        let bucket = self.table.at(number);
        let failures = bucket.quarantine.as_ref().map_or(0, |it| it.failures) + 1;
        let told = bucket.quarantine.as_ref().is_some_and(|it| it.told && it.reason == reason);
        let retry_at = now + pause(QUARANTINE_TRIES + failures, most);
        if failures == 1 {
            warn!(bucket = ?bucket.key, reason, "bucket quarantined");
        }
        if !told {
            let key = bucket.key.clone();
            self.calls.push_back(Call::Quarantine { bucket: key, reason: reason.clone() });
        }
        bucket.quarantine = Some(Quarantine { reason, failures, retry_at, told: true });
        for segment in &mut bucket.rolled {
            if matches!(segment.stage, Stage::Announced(_)) {
                segment.retry_at = retry_at;
            }
        }
        self.later.insert((retry_at, number));
        self.cool(number);
        self.dirty.insert(number);
    }

    /// A bucket works again.
    fn unquarantine(&mut self, number: u32) {
        let bucket = self.table.at(number);
        if bucket.quarantine.take().is_none() {
            return;
        }
        for segment in &mut bucket.rolled {
            segment.retry_at = std::time::Duration::ZERO;
        }
        let key = bucket.key.clone();
        self.calls.push_back(Call::Release { bucket: key });
    }

    /// Lets a quarantined bucket go if nothing but its holes keeps it: the next file will tell.
    pub(super) fn retry_quarantine(&mut self, number: u32) {
        let now = self.now();
        let bucket = self.table.at(number);
        let Some(quarantine) = &bucket.quarantine else { return };
        let mut segments = bucket.rolled.iter();
        if segments.any(|segment| segment.announced() || !segment.is_at_rest()) {
            return;
        }
        if quarantine.retry_at > now {
            self.later.insert((quarantine.retry_at, number));
        } else {
            self.unquarantine(number);
        }
    }

    /// Drops what has no Intent and is no hole: it is read again.
    pub(super) fn forget_unannounced(&mut self) {
        let mut dropped = Vec::new();
        for (number, bucket) in self.table.iter_mut() {
            let member = bucket.member;
            let filling = bucket.filling.take();
            let mut kept = std::collections::VecDeque::new();
            for segment in bucket.rolled.drain(..) {
                if segment.announced() || segment.hole {
                    kept.push_back(segment);
                } else {
                    self.unfinished -= 1;
                    dropped.push((number, member, segment));
                }
            }
            bucket.rolled = kept;
            bucket.switches = u64::MAX;
            dropped.extend(filling.map(|segment| (number, member, segment)));
        }
        for (number, member, segment) in dropped {
            self.dirty.insert(number);
            self.drop_stage(member, segment.stage);
        }
        self.due_ms = i64::MAX;
    }

    /// Takes a file off the list.
    pub(super) fn forget_segment(&mut self, bucket: u32, id: u64) {
        let Some(known) = self.table.get(bucket) else { return };
        let before = known.rolled.len();
        known.rolled.retain(|segment| segment.id != id);
        self.unfinished -= before - known.rolled.len();
        self.committed_since_raise = true;
        self.dirty.insert(bucket);
    }
}

/// What is left of a hole when a file has filled it up to `last`.
fn rest_of_hole(hole: &Segment, id: u64, last: u64, events: u64) -> Segment {
    let mut spans: Spans = hole.spans.clone();
    spans.cut_below(last + 1);
    Segment {
        id,
        first: last + 1,
        last: hole.last,
        events: hole.events.saturating_sub(events).max(1),
        body_bytes: 0,
        first_put_ms: hole.first_put_ms,
        last_put_ms: hole.last_put_ms,
        spans,
        continues: true,
        hole: true,
        pinned: true,
        pinning: false,
        attempts: Vec::new(),
        tries: 0,
        retry_at: std::time::Duration::ZERO,
        stage: Stage::Cold,
    }
}
