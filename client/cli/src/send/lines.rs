//! Lines out of bytes, with bounded memory.

use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use sdk_event::limits::BODY_BYTES_MAX;
use std::io::{ErrorKind, Read};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

/// Read at once.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks between the reader and the sender.
const CHUNKS_MAX: usize = 4;

/// Some bytes, and when they were read.
pub(super) type Chunk = std::io::Result<(i64, Bytes)>;

/// Reads on a thread of its own, which an input that says nothing keeps waiting for ever: the
/// process does not wait for it.
pub(super) fn read(mut input: impl Read + Send + 'static) -> Result<mpsc::Receiver<Chunk>> {
    let (chunks, receiver) = mpsc::channel(CHUNKS_MAX);
    let read = move || {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let chunk = match input.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => Ok((now_ms(), Bytes::copy_from_slice(&buffer[..length]))),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = chunk.is_err();
            if chunks.blocking_send(chunk).is_err() || failed {
                return;
            }
        }
    };
    std::thread::Builder::new().name("input".to_owned()).spawn(read).context("start the reader")?;
    Ok(receiver)
}

pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// What stood between two newlines.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Whole(Bytes),
    /// More than a body may have: so many bytes.
    TooLong(u64),
}

/// Cuts chunks into lines. Holds at most the beginning of one.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// The beginning of a line whose end has not come.
    begun: BytesMut,
    /// What was left out of a line that is too long.
    left_out: u64,
}

impl Splitter {
    /// Adds the lines that `chunk` completes.
    pub(super) fn feed(&mut self, chunk: &Bytes, found: &mut Vec<Line>) {
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', chunk) {
            let piece = chunk.slice(from..end);
            from = end + 1;
            if self.begun.is_empty() && self.left_out == 0 && piece.len() <= BODY_BYTES_MAX {
                found.push(Line::Whole(piece));
            } else {
                self.begin(&piece);
                found.push(self.complete());
            }
        }
        self.begin(&chunk[from..]);
    }

    /// The last line, if it has no newline.
    pub(super) fn end(&mut self) -> Option<Line> {
        (!self.begun.is_empty() || self.left_out > 0).then(|| self.complete())
    }

    fn begin(&mut self, piece: &[u8]) {
        let room = BODY_BYTES_MAX - self.begun.len();
        let kept = piece.len().min(room);
        self.begun.extend_from_slice(&piece[..kept]);
        self.left_out += (piece.len() - kept) as u64;
    }

    fn complete(&mut self) -> Line {
        let line = self.begun.split().freeze();
        match std::mem::take(&mut self.left_out) {
            0 => Line::Whole(line),
            left_out => Line::TooLong(line.len() as u64 + left_out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts a text that comes in pieces of so many bytes.
    fn lines(text: &[u8], piece: usize) -> Vec<Line> {
        let (mut splitter, mut found) = (Splitter::default(), Vec::new());
        for piece in text.chunks(piece) {
            splitter.feed(&Bytes::copy_from_slice(piece), &mut found);
        }
        found.extend(splitter.end());
        found
    }

    #[test]
    fn lines_are_what_stands_between_newlines_however_they_come() {
        for piece in 1..9 {
            let whole = |text: &'static str| Line::Whole(Bytes::from_static(text.as_bytes()));
            assert_eq!(
                lines(b"one\n\ntwo\r\nlast", piece),
                ["one", "", "two\r", "last"].map(whole)
            );
            assert_eq!(
                lines(b"one\n", piece),
                ["one"].map(whole),
                "no line behind the last newline"
            );
            assert_eq!(lines(b"", piece), []);
        }
    }

    #[test]
    fn a_line_above_the_limit_is_measured_and_the_next_one_is_whole() {
        for piece in [1_000, CHUNK_BYTES, 1 << 21] {
            let mut text = vec![b'x'; BODY_BYTES_MAX];
            text.extend(b"\n");
            text.extend(vec![b'y'; BODY_BYTES_MAX + 1]);
            text.extend(b"\nz\n");
            text.extend(vec![b'y'; BODY_BYTES_MAX + 7]);
            let found = lines(&text, piece);
            assert_eq!(found.len(), 4);
            assert!(matches!(&found[0], Line::Whole(line) if line.len() == BODY_BYTES_MAX));
            assert_eq!(found[1], Line::TooLong(BODY_BYTES_MAX as u64 + 1));
            assert_eq!(found[2], Line::Whole(Bytes::from_static(b"z")));
            assert_eq!(found[3], Line::TooLong(BODY_BYTES_MAX as u64 + 7));
        }
    }
}
