//! What stands in a file.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use sdk_event::{BlockBuilder, Event, ProducerId};
use sdk_files::layout::DeadReason;
use sdk_files::serializer::Serializer;

fn write(serializer: Serializer, event: &Event) -> Vec<u8> {
    let mut builder = BlockBuilder::new(ProducerId([0xc0; 16]), 4, 90);
    builder.push(event.timestamp_ms, event.headers.iter(), &event.body).unwrap();
    let block = builder.finish(sdk_event::Codec::None);
    let mut out = BytesMut::new();
    serializer.write(&block.events().next().unwrap(), 77, Some(DeadReason::TooDeep), &mut out);
    out.to_vec()
}

fn text(serializer: Serializer, event: &Event) -> String {
    String::from_utf8(write(serializer, event)).unwrap()
}

#[test]
fn text_is_the_body() {
    let event = Event::new("line").with_header("k", "v");
    assert_eq!(text(Serializer::Text { append_newline: true }, &event), "line\n");
    assert_eq!(text(Serializer::Text { append_newline: false }, &event), "line");
}

#[test]
fn header_and_text_is_as_in_flume() {
    let event = Event::new("line").with_header("k", "v").with_header("k2", "v2");
    let with = |append_newline| text(Serializer::HeaderAndText { append_newline }, &event);
    assert_eq!(with(true), "{k=v, k2=v2} line\n");
    assert_eq!(with(false), "{k=v, k2=v2} line");
    let bare = Serializer::HeaderAndText { append_newline: true };
    assert_eq!(text(bare, &Event::new("line")), "{} line\n");
}

#[test]
fn json_is_one_object_per_line() {
    let event = Event::new("say \"hi\"\n\u{1}\\").with_timestamp_ms(5).with_header("a", "b\t");
    assert_eq!(
        text(Serializer::Json { ids: false }, &event),
        concat!(r#"{"timestamp":5,"headers":{"a":"b\t"},"body":"say \"hi\"\n\u0001\\"}"#, "\n")
    );
    let raw = Event::new(Bytes::from_static(b"\xff\x00abc"));
    assert_eq!(
        text(Serializer::Json { ids: true }, &raw),
        concat!(
            r#"{"id":"c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0-4-90","timestamp":null,"headers":{},"#,
            r#""body_base64":"/wBhYmM="}"#,
            "\n"
        )
    );
    assert_eq!(
        text(Serializer::DeadLetter, &Event::new("x")),
        concat!(
            r#"{"id":"c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0-4-90","#,
            r#""reason":"path deeper than 16 directories","timestamp":null,"headers":{},"body":"x"}"#,
            "\n"
        )
    );
}

/// Base64 by the book, to check ours with.
fn from_base64(text: &str) -> Vec<u8> {
    let value = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.bytes().filter(|c| *c != b'=').map(value).collect();
    let bits: Vec<u8> =
        digits.iter().flat_map(|d| (0..6).rev().map(move |b| (d >> b) & 1)).collect();
    bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | bit)).collect()
}

proptest! {
    #[test]
    fn json_reads_back(body in proptest::collection::vec(any::<u8>(), 0..60), value in ".*") {
        let event = Event::new(body.clone()).with_header("key", value.clone());
        let line = write(Serializer::Json { ids: false }, &event);
        prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        let read: serde_json::Value = serde_json::from_slice(&line).unwrap();
        prop_assert_eq!(&read["headers"]["key"], &serde_json::Value::String(value));
        let found = match read["body"].as_str() {
            Some(text) => text.as_bytes().to_vec(),
            None => from_base64(read["body_base64"].as_str().unwrap()),
        };
        prop_assert_eq!(found, body);
    }
}
