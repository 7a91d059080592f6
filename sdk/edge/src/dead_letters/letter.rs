//! One dead letter: an event, where it got stuck, and why.

use sdk_event::{Event, EventRef};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

/// What a line of a file of dead letters says.
#[derive(Serialize)]
pub(crate) struct Letter<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    flow: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sink: Option<&'a str>,
    reason: &'a str,
    timestamp: Option<i64>,
    headers: Pairs<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// Headers in their order.
struct Pairs<'a>(Vec<(&'a str, &'a str)>);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'a> Letter<'a> {
    /// An event that was never put, so it has no id.
    pub(crate) fn of_event(
        flow: &'a str,
        source: &'a str,
        event: &'a Event,
        reason: &'a str,
    ) -> Letter<'a> {
        let (body, body_base64) = text_or_base64(&event.body);
        Letter {
            id: None,
            flow,
            source: Some(source),
            sink: None,
            reason,
            timestamp: event.timestamp_ms,
            headers: Pairs(event.headers.iter().collect()),
            body,
            body_base64,
        }
    }

    /// An event that was stored and could not be delivered.
    pub(crate) fn of_stored(
        flow: &'a str,
        sink: &'a str,
        event: &EventRef<'a>,
        reason: &'a str,
    ) -> Letter<'a> {
        let (body, body_base64) = text_or_base64(event.body());
        Letter {
            id: Some(event.id().to_string()),
            flow,
            source: None,
            sink: Some(sink),
            reason,
            timestamp: event.timestamp_ms(),
            headers: Pairs(event.headers().collect()),
            body,
            body_base64,
        }
    }

    /// The line, with its newline.
    pub(crate) fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("text and numbers are always JSON");
        line.push(b'\n');
        line
    }
}

fn text_or_base64(body: &[u8]) -> (Option<&str>, Option<String>) {
    match std::str::from_utf8(body) {
        Ok(text) => (Some(text), None),
        Err(_) => (None, Some(base64(body))),
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=chunk.len()].copy_from_slice(chunk);
        let word = u32::from_be_bytes(word);
        for place in 0..4 {
            let sixtet = (word >> (18 - 6 * place)) & 63;
            let filled = place <= chunk.len();
            text.push(if filled { char::from(BASE64[sixtet as usize]) } else { '=' });
        }
    }
    text
}
