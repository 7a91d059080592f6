//! A header with one value for all events: `static`, and `host`.

use std::borrow::Cow;

use super::draft::TIMESTAMP;
use super::{Draft, Interceptor, Scratch, SharedHeaders};

/// Sets one header to one value.
pub(super) struct FixedHeader {
    key: String,
    value: String,
    preserve_existing: bool,
}

impl FixedHeader {
    pub(super) fn new(key: &str, value: &str, preserve_existing: bool) -> FixedHeader {
        FixedHeader { key: key.to_owned(), value: value.to_owned(), preserve_existing }
    }

    /// A number for `timestamp` is the events' timestamp and no header.
    fn timestamp_ms(&self) -> Option<i64> {
        if self.key == TIMESTAMP { self.value.parse().ok() } else { None }
    }
}

impl Interceptor for FixedHeader {
    fn shared<'a>(&'a self, headers: &mut SharedHeaders<'a>) {
        let keep = self.preserve_existing && headers.get(&self.key).is_some();
        if !keep && self.timestamp_ms().is_none() {
            headers.set(&self.key, Cow::Borrowed(&self.value));
        }
    }

    fn event<'a>(&'a self, event: &mut Draft<'a>, _: &mut Scratch) -> bool {
        match self.timestamp_ms() {
            Some(_) if self.preserve_existing && event.timestamp_ms().is_some() => (),
            Some(timestamp_ms) => event.set_timestamp_ms(Some(timestamp_ms)),
            // The shared value is for all events: one's own would hide it.
            None if !self.preserve_existing => event.remove_where(|key| key == self.key),
            None => (),
        }
        true
    }
}
