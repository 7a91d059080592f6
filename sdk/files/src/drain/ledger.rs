//! What this drain tells the ledger: one call at a time, in order.

use std::sync::Arc;

use sdk_config::ledger::{Attempt, BucketKey, CommitFile, Hole, Intent, Refusal, Span};
use tracing::{debug, error, warn};

use super::bucket::{Segment, Stage};
use super::member::describe;
use super::outcome::Done;
use super::session::{MemberState, Session};
use crate::archive::ArchivedFile;
use crate::fs::{FsError, FsErrorKind};
use crate::ledger::{BATCH_BYTES, FILES_PER_BATCH_MAX, LedgerError, Raise};

/// A call to be made.
#[derive(Debug)]
pub(crate) enum Call {
    Quarantine { bucket: BucketKey, reason: String },
    Release { bucket: BucketKey },
    Pin { bucket: u32, segment: u64, key: BucketKey, hole: Hole, continues: bool },
    GiveUp { bucket: u32, segment: u64, key: BucketKey, span: Span, missing: u64 },
    Commit(Vec<(u32, u64, CommitFile)>),
    Announce(Vec<(u32, u64, Intent)>),
    Raise(Raise),
}

/// A call that was made, with its answer: one for each item of a batch, one for anything else.
pub(crate) struct Answered {
    call: Call,
    answer: Result<Vec<Result<(), Refusal>>, LedgerError>,
}

/// How long a full ledger is left alone.
const FULL_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

/// A floor that moved is told at least this often, while nothing is committed.
const RAISE_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);

impl Session {
    /// Makes the next call, if none is under way.
    pub(super) fn call_ledger(&mut self) {
        if self.ledger_busy {
            return;
        }
        self.answer_looks();
        let Some(call) = self.next_call() else { return };
        self.ledger_busy = true;
        self.control.looks.count_call();
        let shared = Arc::clone(&self.shared);
        let archived = match &call {
            Call::Commit(files) if shared.options.archive.is_some() => self.archived(files),
            _ => Vec::new(),
        };
        #[cfg(failpoints)]
        let early = super::early::Early::of(self, &call);
        self.jobs.push(Box::pin(async move {
            let options = &shared.options;
            if let Some(archive) = &options.archive
                && !archived.is_empty()
                // Before the commit, so that no committed file is missing in the list. It keeps what it
                // cannot write: a full disk is no reason not to deliver.
                && let Err(error) = archive.append_in_background(archived).await
            {
                error!(%error, "cannot write the list of final files, will retry with the next");
            }
            let (ledger, token) = (&options.ledger, shared.token);
            let whole = |answer: Result<(), LedgerError>| match answer {
                Ok(()) => Ok(vec![Ok(())]),
                Err(LedgerError::Refused(refusal)) => Ok(vec![Err(refusal)]),
                Err(error) => Err(error),
            };
            let answer = match &call {
                Call::Quarantine { bucket, reason } => {
                    whole(ledger.quarantine(token, bucket.clone(), reason.clone()).await)
                }
                Call::Release { bucket } => whole(ledger.release(token, bucket.clone()).await),
                Call::Pin { key, hole, continues, .. } => {
                    whole(ledger.add_hole(token, key.clone(), hole.clone(), *continues).await)
                }
                Call::GiveUp { key, span, .. } => {
                    whole(ledger.give_up(token, key.clone(), *span).await)
                }
                Call::Commit(files) => {
                    let files = files.iter().map(|(_, _, file)| file.clone());
                    sdk_failpoints::before!(Commit);
                    let answer = ledger.commit(token, files.collect()).await;
                    sdk_failpoints::after!(Commit);
                    answer
                }
                Call::Announce(intents) => {
                    let intents = intents.iter().map(|(_, _, intent)| intent.clone());
                    #[cfg(failpoints)]
                    early.rename(&shared).await;
                    sdk_failpoints::before!(Intent);
                    let answer = ledger.intend(token, intents.collect()).await;
                    sdk_failpoints::after!(Intent);
                    answer
                }
                Call::Raise(raise) => {
                    sdk_failpoints::before!(Floor);
                    let answer = whole(ledger.raise_floor(token, raise.clone()).await);
                    sdk_failpoints::after!(Floor);
                    answer
                }
            };
            Done::Ledger(Answered { call, answer })
        }));
    }

    fn next_call(&mut self) -> Option<Call> {
        if let Some(call) = self.calls.pop_front() {
            return Some(call);
        }
        if let Some(call) = self.next_commits() {
            return Some(call);
        }
        if self.ledger_full_until <= self.now() {
            let call = self.next_pin().or_else(|| self.next_intents());
            if call.is_some() {
                return call;
            }
        }
        self.next_raise()
    }

    fn next_commits(&mut self) -> Option<Call> {
        let mut files = Vec::new();
        while files.len() < FILES_PER_BATCH_MAX
            && let Some(number) = self.to_commit.pop_first()
        {
            let Some(bucket) = self.table.get(number) else { continue };
            for segment in &mut bucket.rolled {
                let Stage::Placed { length, crc } = segment.stage else { break };
                if files.len() == FILES_PER_BATCH_MAX {
                    self.to_commit.insert(number);
                    break;
                }
                segment.stage = Stage::Committing;
                let Span { first, last } = segment.span();
                let file = CommitFile { bucket: bucket.key.clone(), first, last, length, crc };
                files.push((number, segment.id, file));
            }
        }
        (!files.is_empty()).then_some(Call::Commit(files))
    }

    fn next_intents(&mut self) -> Option<Call> {
        let names = self.shared.options.names;
        let barriers = self.barriers();
        let mut intents = Vec::new();
        let mut bytes = 0;
        let mut again = Vec::new();
        while intents.len() < FILES_PER_BATCH_MAX
            && bytes < BATCH_BYTES
            && let Some(number) = self.to_announce.pop_first()
        {
            let Some(bucket) = self.table.get(number) else { continue };
            let quarantined = bucket.quarantine.is_some();
            let barrier = barriers.get(bucket.member).copied().unwrap_or(u64::MAX);
            let mut previous_end = bucket.end;
            let mut accepted = true;
            for segment in &mut bucket.rolled {
                let supersedes = segment.announced();
                let free = supersedes || segment.hole || segment.first < barrier;
                if !free && matches!(segment.stage, Stage::Staged(_)) {
                    again.push(number);
                }
                let wanted = supersedes || (accepted && !quarantined && free);
                if !matches!(segment.stage, Stage::Staged(_)) || !wanted {
                    accepted &= supersedes;
                    continue;
                }
                if intents.len() == FILES_PER_BATCH_MAX || bytes >= BATCH_BYTES {
                    again.push(number);
                    break;
                }
                let stage = std::mem::replace(&mut segment.stage, Stage::Cold);
                let Stage::Staged(closed) = stage else { unreachable!("it was just looked at") };
                let intent = Intent {
                    bucket: bucket.key.clone(),
                    name: names.file(&bucket.key, segment.first, segment.last),
                    length: closed.length,
                    crc: closed.crc,
                    first: segment.first,
                    last: segment.last,
                    events: segment.events,
                    previous_end,
                    continues: segment.continues,
                    dead_letters: bucket.dead,
                };
                segment.stage = Stage::Announcing(closed);
                if !supersedes {
                    previous_end = Some(segment.last);
                }
                bytes += intent_bytes(&intent);
                intents.push((number, segment.id, intent));
            }
        }
        self.to_announce.extend(again);
        (!intents.is_empty()).then_some(Call::Announce(intents))
    }

    /// By member: the first offset that some other member has and has not announced. Only below it
    /// may the member announce anything: if the other fails, what it has not announced is read again
    /// and may come to this one, whose ranges must ascend. Empty in a group of one.
    fn barriers(&self) -> Vec<u64> {
        if self.group_of_one() {
            return Vec::new();
        }
        let mut first = vec![u64::MAX; self.members.len()];
        for (_, bucket) in self.table.iter() {
            let open = bucket.segments().filter(|segment| !segment.announced() && !segment.hole);
            if let Some(lowest) = open.map(|segment| segment.first).min() {
                first[bucket.member] = first[bucket.member].min(lowest);
            }
        }
        let others = |member: usize| {
            let others = first.iter().enumerate().filter(move |(other, _)| *other != member);
            others.map(|(_, lowest)| *lowest).min().unwrap_or(u64::MAX)
        };
        (0..first.len()).map(others).collect()
    }

    /// Lets the floor pass the next file that waits for something outside.
    fn next_pin(&mut self) -> Option<Call> {
        if self.to_pin.is_empty() {
            return None;
        }
        let barriers = self.barriers();
        let mut again = Vec::new();
        let pin = self.next_pin_below(&barriers, &mut again);
        self.to_pin.extend(again);
        pin
    }

    fn next_pin_below(&mut self, barriers: &[u64], again: &mut Vec<u32>) -> Option<Call> {
        let group_of_one = self.group_of_one();
        while let Some(number) = self.to_pin.pop_first() {
            let Some(bucket) = self.table.get(number) else { continue };
            let member = bucket.member;
            let quarantined = bucket.quarantine.is_some();
            let out = !group_of_one && self.members[member].state != MemberState::Up;
            if !quarantined && !out {
                continue;
            }
            let dead_letters = bucket.dead;
            let key = bucket.key.clone();
            let next = bucket.rolled.iter_mut().find(|segment| !segment.pinned);
            let Some(segment) = next else { continue };
            // What has no Intent becomes a hole only if its bucket is the trouble; in a group it
            // goes to another sink instead.
            let barrier = barriers.get(member).copied().unwrap_or(u64::MAX);
            let may_be_hole = quarantined && segment.is_at_rest();
            if may_be_hole && !segment.announced() && segment.first >= barrier {
                again.push(number);
                continue;
            }
            let going = segment.pinning || matches!(segment.stage, Stage::GivingUp);
            if going || !(segment.announced() || may_be_hole) {
                continue;
            }
            let hole = Hole { span: segment.span(), events: segment.events, dead_letters };
            let (id, continues) = (segment.id, segment.continues);
            segment.pinning = true;
            if !segment.announced() {
                let stage = std::mem::replace(&mut segment.stage, Stage::Cold);
                self.drop_stage(member, stage);
            }
            return Some(Call::Pin { bucket: number, segment: id, key, hole, continues });
        }
        None
    }

    fn next_raise(&mut self) -> Option<Call> {
        let now = self.now();
        let due = self.committed_since_raise
            || self.ended
            || self.stop_by.is_some()
            || now >= self.raised_at + RAISE_INTERVAL;
        if !due || now < self.raise_not_before {
            return None;
        }
        let committed = std::mem::take(&mut self.committed_since_raise);
        let to = self.floor_now();
        if to <= self.floor {
            if committed {
                self.forget_done();
            }
            return None;
        }
        self.raised_at = now;
        Some(Call::Raise(self.stretches.sum(self.floor, to)))
    }

    /// The highest floor that could be told.
    pub(super) fn floor_now(&self) -> u64 {
        let segments = self.table.iter().flat_map(|(_, bucket)| bucket.segments());
        let pending = segments.filter(|segment| !segment.pinned).map(|segment| segment.first);
        let limit = pending.min().unwrap_or(self.cursor).min(self.cursor);
        let limit = if sdk_failpoints::mutant!(FloorPastOpen) { self.cursor } else { limit };
        self.stretches.reach(self.floor, limit)
    }

    pub(super) fn answered(&mut self, answered: Answered) {
        let Answered { call, answer } = answered;
        let answers = match answer {
            Ok(answers) => answers,
            Err(error) => return self.ledger_failed(error),
        };
        match call {
            Call::Commit(files) => {
                for ((number, id, file), answer) in files.into_iter().zip(answers) {
                    self.committed(number, id, &file, answer);
                }
            }
            Call::Announce(intents) => self.announced(intents, answers),
            Call::Raise(raise) => self.raised_floor(&raise, one(answers)),
            Call::Pin { bucket, segment, .. } => self.pinned(bucket, segment, one(answers)),
            Call::GiveUp { bucket, segment, span, missing, .. } => {
                if answers.iter().all(Result::is_ok) {
                    // The ledger has counted all of the file's events.
                    self.stretches.forgive(span.first, span.last, missing);
                }
                self.gave_up(bucket, segment, span, one(answers));
            }
            Call::Quarantine { .. } | Call::Release { .. } => match one(answers) {
                Ok(()) => (),
                Err(Refusal::Full) => debug!("the ledger has no room for a quarantine"),
                Err(refusal) => self.ledger_failed(refusal.into()),
            },
        }
    }

    fn committed(&mut self, number: u32, id: u64, file: &CommitFile, answer: Result<(), Refusal>) {
        match answer {
            Ok(()) => (),
            Err(Refusal::Mismatch) => {
                // Never announced like that, so not ours; and yet we found it to be.
                return self.end_fresh("the ledger does not know a final file");
            }
            Err(refusal) => return self.ledger_failed(refusal.into()),
        }
        let Some(bucket) = self.table.get(number) else { return };
        let (member, dead) = (bucket.member, bucket.dead);
        let Some(segment) = bucket.segment_mut(id) else { return };
        let events = segment.events;
        self.totals.files += 1;
        self.totals.file_bytes += file.length;
        let member = &mut self.members[member];
        member.failures = 0;
        let metrics = member.sink.metrics();
        metrics.files.inc();
        metrics.file_bytes.inc_by(file.length);
        if dead {
            self.totals.dead_letters += events;
            metrics.dead_letters.inc_by(events);
        } else {
            self.totals.events += events;
            metrics.events.inc_by(events);
        }
        self.forget_segment(number, id);
    }

    fn announced(&mut self, intents: Vec<(u32, u64, Intent)>, answers: Vec<Result<(), Refusal>>) {
        let token = self.shared.token;
        // What was refused makes what follows it in its bucket a gap, which means nothing.
        let mut refused = std::collections::BTreeSet::new();
        for ((number, id, intent), answer) in intents.into_iter().zip(answers) {
            self.dirty.insert(number);
            let Some(bucket) = self.table.get(number) else { continue };
            let Some(segment) = bucket.segment_mut(id) else { continue };
            let stage = std::mem::replace(&mut segment.stage, Stage::Cold);
            let Stage::Announcing(closed) = stage else {
                segment.stage = stage;
                continue;
            };
            match answer {
                Ok(()) => {
                    let Intent { length, crc, last, continues, .. } = intent;
                    let supersedes = segment.announced();
                    segment.attempts.push(Attempt { token, length, crc });
                    segment.stage = Stage::Announced(Some(closed));
                    segment.tries = 0;
                    let span = segment.span();
                    // What fills a hole stays pinned, and is recorded as the hole is.
                    let hole = segment.hole;
                    if !supersedes {
                        bucket.end = bucket.end.max(Some(last));
                    }
                    if !supersedes && !hole {
                        bucket.recorded.add(span, continues);
                    }
                }
                Err(refusal) if refused.contains(&number) => {
                    debug!(%refusal, "follows a refused intent");
                    segment.stage = Stage::Staged(closed);
                }
                Err(refusal) => {
                    segment.stage = Stage::Staged(closed);
                    refused.insert(number);
                    self.intent_refused(number, id, refusal);
                }
            }
        }
    }

    fn intent_refused(&mut self, number: u32, id: u64, refusal: Refusal) {
        let now = self.now();
        match refusal {
            Refusal::Full => {
                warn!("the ledger is full, finishing all files");
                self.ledger_full_until = now + FULL_PAUSE;
                self.to_announce.insert(number);
                self.roll_all();
            }
            Refusal::Quarantined => {
                self.quarantine(number, "quarantined in the ledger".to_owned());
            }
            Refusal::NotFenced { .. } => {
                // A root that contains ours is still being fenced by another of our sinks.
                if let Some(segment) = self.table.at(number).segment_mut(id) {
                    segment.retry_at = now + FULL_PAUSE;
                }
            }
            Refusal::OtherRoot { .. } | Refusal::UnrecordedRoot => {
                let member = self.table.at(number).member;
                let root = self.members[member].sink.layout().root().to_owned();
                let error = FsError::new(FsErrorKind::Other, "use the root", root)
                    .caused_by(refusal.to_string());
                if let Some(progress) = &mut self.members[member].progress {
                    progress.granted = None;
                }
                debug!(reason = describe(&error), "root refused");
                self.member_failed(member, &error);
            }
            refusal => self.ledger_failed(refusal.into()),
        }
    }

    fn raised_floor(&mut self, raise: &Raise, answer: Result<(), Refusal>) {
        match answer {
            Ok(()) => (),
            // Not listed yet: what follows it waits.
            Err(Refusal::NotLost) => {
                self.raise_not_before = self.now() + RAISE_INTERVAL;
                return debug!("lost offsets are not listed yet");
            }
            Err(refusal) => return self.ledger_failed(refusal.into()),
        }
        self.floor = raise.to;
        self.stretches.passed(raise.to);
        self.forget_done();
    }

    /// Forgets the buckets that have nothing left to remember.
    fn forget_done(&mut self) {
        if self.table.forget_done(self.floor) {
            // Numbers of buckets are given anew.
            for member in &mut self.members {
                member.placer.forget();
                member.dead = None;
            }
        }
    }

    fn pinned(&mut self, number: u32, id: u64, answer: Result<(), Refusal>) {
        self.dirty.insert(number);
        let now = self.now();
        let Some(bucket) = self.table.get(number) else { return };
        let Some(at) = bucket.rolled.iter().position(|segment| segment.id == id) else { return };
        let segment = &mut bucket.rolled[at];
        segment.pinning = false;
        match answer {
            Ok(()) => (),
            Err(Refusal::Full) => {
                self.ledger_full_until = now + FULL_PAUSE;
                return;
            }
            Err(refusal) => return self.ledger_failed(refusal.into()),
        }
        segment.pinned = true;
        if !segment.announced() {
            segment.hole = true;
            bucket.recorded.add(segment.span(), segment.continues);
            self.unfinished -= join_holes(&mut bucket.rolled, at);
        }
        self.committed_since_raise = true;
    }

    fn gave_up(&mut self, number: u32, id: u64, span: Span, answer: Result<(), Refusal>) {
        match answer {
            Ok(()) => {
                error!(?span, "a file is lost: what it needs cannot be read");
                if let Some(bucket) = self.table.get(number) {
                    bucket.give_up(id, span.last);
                }
                self.forget_segment(number, id);
            }
            Err(Refusal::NotLost) => {
                if let Some(segment) = self.segment_mut(number, id) {
                    segment.stage = Stage::Cold;
                }
                self.try_again_later(number, id);
                self.quarantine(number, "the log gives other events than before".to_owned());
            }
            Err(refusal) => self.ledger_failed(refusal.into()),
        }
    }

    fn archived(&mut self, files: &[(u32, u64, CommitFile)]) -> Vec<ArchivedFile> {
        let (at_ms, token) = (self.shared.options.clock.wall_ms(), self.shared.token);
        let (names, channel) = (self.shared.options.names, self.shared.options.channel.to_string());
        let group = self.shared.options.group.to_string();
        let mut archived = Vec::with_capacity(files.len());
        for (number, id, file) in files {
            let Some(bucket) = self.table.get(*number) else { continue };
            let (serializer, dead) = (bucket.serializer, bucket.dead);
            let member = bucket.member;
            let Some(segment) = bucket.segment_mut(*id) else { continue };
            let name = names.file(&file.bucket, file.first, file.last);
            archived.push(ArchivedFile {
                at_ms,
                flow: self.members[member].sink.flow().to_string(),
                flow_id: names.lineage.flow,
                channel: channel.clone(),
                group: group.clone(),
                sink: self.members[member].sink.name().to_string(),
                path: format!("{}/{name}", file.bucket.directory),
                length: file.length,
                crc: file.crc,
                events: segment.events,
                lines: serializer.countable(),
                ids: serializer.writes_ids(),
                dead_letters: dead,
                again: segment.attempts.iter().any(|attempt| attempt.token != token),
            });
        }
        archived
    }
}

fn one(answers: Vec<Result<(), Refusal>>) -> Result<(), Refusal> {
    answers.into_iter().next().unwrap_or(Ok(()))
}

/// About what an Intent takes in a proposal.
fn intent_bytes(intent: &Intent) -> usize {
    let BucketKey { directory, prefix, suffix, .. } = &intent.bucket;
    directory.len() + prefix.len() + suffix.len() + intent.name.len() + 96
}

/// Joins the hole at `at` to the one before it, if the ledger has joined them too. Gives how many
/// files fewer there are.
fn join_holes(rolled: &mut std::collections::VecDeque<Segment>, at: usize) -> usize {
    let Some(before) = at.checked_sub(1) else { return 0 };
    let is_hole = |segment: &Segment| {
        segment.hole && !segment.announced() && matches!(segment.stage, Stage::Cold)
    };
    if !is_hole(&rolled[before]) || !is_hole(&rolled[at]) || !rolled[at].continues {
        return 0;
    }
    let Some(segment) = rolled.remove(at) else { return 0 };
    let before = &mut rolled[before];
    before.last = segment.last;
    before.last_put_ms = segment.last_put_ms;
    before.events += segment.events;
    before.body_bytes += segment.body_bytes;
    before.spans.append(&segment.spans);
    1
}
