//! Where events end in the bytes of a file.

use memchr::memchr;
use regex::bytes::Regex;
use sdk_config::{Multiline, MultilineWhat};

/// Cuts bytes into events: lines, or several lines joined.
pub(super) struct Splitter {
    /// The longest body.
    bytes_max: usize,
    multiline: Option<Join>,
}

struct Join {
    pattern: Regex,
    negate: bool,
    what: MultilineWhat,
    lines_max: u32,
}

/// The first event in some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// An event.
    Whole {
        /// Its body is so many bytes at the front.
        body: usize,
        /// The next one begins here.
        next: usize,
    },
    /// A part of a line that is longer than a body may be.
    Part {
        /// It is so many bytes at the front.
        body: usize,
        /// What follows begins here.
        next: usize,
        /// Whether the line ends with it.
        last: bool,
    },
    /// It is not complete yet.
    More,
}

/// What to take of bytes that are not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Flush {
    /// Nothing.
    Nothing,
    /// Lines that wait for a further line of their event.
    Lines,
    /// A line without its newline too.
    All,
}

impl Splitter {
    pub(super) fn new(
        bytes_max: usize,
        multiline: Option<&Multiline>,
    ) -> Result<Splitter, regex::Error> {
        let multiline = match multiline {
            None => None,
            Some(spec) => Some(Join {
                pattern: Regex::new(&spec.pattern)?,
                negate: spec.negate,
                what: spec.what,
                lines_max: spec.max_lines.max(1),
            }),
        };
        Ok(Splitter { bytes_max, multiline })
    }

    /// So many bytes are always enough for [`Splitter::cut`] to find an event.
    pub(super) fn bytes_needed(&self) -> usize {
        2 * self.bytes_max + 8
    }

    /// The first event in `bytes`; `inside` says that they begin in the middle
    /// of an over-long line.
    pub(super) fn cut(&self, bytes: &[u8], inside: bool, flush: Flush) -> Cut {
        match &self.multiline {
            Some(join) if !inside => self.join(join, bytes, flush),
            _ => self.line(bytes, inside, flush),
        }
    }

    fn line(&self, bytes: &[u8], inside: bool, flush: Flush) -> Cut {
        let whole = |body, next| match inside {
            true => Cut::Part { body, next, last: true },
            false => Cut::Whole { body, next },
        };
        // Room for `\r\n` behind the longest body.
        let reach = &bytes[..bytes.len().min(self.bytes_max + 2)];
        if let Some(end) = memchr(b'\n', reach) {
            let body = without_return(&bytes[..end]);
            return if body <= self.bytes_max { whole(body, end + 1) } else { self.part(bytes) };
        }
        if bytes.len() > self.bytes_max + 1 {
            return self.part(bytes);
        }
        if flush < Flush::All || bytes.is_empty() {
            return Cut::More;
        }
        if bytes.len() <= self.bytes_max {
            whole(bytes.len(), bytes.len())
        } else {
            self.part(bytes)
        }
    }

    /// As much of an over-long line as a body holds, without cutting through a
    /// character if there are any.
    fn part(&self, bytes: &[u8]) -> Cut {
        let max = self.bytes_max;
        let continues = |at: &usize| bytes[*at] & 0xC0 == 0x80;
        let body = (max.saturating_sub(3)..=max).rev().find(|at| !continues(at));
        let body = body.filter(|body| *body > 0).unwrap_or(max);
        Cut::Part { body, next: body, last: false }
    }

    fn join(&self, join: &Join, bytes: &[u8], flush: Flush) -> Cut {
        let (mut lines, mut body, mut next) = (0, 0, 0);
        loop {
            let rest = &bytes[next..];
            let pending = Cut::Whole { body, next };
            let reach = &rest[..rest.len().min(self.bytes_max + 2)];
            let (line, behind) = match memchr(b'\n', reach) {
                Some(end) => (without_return(&rest[..end]), end + 1),
                None if rest.len() > self.bytes_max + 1 => (rest.len(), rest.len()),
                None if flush == Flush::All && !rest.is_empty() => (rest.len(), rest.len()),
                None if flush >= Flush::Lines && lines > 0 => return pending,
                None => return Cut::More,
            };
            if line > self.bytes_max {
                return if lines > 0 { pending } else { self.line(rest, false, flush) };
            }
            let belongs = join.pattern.is_match(&rest[..line]) != join.negate;
            let begins = join.what == MultilineWhat::Previous && !belongs;
            if lines > 0 && (begins || next + line > self.bytes_max) {
                return pending;
            }
            lines += 1;
            body = next + line;
            next += behind;
            let ends = join.what == MultilineWhat::Next && !belongs;
            if ends || lines == join.lines_max {
                return Cut::Whole { body, next };
            }
        }
    }
}

/// The length of a line without the carriage return at its end.
fn without_return(line: &[u8]) -> usize {
    line.strip_suffix(b"\r").unwrap_or(line).len()
}
