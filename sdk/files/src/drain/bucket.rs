//! Buckets and the files they are made of, on their way from the log to the ledger.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sdk_config::ledger::{Attempt, BucketKey, Span};

use super::spans::{Recorded, Spans};
use crate::format::Format;
use crate::fs::BLOCK_BYTES;
use crate::roll::Fill;
use crate::serializer::Serializer;
use crate::staged::{Closed, Staged};

/// One series of files, as this drain knows it.
pub(crate) struct Bucket {
    pub(crate) key: BucketKey,
    /// Its place among the group's sinks.
    pub(crate) member: usize,
    pub(crate) dead: bool,
    pub(crate) serializer: Serializer,
    pub(crate) format: Format,
    /// The file that events are added to.
    pub(crate) filling: Option<Segment>,
    /// Files that get no more events, oldest first.
    pub(crate) rolled: VecDeque<Segment>,
    /// `last` of the newest accepted Intent.
    pub(crate) end: Option<u64>,
    /// Committed ranges, open Intents and holes above the floor.
    pub(crate) recorded: Recorded,
    pub(crate) quarantine: Option<Quarantine>,
    /// When an event was last added, in puts read.
    pub(crate) last_used: u64,
    /// Since the last segment began, an event of the bucket went to another sink of the group, or the
    /// last segment was given up.
    pub(crate) passed_over: bool,
    /// How often the group had changed sinks when the last segment began.
    pub(crate) switches: u64,
}

/// Why and until when a bucket is left alone.
#[derive(Debug, Clone)]
pub(crate) struct Quarantine {
    pub(crate) reason: String,
    pub(crate) failures: u32,
    /// When the oldest file's rename is tried again, on the monotonic clock.
    pub(crate) retry_at: Duration,
    /// Whether the ledger knows.
    pub(crate) told: bool,
}

/// The events of one file: all of the bucket's from `first` to `last`, so that it can be built from
/// the log whatever else has become of the range.
pub(crate) struct Segment {
    /// Unique under the token.
    pub(crate) id: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) events: u64,
    pub(crate) body_bytes: u64,
    pub(crate) first_put_ms: i64,
    pub(crate) last_put_ms: i64,
    pub(crate) spans: Spans,
    /// No event of the bucket between the segment before and this one went elsewhere.
    pub(crate) continues: bool,
    /// The ledger has it as a hole, to be filled in order.
    pub(crate) hole: bool,
    /// The floor may pass it.
    pub(crate) pinned: bool,
    /// The ledger is being told that the floor may pass it.
    pub(crate) pinning: bool,
    /// Builds that the ledger has an open Intent for; empty before the first.
    pub(crate) attempts: Vec<Attempt>,
    /// Failures in a row of the present step.
    pub(crate) tries: u32,
    /// When the present step may be tried again, on the monotonic clock.
    pub(crate) retry_at: Duration,
    pub(crate) stage: Stage,
}

/// Where a segment stands.
pub(crate) enum Stage {
    /// Its bytes are in memory, or in memory and in an open file in staging.
    Streaming(Stream),
    /// A job closes the file.
    Closing,
    /// Nothing but where its events lie: the file is to be built from the log.
    Cold,
    /// A job builds the file.
    Building,
    /// Whole and durable in staging.
    Staged(Closed),
    /// The ledger is being told.
    Announcing(Closed),
    /// The Intent is accepted; the file is to get its final name. Without a file, the Intent is an
    /// earlier token's, and the final is to be looked for.
    Announced(Option<Closed>),
    /// A job gives it its final name.
    Placing(Option<Closed>),
    /// It stands under its final name, durable.
    Placed { length: u64, crc: u32 },
    /// The ledger is being told.
    Committing,
    /// It cannot be built as it was; the ledger is being told.
    GivingUp,
}

/// Bytes on their way into a file.
#[derive(Default)]
pub(crate) struct Stream {
    pub(crate) buffer: BytesMut,
    pub(crate) queued: VecDeque<Bytes>,
    /// Bytes that were ever queued.
    pub(crate) cut_bytes: u64,
    pub(crate) file: Slot,
}

/// The file of a stream.
#[derive(Default)]
pub(crate) enum Slot {
    /// Not created: all bytes are in memory.
    #[default]
    None,
    /// Waiting for bytes.
    Idle(Box<Staged>),
    /// A job writes.
    Busy,
}

impl Stream {
    /// Bytes of memory it holds.
    pub(crate) fn held(&self) -> usize {
        self.buffer.capacity() + self.queued.iter().map(Bytes::len).sum::<usize>()
    }

    /// Moves what is in the buffer behind what is queued.
    pub(crate) fn cut(&mut self, next: BytesMut) {
        let full = std::mem::replace(&mut self.buffer, next);
        self.queue(full);
    }

    /// The same of a stream that is stored as it is, but for the bytes at the end that do not fill a
    /// block of the file: these begin `next`, so that whole blocks are written.
    pub(crate) fn cut_blocks(&mut self, mut next: BytesMut) {
        let end = self.cut_bytes + self.buffer.len() as u64;
        let over = usize::try_from(end % BLOCK_BYTES as u64).expect("less than a block");
        let whole = self.buffer.len().saturating_sub(over);
        next.extend_from_slice(&self.buffer[whole..]);
        let mut full = std::mem::replace(&mut self.buffer, next);
        full.truncate(whole);
        self.queue(full);
    }

    fn queue(&mut self, full: BytesMut) {
        if !full.is_empty() {
            self.cut_bytes += full.len() as u64;
            self.queued.push_back(full.freeze());
        }
    }
}

impl Segment {
    pub(crate) fn span(&self) -> Span {
        Span { first: self.first, last: self.last }
    }

    pub(crate) fn fill(&self) -> Fill {
        Fill {
            events: self.events,
            body_bytes: self.body_bytes,
            first_put_ms: self.first_put_ms,
            last_put_ms: self.last_put_ms,
        }
    }

    /// Whether the ledger has an Intent for it.
    pub(crate) fn announced(&self) -> bool {
        !self.attempts.is_empty()
    }

    /// Whether no job and no call to the ledger is under way for it.
    pub(crate) fn is_at_rest(&self) -> bool {
        match &self.stage {
            Stage::Streaming(stream) => !matches!(stream.file, Slot::Busy),
            Stage::Closing
            | Stage::Building
            | Stage::Announcing(_)
            | Stage::Placing(_)
            | Stage::Committing
            | Stage::GivingUp => false,
            Stage::Cold | Stage::Staged(_) | Stage::Announced(_) | Stage::Placed { .. } => true,
        }
    }
}

impl Bucket {
    pub(crate) fn segment_mut(&mut self, id: u64) -> Option<&mut Segment> {
        self.rolled.iter_mut().chain(self.filling.as_mut()).find(|segment| segment.id == id)
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.rolled.iter().chain(self.filling.as_ref())
    }

    /// Notes that the ledger has given a rolled segment up, as the ledger does.
    pub(crate) fn give_up(&mut self, id: u64, last: u64) {
        let Some(at) = self.rolled.iter().position(|segment| segment.id == id) else { return };
        // What waits in the holes before it is still to be filled.
        let waits = |segment: &Segment| segment.hole && !segment.announced();
        if !self.rolled.range(..at).any(waits) {
            self.end = self.end.max(Some(last));
        }
        match self.rolled.get_mut(at + 1).or(self.filling.as_mut()) {
            Some(next) => next.continues = false,
            None => self.passed_over = true,
        }
    }

    /// Whether nothing about it has to be remembered once the floor is `floor`.
    pub(crate) fn is_done(&self, floor: u64) -> bool {
        self.filling.is_none()
            && self.rolled.is_empty()
            && self.recorded.is_empty()
            && self.quarantine.is_none()
            && self.end.is_none_or(|end| end < floor)
    }
}

/// All buckets of a drain, by number and by key.
#[derive(Default)]
pub(crate) struct Table {
    slots: Vec<Option<Bucket>>,
    free: Vec<u32>,
    /// Never iterated, so that its order decides nothing.
    by_key: HashMap<String, u32>,
    scratch: String,
}

impl Table {
    /// The number of the bucket of `member` with this directory and prefix, if it is known.
    pub(crate) fn find(&mut self, member: usize, directory: &str, prefix: &str) -> Option<u32> {
        key_text(&mut self.scratch, member, directory, prefix);
        self.by_key.get(self.scratch.as_str()).copied()
    }

    /// The same, made by `make` if it is new.
    pub(crate) fn intern(
        &mut self,
        member: usize,
        directory: &str,
        prefix: &str,
        make: impl FnOnce() -> Bucket,
    ) -> u32 {
        if let Some(known) = self.find(member, directory, prefix) {
            return known;
        }
        let bucket = Some(make());
        let number = match self.free.pop() {
            Some(number) => {
                self.slots[number as usize] = bucket;
                number
            }
            None => {
                self.slots.push(bucket);
                u32::try_from(self.slots.len() - 1).expect("buckets are bounded")
            }
        };
        self.by_key.insert(self.scratch.clone(), number);
        number
    }

    /// # Panics
    /// If there is no such bucket.
    #[inline]
    pub(crate) fn at(&mut self, number: u32) -> &mut Bucket {
        self.slots[number as usize].as_mut().expect("a bucket's number is good while it is there")
    }

    pub(crate) fn get(&mut self, number: u32) -> Option<&mut Bucket> {
        self.slots.get_mut(number as usize)?.as_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> + use<> {
        0..u32::try_from(self.slots.len()).expect("buckets are bounded")
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Bucket)> {
        (0..).zip(&self.slots).filter_map(|(number, slot)| Some((number, slot.as_ref()?)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Bucket)> {
        (0..).zip(&mut self.slots).filter_map(|(number, slot)| Some((number, slot.as_mut()?)))
    }

    /// Forgets the buckets with nothing left to remember. Says whether there were any.
    pub(crate) fn forget_done(&mut self, floor: u64) -> bool {
        let mut any = false;
        for (number, slot) in self.slots.iter_mut().enumerate() {
            let Some(bucket) = slot else { continue };
            bucket.recorded.forget_below(floor);
            if bucket.is_done(floor) {
                let BucketKey { directory, prefix, .. } = &bucket.key;
                key_text(&mut self.scratch, bucket.member, directory, prefix);
                self.by_key.remove(self.scratch.as_str());
                *slot = None;
                self.free.push(u32::try_from(number).expect("buckets are bounded"));
                any = true;
            }
        }
        any
    }
}

/// Directory and prefix have no NUL: paths may not, and headers are encoded.
fn key_text(out: &mut String, member: usize, directory: &str, prefix: &str) {
    out.clear();
    write!(out, "{member}\0{directory}\0{prefix}").expect("a String grows");
}
