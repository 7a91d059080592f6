//! An event on its own, outside any block.

use bytes::Bytes;

use crate::Headers;

/// What flows: headers, a body, and when it happened.
///
/// The owned form, for applications and tests. On its way through a node an event stays inside its
/// [`Block`](crate::Block) and is read as an [`EventRef`](crate::EventRef).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// Milliseconds since 1970-01-01 UTC; before that, negative.
    pub timestamp_ms: Option<i64>,
    /// Its headers.
    pub headers: Headers,
    /// Its bytes, never looked into.
    pub body: Bytes,
}

impl Event {
    /// An event with a body alone.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Event { timestamp_ms: None, headers: Headers::new(), body: body.into() }
    }

    /// The same event at a time.
    pub fn with_timestamp_ms(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }

    /// The same event with one header set.
    pub fn with_header(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.set(key, value);
        self
    }
}
