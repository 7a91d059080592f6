//! Sorting what the channel hands out into buckets.

use sdk_config::ledger::{BucketKey, Drops};
use sdk_event::EventRef;
use sdk_failpoints::mutant;
use sdk_flow::{Batch, ReadError, Stored};
use tracing::warn;

use super::bucket::{Bucket, Segment, Stage, Table};
use super::session::{End, Member, Session};
use super::spans::{Recorded, Spans};
use crate::codec::Codec;
use crate::format::Format;
use crate::layout::{DEAD_PREFIX, DEAD_SUFFIX, DeadReason, Place};
use crate::serializer::Serializer;
use crate::sink::FileSink;

const DAY_MS: i64 = 24 * 3600 * 1000;

/// The number of no bucket.
const NOWHERE: u32 = u32::MAX;

/// A bucket nothing is known of yet.
pub(super) fn new_bucket(
    sink: &FileSink,
    member: usize,
    directory: &str,
    prefix: &str,
    dead: bool,
) -> Bucket {
    let suffix = if dead { DEAD_SUFFIX } else { sink.layout().suffix() };
    Bucket {
        key: BucketKey {
            sink: sink.number(),
            directory: directory.to_owned(),
            prefix: prefix.to_owned(),
            suffix: suffix.to_owned(),
        },
        member,
        dead,
        serializer: if dead { Serializer::DeadLetter } else { sink.serializer() },
        format: if dead { Format::Stream(Codec::None) } else { sink.format() },
        filling: None,
        rolled: std::collections::VecDeque::new(),
        end: None,
        recorded: Recorded::default(),
        quarantine: None,
        last_used: 0,
        passed_over: false,
        switches: u64::MAX,
    }
}

impl Session {
    /// Takes what the reader gave.
    pub(super) fn take(&mut self, read: Result<Option<Batch>, ReadError>) {
        self.reading_since = None;
        match read {
            Ok(Some(batch)) => self.take_batch(&batch),
            Ok(None) => {
                self.ended = true;
                self.roll_all();
            }
            Err(ReadError::Lost { to, from }) => {
                warn!(from, to, "offsets are lost, passing them");
                let lost = to.saturating_sub(self.cursor);
                self.reader.seek(to);
                self.stretches.push(self.cursor, to, lost, Drops { lost, ..Drops::default() });
                self.cursor = to;
            }
            Err(ReadError::Closed) => self.end = Some(End::Stopped),
            Err(error) => self.end = Some(End::Failed(error)),
        }
    }

    fn take_batch(&mut self, batch: &Batch) {
        self.caught_up = false;
        let mut events = 0;
        let mut drops = Drops::default();
        let mut full = Vec::new();
        for stored in &batch.stored {
            self.uses += 1;
            self.measure_chunks();
            // Catching up, time is what the puts say it was.
            self.roll_due(stored.put_time_ms);
            events += self.take_put(stored, &mut full);
            for (rule, dropped) in &stored.dropped {
                events += u64::from(*dropped);
                drops.add(rule, u64::from(*dropped));
            }
        }
        self.stretches.push(self.cursor, batch.to, events, drops);
        self.cursor = batch.to;
        full.into_iter().for_each(|number| self.write(number));
        self.evict();
        self.roll_oldest();
    }

    /// Adds a put's events to their buckets; gives their number. Buckets of which something is to be
    /// written are added to `full`.
    fn take_put(&mut self, stored: &Stored, full: &mut Vec<u32>) -> u64 {
        let Some(active) = self.active else { return 0 };
        let put_time_ms = stored.put_time_ms;
        self.newest_put_ms = Some(self.newest_put_ms.map_or(put_time_ms, |it| it.max(put_time_ms)));
        for member in &mut self.members {
            member.placer.begin_put(put_time_ms);
        }
        let mut events = 0;
        let mut late = 0;
        let mut skipped = 0;
        for (offset, event) in stored.events() {
            if offset < self.cursor {
                continue;
            }
            events += 1;
            let (number, reason) = bucket_of(&mut self.table, &mut self.members, active, &event);
            if reason.is_none() && self.members[active].placer.late() {
                late += 1;
            }
            if offset < self.covered_to
                && !mutant!(ForgetRecorded)
                && self.is_taken(active, number, offset, &event)
            {
                skipped += 1;
                continue;
            }
            self.add(number, stored, offset, &event, reason, full);
        }
        self.totals.late_events += late;
        self.totals.skipped_events += skipped;
        let metrics = self.members[active].sink.metrics();
        metrics.late_events.inc_by(late);
        metrics.skipped_events.inc_by(skipped);
        events
    }

    /// Whether some sink of the group has the event in a recorded range of its bucket.
    fn is_taken(&mut self, active: usize, number: u32, offset: u64, event: &EventRef<'_>) -> bool {
        if self.table.at(number).recorded.contains(offset) {
            return true;
        }
        let Session { table, members, .. } = self;
        for (index, member) in members.iter_mut().enumerate() {
            if index == active {
                continue;
            }
            let found = match member.placer.place(event, |directory, prefix| {
                table.find(index, directory, prefix).unwrap_or(NOWHERE)
            }) {
                Place::Bucket(NOWHERE) => None,
                Place::Bucket(number) => Some(number),
                Place::Dead(_) => {
                    let directory =
                        member.sink.layout().dead_directory(member.placer.put_time_ms());
                    table.find(index, &directory, DEAD_PREFIX)
                }
            };
            if found.is_some_and(|found| table.at(found).recorded.contains(offset)) {
                table.at(number).passed_over = true;
                return true;
            }
        }
        false
    }

    #[inline]
    fn add(
        &mut self,
        number: u32,
        stored: &Stored,
        offset: u64,
        event: &EventRef<'_>,
        reason: Option<DeadReason>,
        full: &mut Vec<u32>,
    ) {
        let bucket = self.table.at(number);
        let policy = self.members[bucket.member].sink.roll();
        let begin = match &bucket.filling {
            // No file spans an event of its bucket that another sink has.
            Some(segment) => {
                bucket.passed_over || policy.is_full(segment.events, segment.body_bytes)
            }
            None => true,
        };
        if begin {
            self.begin_segment(number, stored, offset);
        }
        let bucket = self.table.at(number);
        bucket.last_used = self.uses;
        let segment = bucket.filling.as_mut().expect("it was begun");
        segment.spans.touch(stored.first_offset, stored.end());
        segment.last = offset;
        segment.last_put_ms = segment.last_put_ms.max(stored.put_time_ms);
        segment.events += 1;
        segment.body_bytes += event.body().len() as u64;
        let Stage::Streaming(stream) = &mut segment.stage else { return };
        let before = stream.buffer.capacity();
        let format = bucket.format;
        bucket.serializer.write(event, stored.put_time_ms, reason, &mut stream.buffer);
        let (after, length) = (stream.buffer.capacity(), stream.buffer.len());
        self.held += after - before;
        if length >= self.full_at(format) {
            self.cut(number);
            if full.last() != Some(&number) {
                full.push(number);
            }
        }
    }

    /// The length of a buffer that is full: a little less than a chunk, so that the last event seldom
    /// makes it grow.
    #[inline]
    fn full_at(&self, format: Format) -> usize {
        let chunk = self.chunk_bytes(format);
        chunk - chunk / 16
    }

    #[cold]
    fn begin_segment(&mut self, number: u32, stored: &Stored, offset: u64) {
        self.roll(number);
        let quarantined = self.table.at(number).quarantine.is_some();
        let stage = if quarantined { Stage::Cold } else { Stage::Streaming(self.new_stream()) };
        self.next_id += 1;
        let alone = self.group_of_one();
        let switches = self.switches;
        let bucket = self.table.at(number);
        let continues = !bucket.passed_over && (alone || bucket.switches == switches);
        bucket.passed_over = false;
        bucket.switches = switches;
        let segment = Segment {
            id: self.next_id,
            first: offset,
            last: offset,
            events: 0,
            body_bytes: 0,
            first_put_ms: stored.put_time_ms,
            last_put_ms: stored.put_time_ms,
            spans: Spans::one(stored.first_offset, stored.end()),
            continues,
            hole: false,
            pinned: false,
            pinning: false,
            attempts: Vec::new(),
            tries: 0,
            retry_at: std::time::Duration::ZERO,
            stage,
        };
        let member = bucket.member;
        let policy = self.members[member].sink.roll();
        if let Some(due_ms) = policy.due_ms(&segment.fill()) {
            self.due_ms = self.due_ms.min(due_ms);
        }
        self.table.at(number).filling = Some(segment);
    }

    /// Ends the file that a bucket fills.
    pub(super) fn roll(&mut self, number: u32) {
        let bucket = self.table.at(number);
        if let Some(segment) = bucket.filling.take() {
            bucket.rolled.push_back(segment);
            self.unfinished += 1;
            self.dirty.insert(number);
        }
    }

    /// Ends every file.
    pub(super) fn roll_all(&mut self) {
        for number in self.table.numbers() {
            if self.table.get(number).is_some() {
                self.roll(number);
            }
        }
        self.due_ms = i64::MAX;
    }

    /// Ends the files of the half of the buckets that were used least recently, if there are no more
    /// numbers for others: whatever the policy says, they must not keep everything else waiting.
    fn roll_oldest(&mut self) {
        let most = self.shared.options.limits.buckets;
        if self.table.len() < most {
            return;
        }
        let filling = self.table.iter().filter(|(_, bucket)| bucket.filling.is_some());
        let mut oldest: Vec<(u64, u32)> =
            filling.map(|(number, bucket)| (bucket.last_used, number)).collect();
        oldest.sort_unstable();
        oldest.truncate(oldest.len().div_ceil(2));
        oldest.into_iter().for_each(|(_, number)| self.roll(number));
    }

    /// Ends the files whose time has come when it is `now_ms`.
    pub(super) fn roll_due(&mut self, now_ms: i64) {
        if now_ms < self.due_ms {
            return;
        }
        let mut due = Vec::new();
        let mut next = i64::MAX;
        for (number, bucket) in self.table.iter() {
            let Some(segment) = &bucket.filling else { continue };
            let policy = self.members[bucket.member].sink.roll();
            match policy.due_ms(&segment.fill()) {
                Some(due_ms) if due_ms <= now_ms => due.push(number),
                Some(due_ms) => next = next.min(due_ms),
                None => (),
            }
        }
        self.due_ms = next;
        due.into_iter().for_each(|number| self.roll(number));
    }
}

/// The bucket of an event at the sink that gets events now, and why it is one of dead letters.
#[inline]
fn bucket_of(
    table: &mut Table,
    members: &mut [Member],
    active: usize,
    event: &EventRef<'_>,
) -> (u32, Option<DeadReason>) {
    let Member { sink, placer, dead, .. } = &mut members[active];
    let place = placer.place(event, |directory, prefix| {
        let make = || new_bucket(sink, active, directory, prefix, false);
        table.intern(active, directory, prefix, make)
    });
    match place {
        Place::Bucket(number) => (number, None),
        Place::Dead(reason) => {
            let put_time_ms = placer.put_time_ms();
            let day = put_time_ms.div_euclid(DAY_MS);
            let number = match dead {
                Some((known, number)) if *known == day => *number,
                _ => {
                    let directory = sink.layout().dead_directory(put_time_ms);
                    let make = || new_bucket(sink, active, &directory, DEAD_PREFIX, true);
                    let number = table.intern(active, &directory, DEAD_PREFIX, make);
                    *dead = Some((day, number));
                    number
                }
            };
            (number, Some(reason))
        }
    }
}
