//! Each limit, reached and exceeded, in the builder. The decoder's are among the vectors.

use sdk_event::limits::*;
use sdk_event::{Block, BlockBuilder, Codec, PushError};

use crate::blocks::{builder, decode};

fn limit(result: Result<(), PushError>) -> (&'static str, u64, u64) {
    match result {
        Err(PushError::Limit { field, value, limit }) => (field, value, limit),
        other => panic!("no limit exceeded: {other:?}"),
    }
}

/// Pushes a last event with one header and one byte and checks that it is the only thing there.
fn only_this(mut builder: BlockBuilder) -> Block {
    builder.push(None, [("k", "v")], b"x").expect("within limits");
    let block = decode(&builder.finish(Codec::None));
    let events: Vec<_> = block.events().collect();
    assert_eq!((events.len(), events[0].sequence(), events[0].body()), (1, 100, &b"x"[..]));
    assert_eq!(events[0].own_headers().collect::<Vec<_>>(), [("k", "v")]);
    assert!(block.key("refused").is_none());
    block
}

#[test]
fn a_body() {
    let mut builder = builder();
    let body = vec![1; BODY_BYTES_MAX + 1];
    let (over, max) = (BODY_BYTES_MAX as u64 + 1, BODY_BYTES_MAX as u64);
    let refused = builder.push(None, [("refused", "")], &body);
    assert_eq!(limit(refused), ("body bytes", over, max));
    only_this(builder.clone());
    builder.push(None, [], &body[1..]).unwrap();
    assert_eq!(decode(&builder.finish(Codec::Zstd)).events().len(), 1);
}

#[test]
fn a_key_and_a_value() {
    let mut builder = builder();
    let (key, value) = ("k".repeat(HEADER_KEY_BYTES_MAX), "v".repeat(HEADER_VALUE_BYTES_MAX));
    let (key_over, value_over) = (format!("{key}k"), format!("{value}v"));
    let refused = builder.push(None, [("refused", ""), (&*key_over, "")], b"");
    assert_eq!(limit(refused), ("header key bytes", 129, 128));
    let refused = builder.push(None, [("refused", ""), ("k", &*value_over)], b"");
    assert_eq!(limit(refused), ("header value bytes", 4_097, 4_096));
    assert_eq!(limit(builder.shared_header("k", &value_over)).1, 4_097);
    assert_eq!(builder.shared_header("", "v"), Err(PushError::EmptyKey));
    assert_eq!(builder.push(None, [("refused", ""), ("", "v")], b""), Err(PushError::EmptyKey));
    let twice = builder.push(None, [("refused", ""), ("refused", "")], b"");
    assert_eq!(twice, Err(PushError::DuplicateKey { key: "refused".to_owned() }));
    only_this(builder.clone());
    builder.push(None, [(&*key, &*value)], b"").unwrap();
    let block = decode(&builder.finish(Codec::None));
    assert_eq!(block.events().next().unwrap().header(&key), Some(&*value));
}

#[test]
fn headers_of_an_event() {
    let mut builder = builder();
    let keys: Vec<_> = (0..=HEADERS_MAX).map(|n| format!("refused{n}")).collect();
    let own = |range: std::ops::Range<usize>| keys[range].iter().map(|key| (&**key, "v"));
    assert_eq!(limit(builder.push(None, own(0..65), b"")), ("header count", 65, 64));
    only_this(builder.clone());

    builder.shared_header("refused0", "shared").unwrap();
    builder.push(None, own(0..64), b"the first takes the place of the shared one").unwrap();
    assert_eq!(limit(builder.push(None, own(1..65), b"")), ("header count", 65, 64));
    builder.push(None, own(1..64), b"").unwrap();
    let block = decode(&builder.finish(Codec::None));
    assert!(block.events().all(|event| event.headers().count() == 64));
}

#[test]
fn bytes_of_the_headers_of_an_event() {
    let mut builder = builder();
    let value = "v".repeat(4_095);
    let four = [("a", &*value), ("b", &*value), ("c", &*value), ("d", &*value)];
    builder.push(None, four, b"").unwrap();
    let refused = builder.push(None, four.into_iter().chain([("e", "")]), b"");
    assert_eq!(limit(refused), ("header bytes", 16_385, 16_384));
    builder.finish(Codec::None);

    for (key, value) in four {
        builder.shared_header(key, value).unwrap();
    }
    assert_eq!(limit(builder.shared_header("e", "")), ("header bytes", 16_385, 16_384));
    assert_eq!(limit(builder.push(None, [("e", "")], b"")), ("header bytes", 16_385, 16_384));
    builder.push(None, [("a", ""), ("e", "")], b"").unwrap();
    decode(&builder.finish(Codec::None));
}

#[test]
fn keys_of_a_block() {
    let mut builder = builder();
    for n in 0..KEYS_MAX {
        builder.push(None, [(&*n.to_string(), "")], b"").unwrap();
    }
    let full = PushError::Full { field: "keys", limit: 1_024 };
    assert_eq!(builder.push(None, [("7", ""), ("new", "")], b""), Err(full));
    builder.push(None, [("7", "known")], b"").unwrap();
    let block = decode(&builder.finish(Codec::None));
    assert_eq!(block.events().last().unwrap().header("7"), Some("known"));
    builder.push(None, [("new", "")], b"").unwrap();
}

#[test]
fn events_of_a_block() {
    let mut builder = builder();
    for _ in 0..EVENTS_MAX {
        builder.push(None, [], b"").unwrap();
    }
    let full = PushError::Full { field: "count", limit: 65_536 };
    assert_eq!(builder.push(None, [], b""), Err(full));
    assert_eq!(decode(&builder.finish(Codec::Zstd)).events().len(), EVENTS_MAX);
    builder.push(None, [], b"").unwrap();
}

#[test]
fn bytes_of_a_block() {
    let mut builder = builder();
    let body = vec![b'x'; BODY_BYTES_MAX];
    builder.shared_header("host", "web-1").unwrap();
    for _ in 0..3 {
        builder.push(None, [], &body).unwrap();
    }
    let full = PushError::Full { field: "bytes", limit: BLOCK_BYTES_MAX as u64 };
    assert_eq!(builder.push(None, [("new", "")], &body), Err(full.clone()));
    // The largest body that still fits: it needs its shape and three bytes of length.
    let left = BLOCK_BYTES_MAX - builder.encoded_bytes() - 4;
    assert_eq!(builder.push(None, [], &body[..left + 1]), Err(full));
    builder.push(None, [], &body[..left]).unwrap();
    for codec in Codec::ALL {
        let block = decode(&builder.finish(codec));
        assert_eq!(BLOCK_BYTES_MAX, 80 + block.header().raw_bytes as usize);
        block.events().for_each(|event| builder.push_event(&event).unwrap());
    }
}
