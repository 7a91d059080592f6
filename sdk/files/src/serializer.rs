//! How an event is written into a file.

mod json;

use bytes::{BufMut as _, BytesMut};
use sdk_config::{FilesSink, WriteFormat};
use sdk_event::EventRef;

use crate::format::{write_event, write_record};
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
    /// A record of an Avro container: the headers, the body.
    AvroEvent,
    /// A record of a SequenceFile: the time, the body.
    SequenceRecord {
        /// The class of its value.
        values: WriteFormat,
    },
    /// A dead letter: JSON with id and reason.
    DeadLetter,
}

impl Serializer {
    /// As a sink's spec says.
    pub fn new(spec: &FilesSink) -> Serializer {
        if let Some(sequence) = spec.sequence_file() {
            return Serializer::SequenceRecord { values: sequence.write_format };
        }
        match spec.serializer {
            sdk_config::Serializer::Text(text) => {
                Serializer::Text { append_newline: text.append_newline }
            }
            sdk_config::Serializer::Json(json) => Serializer::Json { ids: json.ids },
            sdk_config::Serializer::HeaderAndText(text) => {
                Serializer::HeaderAndText { append_newline: text.append_newline }
            }
            sdk_config::Serializer::AvroEvent(_) => Serializer::AvroEvent,
        }
    }

    /// Whether the ids of the events can be read back from a file.
    pub fn writes_ids(self) -> bool {
        matches!(self, Serializer::Json { ids: true } | Serializer::DeadLetter)
    }

    /// Whether a reader can count events: each is a record, or a line with no other newline in it.
    pub fn countable(self) -> bool {
        match self {
            Serializer::Text { .. } | Serializer::HeaderAndText { .. } => false,
            Serializer::Json { .. }
            | Serializer::AvroEvent
            | Serializer::SequenceRecord { .. }
            | Serializer::DeadLetter => true,
        }
    }

    /// Appends one event that was put at `put_time_ms`. `reason` is for dead letters alone.
    #[inline]
    pub fn write(
        self,
        event: &EventRef<'_>,
        put_time_ms: i64,
        reason: Option<DeadReason>,
        out: &mut BytesMut,
    ) {
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
            Serializer::AvroEvent => write_event(event, out),
            Serializer::SequenceRecord { values } => {
                write_record(event, put_time_ms, values, out);
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
