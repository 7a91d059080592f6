//! A regular expression over bodies, which are bytes.

use std::ops::Range;

use regex::bytes::{CaptureLocations, Regex, RegexBuilder};

use super::Scratch;
use crate::BoxError;

/// Matches characters in bodies that are UTF-8 and bytes in all others, so
/// that one stray byte in a line does not hide the rest of it from `.`.
///
/// In ASCII the two come to the same, and bytes are the faster.
pub(super) struct BodyRegex {
    text: Regex,
    /// Absent for patterns that only make sense for characters (`\p{Greek}`).
    raw: Option<Regex>,
}

impl BodyRegex {
    pub(super) fn new(pattern: &str) -> Result<BodyRegex, BoxError> {
        let text = Regex::new(pattern)?;
        let raw = RegexBuilder::new(pattern).unicode(false).build().ok();
        Ok(BodyRegex { text, raw })
    }

    /// The form that suits `body`, and whether that is the one for bytes.
    fn form(&self, body: &[u8]) -> (&Regex, bool) {
        match &self.raw {
            Some(raw) if body.is_ascii() || std::str::from_utf8(body).is_err() => (raw, true),
            _ => (&self.text, false),
        }
    }

    pub(super) fn is_match(&self, body: &[u8]) -> bool {
        self.form(body).0.is_match(body)
    }

    /// A search in `body`, with memory of `scratch`.
    pub(super) fn search<'r, 's>(
        &'r self,
        body: &[u8],
        scratch: &'s mut Scratch,
    ) -> Search<'r, 's> {
        let (regex, raw) = self.form(body);
        let locations = &mut scratch.locations[usize::from(raw)];
        let locations = locations.get_or_insert_with(|| regex.capture_locations());
        Search { regex, raw, locations }
    }

    /// The names of its groups.
    pub(super) fn names(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.capture_names().enumerate().filter_map(|(at, name)| Some((at, name?)))
    }

    /// How many groups it has, the whole match not counted.
    pub(super) fn groups(&self) -> usize {
        self.text.captures_len() - 1
    }
}

pub(super) struct Search<'r, 's> {
    regex: &'r Regex,
    raw: bool,
    locations: &'s mut CaptureLocations,
}

impl Search<'_, '_> {
    /// The first match that begins at `at` or later.
    pub(super) fn next(&mut self, body: &[u8], at: usize) -> Option<(usize, usize)> {
        let found = self.regex.captures_read_at(self.locations, body, at)?;
        Some((found.start(), found.end()))
    }

    /// Where group `group` matched, if it took part.
    pub(super) fn group(&self, group: usize) -> Option<Range<usize>> {
        self.locations.get(group).map(|(start, end)| start..end)
    }

    /// Behind the character, or the byte, at `at`.
    pub(super) fn behind(&self, body: &[u8], at: usize) -> usize {
        let more = body.get(at + 1..).unwrap_or_default();
        if self.raw {
            return at + 1;
        }
        at + 1 + more.iter().take_while(|byte| **byte & 0xC0 == 0x80).count()
    }
}
