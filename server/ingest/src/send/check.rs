//! Whether events can be in a block at all.

use proto::v1::PlainEvent;
use sdk_event::limits::{
    BLOCK_BYTES_MAX, BODY_BYTES_MAX, HEADER_BYTES_MAX, HEADER_KEY_BYTES_MAX,
    HEADER_VALUE_BYTES_MAX, HEADERS_MAX,
};

use crate::limits::SEND_BLOCK_EVENTS_MAX;
use crate::refusal::Refusal;

/// What a block needs for an event beside its text: lengths, key numbers, a timestamp.
const EVENT_OVERHEAD_BYTES: usize = 32;
/// The same for a header.
const HEADER_OVERHEAD_BYTES: usize = 8;
/// What a block needs for itself.
const BLOCK_OVERHEAD_BYTES: usize = 256;

/// Checks the events of one call, so that those of others never suffer for them. Returns what they
/// come to in a block, at most.
pub(super) fn events(events: &[PlainEvent]) -> Result<usize, Refusal> {
    if events.is_empty() {
        return Err(Refusal::invalid("the call has no events"));
    }
    at_most("events", events.len(), SEND_BLOCK_EVENTS_MAX)?;
    let mut bytes = 0;
    for each in events {
        bytes += event(each)?;
    }
    at_most("bytes of all events", bytes + BLOCK_OVERHEAD_BYTES, BLOCK_BYTES_MAX)?;
    Ok(bytes)
}

fn event(event: &PlainEvent) -> Result<usize, Refusal> {
    at_most("body bytes", event.body.len(), BODY_BYTES_MAX)?;
    at_most("headers", event.headers.len(), HEADERS_MAX)?;
    let mut headers = 0;
    for (key, value) in &event.headers {
        if key.is_empty() {
            return Err(Refusal::invalid("a header has no key"));
        }
        at_most("bytes of a header's key", key.len(), HEADER_KEY_BYTES_MAX)?;
        at_most("bytes of a header's value", value.len(), HEADER_VALUE_BYTES_MAX)?;
        headers += key.len() + value.len();
    }
    at_most("bytes of headers", headers, HEADER_BYTES_MAX)?;
    Ok(event.body.len()
        + headers
        + event.headers.len() * HEADER_OVERHEAD_BYTES
        + EVENT_OVERHEAD_BYTES)
}

fn at_most(what: &str, value: usize, limit: usize) -> Result<(), Refusal> {
    if value <= limit {
        return Ok(());
    }
    Err(Refusal::invalid(format!("{what}: {value}, the limit is {limit}")))
}
