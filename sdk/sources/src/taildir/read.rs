//! Reading one file into a block.

use std::io;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use sdk_config::OverLong;
use sdk_event::Event;
use tracing::{info, warn};

use super::assembly::{Assembly, BYTE_OFFSET, Piece, Pushed, Sharing};
use super::disk::OpenFile;
use super::file::Tracked;
use super::glob::is_absence;
use super::mark::Mark;
use super::split::{Cut, Flush, Splitter};
use super::stats::add;
use super::tail::{CHUNK_BYTES, OWN_BLOCK_BYTES, Tail};

/// How far a file's turn went.
pub(super) enum Filled {
    /// There is nothing more to be taken of it now.
    Drained,
    /// It has more, and the block is to be put.
    Enough,
}

impl Tail {
    /// Takes what a file has into the block.
    pub(super) fn fill(&mut self, key: u64, assembly: &mut Assembly, now: Duration) -> Filled {
        let filled = match self.open_for_reading(key, now) {
            Ok(true) => self.read(key, assembly, now),
            Ok(false) => Ok(Filled::Drained),
            Err(error) => Err(error),
        };
        filled.unwrap_or_else(|error| {
            self.outage(key, &error);
            Filled::Drained
        })
    }

    /// Whether the file can be read now, and from where: `false` means later.
    fn open_for_reading(&mut self, key: u64, now: Duration) -> io::Result<bool> {
        let Some(file) = self.files.get(&key) else { return Ok(false) };
        if let Some(before) = file.after.and_then(|before| self.files.get(&before))
            && !before.drained()
            && !before.outage
        {
            return Ok(false);
        }
        let path = file.path.clone();
        if file.handle.is_none() {
            if !self.make_room() {
                return Ok(false);
            }
            let handle = match OpenFile::open(&path) {
                Ok(handle) => handle,
                // The next scan finds out where it went.
                Err(error) if is_absence(&error) => return Ok(false),
                Err(error) => return Err(error),
            };
            if let Some(file) = self.files.get_mut(&key) {
                file.handle = Some(handle);
                self.open += 1;
            }
        }
        self.uses += 1;
        let Some(file) = self.files.get_mut(&key) else { return Ok(false) };
        let Some(handle) = &file.handle else { return Ok(false) };
        let look = handle.look()?;
        if look.identity != file.identity {
            self.close(key);
            return Ok(false);
        }
        file.used = self.uses;
        let same = look.size >= file.mark.offset && file.mark.print.matches(handle)?;
        file.note(&look, now);
        file.compared = Some(look.modified);
        if !same {
            info!(source = self.settings.source, path = %path.display(), size = look.size,
                read = file.mark.offset, "file was truncated, reading it from its beginning");
            add(&self.stats.truncations, 1);
            file.restart();
        }
        if std::mem::take(&mut file.outage) {
            info!(path = %path.display(), "file is readable again");
        }
        Ok(true)
    }

    fn read(&mut self, key: u64, assembly: &mut Assembly, now: Duration) -> io::Result<Filled> {
        let Tail { files, settings, buffer, stats, clock, .. } = self;
        let Some(file) = files.get_mut(&key) else { return Ok(Filled::Drained) };
        let Some(handle) = file.handle.take() else { return Ok(Filled::Drained) };
        if assembly.is_empty() {
            let waiting = file.size.saturating_sub(file.mark.offset);
            let own = settings.uniform || waiting >= OWN_BLOCK_BYTES;
            let sharing = if own { Sharing::Block } else { Sharing::Event };
            assembly.begin(settings.ids, sharing, &file.headers);
        }
        let position = file.position(file.mark, clock.wall_ms());
        let number = assembly.file(key, position, &file.gauge);
        let quiet = now.saturating_sub(file.grown);
        let turn = Turn {
            splitter: &settings.splitter,
            flush: settings.flush(file.found, quiet),
            events_max: settings.batch_events,
            line_bytes_max: settings.line_bytes_max,
            over_long: settings.over_long,
            number,
            over_long_lines: &stats.over_long_lines,
        };
        let filled = turn.read(file, &handle, assembly, buffer);
        file.handle = Some(handle);
        filled
    }
}

/// One file's turn at a block.
struct Turn<'a> {
    splitter: &'a Splitter,
    flush: Flush,
    events_max: usize,
    line_bytes_max: usize,
    over_long: OverLong,
    /// The file's number in the block.
    number: usize,
    over_long_lines: &'a AtomicU64,
}

impl Turn<'_> {
    fn read(
        &self,
        file: &mut Tracked,
        handle: &OpenFile,
        assembly: &mut Assembly,
        buffer: &mut [u8],
    ) -> io::Result<Filled> {
        let mut chunk = CHUNK_BYTES.min(buffer.len());
        let mut events = 0;
        loop {
            let start = file.mark.offset;
            let read = handle.read_at(&mut buffer[..chunk], start)?;
            let at_end = read < chunk;
            let flush = if at_end { self.flush } else { Flush::Nothing };
            let mut at = 0;
            loop {
                let bytes = &buffer[at..read];
                let cut = self.splitter.cut(bytes, file.mark.part > 0, flush);
                let (Cut::Whole { next, .. } | Cut::Part { next, .. }) = cut else { break };
                if !self.take(file, handle, assembly, bytes, cut)? {
                    return Ok(Filled::Enough);
                }
                at += next;
                events += 1;
                if events == self.events_max || assembly.is_full() {
                    return Ok(Filled::Enough);
                }
            }
            if at_end {
                file.size = file.size.max(start + read as u64);
                file.exhausted = Some((file.size, self.flush));
                return Ok(Filled::Drained);
            }
            if at == 0 {
                // One event is longer than a chunk. It is not longer than the
                // buffer, so this ends.
                assert!(chunk < buffer.len(), "the buffer holds any event");
                chunk = buffer.len();
            }
        }
    }

    /// Takes the event at the front of `bytes`. `false`: it did not find room.
    fn take(
        &self,
        file: &mut Tracked,
        handle: &OpenFile,
        assembly: &mut Assembly,
        bytes: &[u8],
        cut: Cut,
    ) -> io::Result<bool> {
        let mut mark = file.mark;
        let mut piece = Piece { body: bytes, line_start: mark.offset, part: 0, last: false };
        let next = match cut {
            Cut::More => return Ok(true),
            Cut::Whole { body, next } => {
                piece.body = &bytes[..body];
                next
            }
            Cut::Part { body, next, last } => {
                if mark.part > 0 {
                    piece.line_start = mark.line_start;
                }
                piece.body = &bytes[..body];
                piece.part = mark.part.saturating_add(1);
                piece.last = last;
                next
            }
        };
        mark.advance(&bytes[..next]);
        let ends = piece.part == 0 || piece.last;
        mark.part = if ends { 0 } else { piece.part };
        mark.line_start = if ends { 0 } else { piece.line_start };
        if piece.part == 1 {
            add(self.over_long_lines, 1);
        }
        if piece.part > 0 && self.over_long == OverLong::DeadLetter {
            if piece.last {
                self.bury(file, handle, assembly, piece.line_start, mark)?;
            }
            file.mark = mark;
            return Ok(true);
        }
        match assembly.push(self.number, &file.headers, &piece, mark) {
            Pushed::Taken => (),
            Pushed::Full => return Ok(false),
            Pushed::Refused(error) => {
                warn!(path = %file.path.display(), offset = piece.line_start, %error,
                    "a line makes no event");
                let event = self.letter(file, piece.body, piece.line_start);
                assembly.bury(self.number, event, error.to_string(), mark);
            }
        }
        file.mark = mark;
        Ok(true)
    }

    /// The beginning of an over-long line goes to the dead letters.
    fn bury(
        &self,
        file: &Tracked,
        handle: &OpenFile,
        assembly: &mut Assembly,
        line_start: u64,
        mark: Mark,
    ) -> io::Result<()> {
        let mut head = vec![0; self.line_bytes_max];
        let read = handle.read_at(&mut head, line_start)?;
        let bytes = mark.offset - line_start;
        let reason = format!(
            "line of {bytes} bytes is longer than {}, this is its beginning",
            self.line_bytes_max
        );
        let event = self.letter(file, &head[..read], line_start);
        assembly.bury(self.number, event, reason, mark);
        Ok(())
    }

    fn letter(&self, file: &Tracked, body: &[u8], line_start: u64) -> Event {
        let mut event = Event::new(body.to_vec());
        event.headers.extend(file.headers.pairs.iter().cloned());
        event.headers.set("file", file.path.to_string_lossy());
        event.headers.set(BYTE_OFFSET, line_start.to_string());
        event
    }
}
