//! A block as JSON and back. Numbers of 64 bits are strings: JSON's are not that wide everywhere.

use sdk_event::{Block, BlockBuilder, Codec};
use serde_json::{Value, json};

/// What `vectors.json` says about a block; the events come last.
pub(super) fn block(block: &Block) -> Vec<(&'static str, Value)> {
    let header = block.header();
    let text = |number: Option<i64>| number.map(|number| number.to_string());
    vec![
        ("codec", json!(header.codec.name())),
        ("producer", json!(header.producer.to_string())),
        ("generation", json!(header.generation.to_string())),
        ("count", json!(header.count)),
        ("first_sequence", json!(header.first_sequence.to_string())),
        ("last_sequence", json!(header.last_sequence.to_string())),
        ("thinned", json!(header.thinned())),
        ("own_headers", json!(header.own_headers)),
        ("min_timestamp_ms", json!(text(header.min_timestamp_ms))),
        ("max_timestamp_ms", json!(text(header.max_timestamp_ms))),
        ("raw_bytes", json!(header.raw_bytes)),
        ("stored_bytes", json!(header.stored_bytes)),
        ("crc32c", json!(format!("{:08x}", header.crc))),
        ("shared_headers", pairs(block.shared_headers())),
        ("events", block.events().map(|event| self::event(&event)).collect()),
    ]
}

fn event(event: &sdk_event::EventRef<'_>) -> Value {
    json!({
        "id": event.id().to_string(),
        "sequence": event.sequence().to_string(),
        "timestamp_ms": event.timestamp_ms().map(|time| time.to_string()),
        "own_headers": pairs(event.own_headers()),
        "headers": pairs(event.headers()),
        "body_hex": hex(event.body()),
    })
}

fn pairs<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> Value {
    headers.map(|(key, value)| json!([key, value])).collect()
}

/// Builds the block that `case` describes.
pub(super) fn encode(case: &Value) -> Block {
    let producer = text(&case["producer"]).parse().expect("a producer id");
    let mut builder = BlockBuilder::new(producer, number(&case["generation"]), 0);
    for (key, value) in headers(&case["shared_headers"]) {
        builder.shared_header(key, value).expect("within limits");
    }
    for event in case["events"].as_array().expect("events") {
        let timestamp_ms = match &event["timestamp_ms"] {
            Value::Null => None,
            time => Some(text(time).parse().expect("a time")),
        };
        let (own, body) = (headers(&event["own_headers"]), unhex(text(&event["body_hex"])));
        builder
            .push_with_sequence(number(&event["sequence"]), timestamp_ms, own, &body)
            .expect("within limits");
    }
    builder.finish(text(&case["codec"]).parse::<Codec>().expect("a codec"))
}

fn headers(pairs: &Value) -> impl Iterator<Item = (&str, &str)> {
    pairs.as_array().expect("headers").iter().map(|pair| (text(&pair[0]), text(&pair[1])))
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn number(value: &Value) -> u64 {
    text(value).parse().expect("a number")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// A vector as JSON with a line for each field and each event, in this order, so that people can
/// read it and a change shows as a small difference.
pub(super) fn vector(fields: &[(&str, Value)]) -> String {
    let lines: Vec<String> = fields
        .iter()
        .map(|(key, value)| match value.as_array() {
            Some(events) if *key == "events" => {
                let events: Vec<String> = events.iter().map(event_line).collect();
                format!("      \"{key}\": [\n        {}\n      ]", events.join(",\n        "))
            }
            _ => format!("      \"{key}\": {value}"),
        })
        .collect();
    format!("    {{\n{}\n    }}", lines.join(",\n"))
}

fn event_line(event: &Value) -> String {
    let keys = ["id", "sequence", "timestamp_ms", "own_headers", "headers", "body_hex"];
    let fields = keys.map(|key| format!("\"{key}\": {}", event[key]));
    format!("{{{}}}", fields.join(", "))
}
