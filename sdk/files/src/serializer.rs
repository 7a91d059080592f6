//! How an event is written into a file.

mod json;

use bytes::{BufMut as _, BytesMut};
use sdk_event::EventRef;

use crate::layout::DeadReason;

/// Writes events, one after the other, into a buffer. Allocates nothing for an event as long as the
/// buffer has room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serializer {
    /// The body, and a newline if asked for.
    Text {
        /// Whether a newline follows.
        append_newline: bool,
    },
    /// One JSON object per line.
    Json {
        /// Whether it has the event's id.
        ids: bool,
    },
    /// The headers as `{k=v, k2=v2}`, a blank, the body, and a newline if asked for.
    HeaderAndText {
        /// Whether a newline follows.
        append_newline: bool,
    },
    /// A dead letter: JSON with id and reason.
    DeadLetter,
}

impl Serializer {
    /// As a sink's spec says.
    pub fn new(spec: sdk_config::Serializer) -> Serializer {
        match spec {
            sdk_config::Serializer::Text(text) => {
                Serializer::Text { append_newline: text.append_newline }
            }
            sdk_config::Serializer::Json(json) => Serializer::Json { ids: json.ids },
            sdk_config::Serializer::HeaderAndText(text) => {
                Serializer::HeaderAndText { append_newline: text.append_newline }
            }
        }
    }

    /// Whether the ids of the events can be read back from a file.
    pub fn writes_ids(self) -> bool {
        matches!(self, Serializer::Json { ids: true } | Serializer::DeadLetter)
    }

    /// Whether each event ends a line and no event has a newline in it that it did not write itself,
    /// so that a reader can count events.
    pub fn countable(self) -> bool {
        matches!(self, Serializer::Json { .. } | Serializer::DeadLetter)
    }

    /// Appends one event. `reason` is for dead letters alone.
    #[inline]
    pub fn write(self, event: &EventRef<'_>, reason: Option<DeadReason>, out: &mut BytesMut) {
        match self {
            Serializer::Text { append_newline } => {
                let body = event.body();
                // One check for room, one copy.
                out.reserve(body.len() + 1);
                out.put_slice(body);
                if append_newline {
                    out.put_u8(b'\n');
                }
            }
            Serializer::Json { ids } => json::write(event, ids, None, out),
            Serializer::HeaderAndText { append_newline } => {
                header_and_text(event, append_newline, out);
            }
            Serializer::DeadLetter => json::write(event, true, reason, out),
        }
    }
}

fn header_and_text(event: &EventRef<'_>, append_newline: bool, out: &mut BytesMut) {
    out.put_u8(b'{');
    for (index, (key, value)) in event.headers().enumerate() {
        if index > 0 {
            out.put_slice(b", ");
        }
        out.put_slice(key.as_bytes());
        out.put_u8(b'=');
        out.put_slice(value.as_bytes());
    }
    out.put_slice(b"} ");
    out.put_slice(event.body());
    if append_newline {
        out.put_u8(b'\n');
    }
}
