//! One event while interceptors work on it.

use std::ops::Range;

use sdk_event::limits::HEADER_VALUE_BYTES_MAX;
use sdk_event::{BlockBuilder, EventRef, HeaderKey, PushError};
use smallvec::SmallVec;

use super::SharedHeaders;

/// The header that is the event's own timestamp.
pub(crate) const TIMESTAMP: &str = "timestamp";

/// An event on its way through the interceptors: what came in, and what has
/// been changed so far. One draft serves all events of a block, so that its
/// buffers are allocated once.
///
/// The header `timestamp` is the event's timestamp: setting it to a number sets
/// that, removing it takes the timestamp away.
pub struct Draft<'a> {
    event: EventRef<'a>,
    now_ms: i64,
    timestamp_ms: Option<i64>,
    /// The event's own headers; not read from the event before somebody asks.
    own: Option<Own<'a>>,
    text: String,
    body: Vec<u8>,
    body_replaced: bool,
    changed: bool,
}

type Own<'a> = SmallVec<[(&'a str, Value<'a>); 8]>;

enum Value<'a> {
    Given(&'a str),
    /// A range of the draft's text.
    Set(Range<usize>),
}

impl<'a> Draft<'a> {
    pub(crate) fn new(event: EventRef<'a>, now_ms: i64) -> Draft<'a> {
        Draft {
            timestamp_ms: event.timestamp_ms(),
            event,
            now_ms,
            own: None,
            text: String::new(),
            body: Vec::new(),
            body_replaced: false,
            changed: false,
        }
    }

    /// Goes on to the next event of the block.
    pub(crate) fn next(&mut self, event: EventRef<'a>) {
        self.timestamp_ms = event.timestamp_ms();
        self.event = event;
        self.own = None;
        self.text.clear();
        self.body_replaced = false;
        self.changed = false;
    }

    /// The time at which the block is worked on: the same for all its events.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// The event's bytes as they are by now.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        if self.body_replaced { &self.body } else { self.event.body() }
    }

    /// Has `write` write another body from the present one; `false` means that
    /// it stays as it is.
    pub fn replace_body(&mut self, write: impl FnOnce(&[u8], &mut Vec<u8>) -> bool) {
        if !self.body_replaced {
            self.body.clear();
            if write(self.event.body(), &mut self.body) {
                self.body_replaced = true;
                self.changed = true;
            }
            return;
        }
        let mut replaced = Vec::with_capacity(self.body.len());
        if write(&self.body, &mut replaced) {
            self.body = replaced;
        }
    }

    /// When the event happened, by now.
    #[must_use]
    pub fn timestamp_ms(&self) -> Option<i64> {
        self.timestamp_ms
    }

    /// Says when the event happened.
    pub fn set_timestamp_ms(&mut self, timestamp_ms: Option<i64>) {
        self.changed |= self.timestamp_ms != timestamp_ms;
        self.timestamp_ms = timestamp_ms;
    }

    /// A header of the event's own, if it has one under `key`.
    pub fn own(&mut self, key: &str) -> Option<&str> {
        let Draft { event, own, text, .. } = self;
        let own = own.get_or_insert_with(|| read(event));
        let (_, value) = own.iter().find(|(known, _)| *known == key)?;
        Some(value.get(text))
    }

    /// Sets a header of the event's own to a part of its body. What is not UTF-8
    /// is replaced, and what is above the limit of a value is cut off: the event
    /// would be refused for a line that happens to be long.
    pub fn set_from_body(&mut self, key: &'a str, range: Range<usize>) {
        let mut value = String::from_utf8_lossy(&self.body()[range]).into_owned();
        value.truncate(value.floor_char_boundary(HEADER_VALUE_BYTES_MAX));
        self.set(key, &value);
    }

    /// Sets a header of the event's own to a number.
    pub fn set_number(&mut self, key: &'a str, value: i64) {
        if key == TIMESTAMP {
            self.set_timestamp_ms(Some(value));
            self.remove_where(|key| key == TIMESTAMP);
        } else {
            self.set(key, &value.to_string());
        }
    }

    /// Sets a header of the event's own.
    pub fn set(&mut self, key: &'a str, value: &str) {
        if key == TIMESTAMP
            && let Ok(timestamp_ms) = value.parse::<i64>()
        {
            self.set_number(key, timestamp_ms);
            return;
        }
        let Draft { event, own, text, changed, .. } = self;
        let own = own.get_or_insert_with(|| read(event));
        let place = own.iter().position(|(known, _)| *known == key);
        if place.is_some_and(|place| own[place].1.get(text) == value) {
            return;
        }
        let start = text.len();
        text.push_str(value);
        let value = Value::Set(start..text.len());
        match place {
            Some(place) => own[place].1 = value,
            None => own.push((key, value)),
        }
        *changed = true;
    }

    /// Removes those of the event's own headers for which `remove` says so.
    pub fn remove_where(&mut self, mut remove: impl FnMut(&str) -> bool) {
        let Draft { event, own, changed, .. } = self;
        let own = own.get_or_insert_with(|| read(event));
        let before = own.len();
        own.retain(|(key, _)| !remove(key));
        *changed |= own.len() != before;
    }

    /// A header of the event, its own or the block's; `known` is `key` looked
    /// up in the block.
    pub(crate) fn header<'t>(
        &'t mut self,
        key: &str,
        known: Option<HeaderKey>,
        shared: &'t SharedHeaders<'_>,
    ) -> Option<&'t str> {
        if self.own.is_none() && !shared.changed() {
            return self.event.header_at(known?);
        }
        self.own(key).or_else(|| shared.get(key))
    }

    /// Whether this is no longer what came in.
    pub(crate) fn changed(&self) -> bool {
        self.changed
    }

    /// The event as it came in.
    pub(crate) fn event(&self) -> &EventRef<'a> {
        &self.event
    }

    /// Copies the event, as it is by now, into another block.
    pub(crate) fn push_to(&self, builder: &mut BlockBuilder) -> Result<(), PushError> {
        let (sequence, body) = (self.event.sequence(), self.body());
        let Some(own) = &self.own else {
            let own = self.event.own_headers();
            return builder.push_with_sequence(sequence, self.timestamp_ms, own, body);
        };
        let own = own.iter().map(|(key, value)| (*key, value.get(&self.text)));
        builder.push_with_sequence(sequence, self.timestamp_ms, own, body)
    }
}

impl<'a> Value<'a> {
    fn get<'t>(&'t self, text: &'t str) -> &'t str
    where
        'a: 't,
    {
        match self {
            Value::Given(value) => value,
            Value::Set(range) => &text[range.clone()],
        }
    }
}

fn read<'a>(event: &EventRef<'a>) -> Own<'a> {
    event.own_headers().map(|(key, value)| (key, Value::Given(value))).collect()
}
