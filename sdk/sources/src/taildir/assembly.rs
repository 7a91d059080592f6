//! A block in the making, and what goes with it.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use sdk_event::limits::{BLOCK_TARGET_BYTES, EVENTS_MAX};
use sdk_event::{Block, BlockBuilder, Codec, Event, ProducerId, PushError};
use sdk_flow::SourcePosition;

use super::mark::{Mark, Position, key_bytes};
use super::stats::Gauge;

/// Where a line begins in its file.
pub(super) const BYTE_OFFSET: &str = "byteoffset";
/// Which part of an over-long line this is, from 1.
pub(super) const LINE_PART: &str = "line_part";
/// On its last part: how many there are.
pub(super) const LINE_PARTS: &str = "line_parts";

/// At most so many files share a block, so that its position stays small.
const FILES_MAX: usize = 256;

/// A block to be put with the position it leaves behind.
pub(super) struct Prepared {
    /// Absent when there are only dead letters.
    pub(super) block: Option<Block>,
    /// For each event of the block its file and where that stands behind it.
    marks: Vec<(usize, Mark)>,
    /// The files that were touched.
    files: Vec<Touched>,
    /// Keys that are no longer needed.
    forgotten: Vec<u64>,
    /// To be kept before the block is put.
    pub(super) letters: Vec<(Event, String)>,
    source: String,
}

struct Touched {
    key: u64,
    position: Position,
    gauge: Arc<Gauge>,
    /// Where it stands behind everything in here, dead letters included.
    last: Mark,
}

impl Prepared {
    fn empty(source: &str) -> Prepared {
        Prepared {
            block: None,
            marks: Vec::new(),
            files: Vec::new(),
            forgotten: Vec::new(),
            letters: Vec::new(),
            source: source.to_owned(),
        }
    }

    /// How many events there are.
    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }

    /// The position behind the events in `range`.
    pub(super) fn position(&self, range: Range<usize>) -> Bytes {
        let all = range.end == self.marks.len();
        let mut entries: Vec<(Bytes, Option<Bytes>)> = Vec::new();
        for (index, file) in self.files.iter().enumerate() {
            let mut behind = self.marks[range.clone()].iter().rev();
            let mark = match behind.find(|(at, _)| all || *at == index) {
                _ if all => file.last,
                Some((_, mark)) => *mark,
                None => continue,
            };
            let position = Position { mark, ..file.position.clone() };
            entries.push((key_bytes(file.key), Some(position.encode())));
        }
        if all {
            entries.extend(self.forgotten.iter().map(|key| (key_bytes(*key), None)));
        }
        SourcePosition { source: self.source.clone(), entries }.encode()
    }

    /// Tells the gauges that all of it is stored. Returns how many bytes of
    /// files that were.
    pub(super) fn stored(&self) -> u64 {
        let bytes = self.files.iter().map(|file| {
            let before = file.gauge.set_stored(file.last.offset);
            file.last.offset.saturating_sub(before)
        });
        bytes.sum()
    }
}

/// The headers that a file's events have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileHeaders {
    pub(super) pairs: Vec<(String, String)>,
}

/// How headers are divided between a block and its events.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    /// The block is of one file, or of files with the same headers: it has
    /// them all, once.
    Block,
    /// Events of several files: each has its own.
    Event,
}

/// Collects events into a block.
pub(super) struct Assembly {
    builder: BlockBuilder,
    sharing: Sharing,
    byte_offset: bool,
    prepared: Prepared,
    text: (String, String),
}

/// Whether an event found room.
pub(super) enum Pushed {
    /// It did.
    Taken,
    /// It belongs in the next block.
    Full,
    /// It fits in none.
    Refused(PushError),
}

impl Assembly {
    pub(super) fn new(builder: BlockBuilder, source: &str, byte_offset: bool) -> Assembly {
        let prepared = Prepared::empty(source);
        let text = (String::new(), String::new());
        Assembly { builder, sharing: Sharing::Event, byte_offset, prepared, text }
    }

    /// Begins the block, as long as nothing is in it.
    pub(super) fn begin(
        &mut self,
        ids: (ProducerId, u64),
        sharing: Sharing,
        headers: &FileHeaders,
    ) {
        let next = self.builder.next_sequence();
        self.builder.reset(ids.0, ids.1, next);
        self.sharing = sharing;
        if sharing == Sharing::Event {
            return;
        }
        for (key, value) in &headers.pairs {
            if self.builder.shared_header(key, value).is_err() {
                // Left to the events, which say what is wrong.
                self.builder.reset(ids.0, ids.1, next);
                self.sharing = Sharing::Event;
                return;
            }
        }
    }

    pub(super) fn sharing(&self) -> Sharing {
        self.sharing
    }

    /// Whether a further file may put events into this block.
    pub(super) fn takes_file(&self) -> bool {
        self.prepared.files.len() < FILES_MAX
    }

    /// Makes room for events of a file and returns its number in this block.
    pub(super) fn file(&mut self, key: u64, position: Position, gauge: &Arc<Gauge>) -> usize {
        let files = &mut self.prepared.files;
        if let Some(index) = files.iter().position(|file| file.key == key) {
            return index;
        }
        let last = position.mark;
        files.push(Touched { key, position, gauge: Arc::clone(gauge), last });
        files.len() - 1
    }

    /// Adds an event that leaves its file at `mark`.
    pub(super) fn push(
        &mut self,
        file: usize,
        headers: &FileHeaders,
        event: &Piece<'_>,
        mark: Mark,
    ) -> Pushed {
        let (offset_text, part_text) = &mut self.text;
        let offset = self.byte_offset.then(|| {
            offset_text.clear();
            write!(offset_text, "{}", event.line_start).expect("a string takes everything");
            (BYTE_OFFSET, offset_text.as_str())
        });
        let part = (event.part > 0).then(|| {
            part_text.clear();
            write!(part_text, "{}", event.part).expect("a string takes everything");
            part_text.as_str()
        });
        let parts = if event.last { part } else { None };
        let pairs = match self.sharing {
            Sharing::Block => &[][..],
            Sharing::Event => &headers.pairs,
        };
        let own = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let own = own.chain(offset).chain(part.map(|part| (LINE_PART, part)));
        let own = own.chain(parts.map(|parts| (LINE_PARTS, parts)));
        match self.builder.push(None, own, event.body) {
            Ok(()) => {
                self.prepared.marks.push((file, mark));
                self.prepared.files[file].last = mark;
                Pushed::Taken
            }
            Err(PushError::Full { .. }) if !self.builder.is_empty() => Pushed::Full,
            Err(error) => Pushed::Refused(error),
        }
    }

    /// Adds something that goes to the dead letters and leaves its file at `mark`.
    pub(super) fn bury(&mut self, file: usize, event: Event, reason: String, mark: Mark) {
        self.prepared.letters.push((event, reason));
        self.prepared.files[file].last = mark;
    }

    /// Whether the block is to be put now.
    pub(super) fn is_full(&self) -> bool {
        self.builder.encoded_bytes() >= BLOCK_TARGET_BYTES
            || self.builder.len() >= EVENTS_MAX
            || !self.prepared.letters.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.builder.is_empty() && self.prepared.letters.is_empty()
    }

    /// Ends the block, with keys that go with it to be forgotten. Nothing comes
    /// of it if there is nothing in it.
    pub(super) fn finish(mut self, forget: &mut Vec<u64>) -> (BlockBuilder, Option<Prepared>) {
        if self.is_empty() {
            return (self.builder, None);
        }
        let keep = forget.len().saturating_sub(FORGOTTEN_MAX);
        self.prepared.forgotten = forget.split_off(keep);
        if !self.builder.is_empty() {
            self.prepared.block = Some(self.builder.finish(Codec::None));
        }
        (self.builder, Some(self.prepared))
    }
}

/// So many keys are forgotten with one put.
pub(super) const FORGOTTEN_MAX: usize = 256;

/// An event as it stands in a file.
pub(super) struct Piece<'a> {
    pub(super) body: &'a [u8],
    pub(super) line_start: u64,
    /// 0 for a whole line.
    pub(super) part: u32,
    /// Whether it is the last part.
    pub(super) last: bool,
}
