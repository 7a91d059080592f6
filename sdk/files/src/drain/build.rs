//! Building files from the log: for cold buckets, after failures, in recovery, and for holes.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sdk_config::ledger::Span;
use sdk_event::EventRef;
use sdk_flow::{ChannelReader, ReadError, Stored};

use super::failure::{self, Failure};
use super::shared::Shared;
use super::spans::Spans;
use crate::format::Format;
use crate::fs::FsError;
use crate::layout::{DEAD_PREFIX, DeadReason, Place, Placer};
use crate::roll::RollPolicy;
use crate::serializer::Serializer;
use crate::staged::{Closed, Staged};

/// Bytes of events that one job holds in memory; a file that is larger is built alone, in pieces.
pub(crate) const BUILD_BYTES_MAX: u64 = 16 << 20;

/// Bytes read from the log at once.
const READ_BYTES: usize = 1 << 20;

/// One file to be built.
pub(crate) struct Build {
    pub(crate) bucket: u32,
    pub(crate) segment: u64,
    pub(crate) member: usize,
    pub(crate) directory: String,
    pub(crate) prefix: String,
    pub(crate) serializer: Serializer,
    pub(crate) format: Format,
    /// All events of the bucket in this range, and no others.
    pub(crate) span: Span,
    pub(crate) spans: Spans,
    /// Where to stop early; `None`: the range is given.
    pub(crate) limit: Option<RollPolicy>,
    /// Where to write it.
    pub(crate) path: String,
}

/// A file that was built.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) closed: Closed,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) events: u64,
    /// The range has more events, behind `last`.
    pub(crate) more: bool,
    /// Some of what was read is lost.
    pub(crate) lost: bool,
}

/// Why there is no file.
#[derive(Debug)]
pub(crate) enum BuildError {
    /// None of the range's events is there.
    Empty {
        /// Some of what was read is lost.
        lost: bool,
    },
    /// The file system's.
    File(Failure),
    /// The log's.
    Read(ReadError),
}

/// Builds files of one member. Those that are small are built in one pass over the log.
pub(crate) async fn build(
    shared: Arc<Shared>,
    work: Vec<Build>,
) -> Vec<(u32, u64, Result<Built, BuildError>)> {
    let mut items: Vec<Item> = work.into_iter().map(Item::new).collect();
    // The job counts where its first file goes.
    let member = items.first().map_or(0, |item| item.work.member);
    let permit = Arc::clone(shared.sink(member).builds()).acquire_owned().await;
    let _permit = permit.expect("the semaphore is never closed");
    let mut read = pass(&shared, &mut items).await;
    let mut results = Vec::with_capacity(items.len());
    for item in items {
        let (bucket, segment) = (item.work.bucket, item.work.segment);
        let result = match read {
            Ok(lost) => item.finish(&shared, lost).await,
            // One error for the first; the others learn by trying again.
            Err(_) => match std::mem::replace(&mut read, Err(ReadError::Closed)) {
                Err(error) => Err(BuildError::Read(error)),
                Ok(_) => unreachable!("it was just looked at"),
            },
        };
        results.push((bucket, segment, result));
    }
    results
}

struct Item {
    work: Build,
    buffer: BytesMut,
    /// Where in the buffer chunks end.
    cuts: Vec<usize>,
    file: Option<Staged>,
    failed: Option<FsError>,
    first: Option<u64>,
    last: u64,
    events: u64,
    body_bytes: u64,
    more: bool,
}

impl Item {
    fn new(work: Build) -> Item {
        Item {
            work,
            buffer: BytesMut::new(),
            cuts: Vec::new(),
            file: None,
            failed: None,
            first: None,
            last: 0,
            events: 0,
            body_bytes: 0,
            more: false,
        }
    }

    /// Whether it wants the bucket's event at `offset`.
    fn wants(&mut self, offset: u64) -> bool {
        if self.more || !self.work.span.contains(offset) {
            return false;
        }
        let full = |limit: RollPolicy| limit.is_full(self.events, self.body_bytes);
        if self.events > 0 && self.work.limit.is_some_and(full) {
            self.more = true;
            return false;
        }
        true
    }

    fn take(
        &mut self,
        offset: u64,
        event: &EventRef<'_>,
        put_time_ms: i64,
        reason: Option<DeadReason>,
    ) {
        self.first.get_or_insert(offset);
        self.last = offset;
        self.events += 1;
        self.body_bytes += event.body().len() as u64;
        self.work.serializer.write(event, put_time_ms, reason, &mut self.buffer);
        let begun = self.cuts.last().copied().unwrap_or(0);
        if self.buffer.len() - begun >= self.work.format.chunk_bytes_max() {
            self.cuts.push(self.buffer.len());
        }
    }

    /// Writes the buffer out if it is long.
    async fn spill(&mut self, shared: &Shared, at_least: usize) {
        if self.failed.is_some() {
            self.buffer.clear();
            self.cuts.clear();
            return;
        }
        if self.buffer.len() < at_least {
            return;
        }
        if let Err(error) = self.try_spill(shared).await {
            self.failed = Some(error);
        }
    }

    async fn try_spill(&mut self, shared: &Shared) -> Result<(), FsError> {
        let Item { work, file, buffer, cuts, first, .. } = self;
        let sink = shared.sink(work.member);
        let file = match file {
            Some(file) => file,
            None => {
                let permit = Arc::clone(sink.finishing()).acquire_owned().await;
                let permit = permit.expect("the semaphore is never closed");
                let path = work.path.clone();
                let first = first.unwrap_or(work.span.first);
                let encoder = shared.encoder(work.format, work.member, first);
                let deadlines = shared.deadlines();
                file.insert(Staged::create(sink.fs(), path, encoder, deadlines, permit).await?)
            }
        };
        let mut raw: Bytes = std::mem::take(buffer).freeze();
        let mut chunks = Vec::with_capacity(cuts.len() + 1);
        let mut from = 0;
        for cut in cuts.drain(..) {
            chunks.push(raw.split_to(cut - from));
            from = cut;
        }
        chunks.push(raw);
        if let Some(mut used) = file.append(chunks).await?.pop() {
            used.clear();
            *buffer = used;
        }
        Ok(())
    }

    async fn finish(mut self, shared: &Shared, lost: bool) -> Result<Built, BuildError> {
        let Some(first) = self.first else { return Err(BuildError::Empty { lost }) };
        self.spill(shared, 1).await;
        let error = match (self.failed.take(), self.file.take()) {
            (Some(error), _) => error,
            (None, Some(file)) => match file.close().await {
                Ok(closed) => {
                    let Item { last, events, more, .. } = self;
                    return Ok(Built { closed, first, last, events, more, lost });
                }
                Err(error) => error,
            },
            // Events of no bytes at all: a file without bytes.
            (None, None) => match self.empty_file(shared).await {
                Ok(closed) => {
                    let Item { last, events, more, .. } = self;
                    return Ok(Built { closed, first, last, events, more, lost });
                }
                Err(error) => error,
            },
        };
        Err(BuildError::File(failure::of_staging(shared, self.work.member, error).await))
    }

    async fn empty_file(&mut self, shared: &Shared) -> Result<Closed, FsError> {
        self.try_spill(shared).await?;
        match self.file.take() {
            Some(file) => file.close().await,
            None => unreachable!("try_spill makes the file"),
        }
    }
}

/// Reads every range that some item needs, once, and gives each item its events.
/// Says whether something was lost.
async fn pass(shared: &Shared, items: &mut [Item]) -> Result<bool, ReadError> {
    let mut ranges: Vec<(u64, u64)> = items
        .iter()
        .flat_map(|item| {
            let Span { first, last } = item.work.span;
            let needed = item.work.spans.ranges().iter();
            needed.map(move |(from, to)| ((*from).max(first), (*to).min(last + 1)))
        })
        .filter(|(from, to)| from < to)
        .collect();
    ranges.sort_unstable();
    let mut pass = Pass::new(shared, items);
    let mut reader: Option<Box<dyn ChannelReader>> = None;
    let mut done = 0;
    let mut lost = false;
    for (from, to) in ranges {
        let from = from.max(done);
        if from >= to {
            continue;
        }
        done = to;
        let reader = match &mut reader {
            Some(reader) => reader,
            None => reader.insert(shared.options.readers.reader(from)?),
        };
        if reader.cursor() != from {
            reader.seek(from);
        }
        while reader.cursor() < to && items.iter().any(|item| !item.more) {
            match reader.next(READ_BYTES).await {
                Ok(Some(batch)) => {
                    for stored in &batch.stored {
                        pass.put(stored, from, to, items);
                    }
                }
                // The range was read before, so the lineage is no shorter than that.
                Ok(None) => break,
                Err(ReadError::Lost { to, .. }) => {
                    lost = true;
                    reader.seek(to);
                }
                Err(error) => return Err(error),
            }
            let alone = items.len() == 1;
            for item in items.iter_mut() {
                let most = if alone { item.work.format.chunk_bytes_max() } else { usize::MAX };
                item.spill(shared, most).await;
            }
        }
    }
    Ok(lost)
}

/// Sorts events to the items that want them.
struct Pass {
    placers: Vec<Placer>,
    /// The members that some item is of.
    members: Vec<usize>,
    /// Numbers of keys: member, directory and prefix.
    numbers: HashMap<String, u32>,
    /// By number: the items of that key.
    items: Vec<Vec<usize>>,
    scratch: String,
}

impl Pass {
    fn new(shared: &Shared, items: &[Item]) -> Pass {
        let sinks = shared.options.members.iter();
        let mut members: Vec<usize> = items.iter().map(|item| item.work.member).collect();
        members.sort_unstable();
        members.dedup();
        let mut pass = Pass {
            placers: sinks.map(|sink| Placer::new(Arc::clone(sink.layout()))).collect(),
            members,
            numbers: HashMap::new(),
            items: Vec::new(),
            scratch: String::new(),
        };
        for (index, item) in items.iter().enumerate() {
            let Build { member, directory, prefix, .. } = &item.work;
            let Pass { numbers, items, scratch, .. } = &mut pass;
            key_text(scratch, *member, directory, prefix);
            let number = number_of(scratch, numbers, items);
            items[number].push(index);
        }
        pass
    }

    /// Gives the items the events of a put that lie in `[from, to)`.
    fn put(&mut self, stored: &Stored, from: u64, to: u64, items: &mut [Item]) {
        for placer in &mut self.placers {
            placer.begin_put(stored.put_time_ms);
        }
        for (offset, event) in stored.events() {
            if offset < from || to <= offset {
                continue;
            }
            for at in 0..self.members.len() {
                let member = self.members[at];
                let Pass { placers, numbers, items: lists, scratch, .. } = self;
                let placer = &mut placers[member];
                let place = placer.place(&event, |directory, prefix| {
                    key_text(scratch, member, directory, prefix);
                    u32::try_from(number_of(scratch, numbers, lists)).expect("keys are few")
                });
                let (number, reason) = match place {
                    Place::Bucket(number) => (number as usize, None),
                    Place::Dead(reason) => {
                        let directory = placer.layout().dead_directory(stored.put_time_ms);
                        key_text(scratch, member, &directory, DEAD_PREFIX);
                        (number_of(scratch, numbers, lists), Some(reason))
                    }
                };
                // Ranges of one bucket do not overlap: at most one item wants it.
                let wants = |index: &&usize| items[**index].wants(offset);
                let Some(index) = lists[number].iter().find(wants).copied() else { continue };
                items[index].take(offset, &event, stored.put_time_ms, reason);
            }
        }
    }
}

fn number_of(key: &str, numbers: &mut HashMap<String, u32>, items: &mut Vec<Vec<usize>>) -> usize {
    if let Some(number) = numbers.get(key) {
        return *number as usize;
    }
    numbers.insert(key.to_owned(), u32::try_from(items.len()).expect("keys are few"));
    items.push(Vec::new());
    items.len() - 1
}

fn key_text(out: &mut String, member: usize, directory: &str, prefix: &str) {
    out.clear();
    write!(out, "{member}\0{directory}\0{prefix}").expect("a String grows");
}
