//! A dead letter as its file has it, back into the event that it was.

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sdk_producer::Event;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Letter {
    timestamp: Option<i64>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
    body_base64: Option<String>,
}

/// The event of one line.
pub(super) fn event(json: &str) -> Result<Event> {
    let letter: Letter = serde_json::from_str(json)?;
    let body = match (letter.body, letter.body_base64) {
        (Some(text), _) => Bytes::from(text),
        (None, Some(coded)) => Bytes::from(STANDARD.decode(coded).context("read body_base64")?),
        (None, None) => anyhow::bail!("it has neither body nor body_base64"),
    };
    let mut event = Event::new(body);
    event.timestamp_ms = letter.timestamp;
    for (key, value) in letter.headers {
        event.headers.set(key, value);
    }
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_the_event_it_was() {
        let text =
            event(r#"{"id":"x","reason":"r","timestamp":5,"headers":{"a":"1"},"body":"b\n"}"#);
        let expected = Event::new("b\n").with_timestamp_ms(5).with_header("a", "1");
        assert_eq!(text.unwrap(), expected);
        let raw = event(r#"{"timestamp":null,"headers":{},"body_base64":"/wA="}"#).unwrap();
        assert_eq!(raw, Event::new(vec![0xFF, 0]));
    }

    #[test]
    fn what_is_none_is_refused_in_words() {
        for (json, why) in
            [("{}", "neither body"), (r#"{"body_base64":"%"}"#, "body_base64"), ("x", "expected")]
        {
            let error = format!("{:#}", event(json).expect_err(json));
            assert!(error.contains(why), "{json}: {error}");
        }
    }
}
