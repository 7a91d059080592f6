//! Blocks, from the smallest on.

use sdk_event::{Block, BlockBuilder, Codec, ProducerId};

use super::{Expect, Vector};
use crate::forge::{Forge, event, trailer};

const PRODUCER: ProducerId =
    ProducerId([0, 17, 34, 51, 68, 85, 102, 119, 136, 153, 170, 187, 204, 221, 238, 255]);
const NOON: i64 = 1_700_000_000_000;

type Push<'a> = (Option<i64>, &'a [(&'a str, &'a str)], &'a [u8]);

fn builder(shared: &[(&str, &str)]) -> BlockBuilder {
    let mut builder = BlockBuilder::new(PRODUCER, 1, 1);
    for (key, value) in shared {
        builder.shared_header(key, value).expect("within limits");
    }
    builder
}

fn push(builder: &mut BlockBuilder, (timestamp_ms, own, body): Push<'_>) {
    builder.push(timestamp_ms, own.iter().copied(), body).expect("within limits");
}

fn plain(shared: &[(&str, &str)], events: &[Push<'_>]) -> Block {
    let mut builder = builder(shared);
    events.iter().for_each(|event| push(&mut builder, *event));
    builder.finish(Codec::None)
}

pub(super) fn vectors() -> Vec<Vector> {
    let mut vectors = Vec::new();
    let mut exact = |name, about, block: Block| {
        let bytes = block.bytes().to_vec();
        vectors.push(Vector { name, about, bytes, expect: Expect::Exact });
    };
    exact("smallest", "one event, nothing in it", plain(&[], &[(None, &[], b"")]));
    exact(
        "one",
        "one event with a timestamp, two headers and a body",
        plain(&[], &[(Some(NOON), &[("host", "web-1"), ("app", "shop")], b"GET / 200")]),
    );
    exact(
        "shared",
        "headers of the block, replaced and added to by some events",
        plain(
            &[("host", "web-1"), ("app", "shop"), ("empty", "")],
            &[
                (Some(NOON), &[], b"takes all three"),
                (Some(NOON + 1), &[("app", "cart")], b"replaces one"),
                (Some(NOON + 2), &[("user", "ann"), ("empty", "no"), ("host", "")], b"mixes"),
                (Some(NOON + 3), &[("user", "bob")], b"key seen before"),
            ],
        ),
    );
    exact(
        "timestamps",
        "none, falling, negative and as far apart as 64 bits allow (deltas wrap)",
        plain(
            &[],
            &[
                (None, &[], b"none"),
                (Some(NOON), &[], b"first"),
                (Some(NOON - 1), &[], b"earlier"),
                (None, &[], b"none between"),
                (Some(-1), &[], b"before 1970"),
                (Some(i64::MAX), &[], b"last"),
                (Some(i64::MIN), &[], b"first of all"),
                (Some(0), &[], b"1970"),
            ],
        ),
    );
    exact(
        "bytes",
        "keys and values of any script, bodies of any bytes",
        plain(
            &[("größe", "π ≈ 3.14159"), ("\u{1f41d}", "line\nbreak\0nul")],
            &[
                (None, &[("ключ", "значение"), ("größe", "\"\\/")], &[0, 0xff, 0xc0, 0x80]),
                (None, &[], "текст".as_bytes()),
            ],
        ),
    );
    exact("many_headers", "64 headers: the shape takes two bytes", many_headers());
    exact("many_keys", "200 keys: the index takes two bytes", many_keys());
    exact(
        "lengths",
        "lengths of one, two and three bytes, and the longest key and value",
        lengths(),
    );
    exact(
        "thinned",
        "sequences with holes of one, two and many bytes",
        thinned(1, &[0, 1, 300, 70_000]),
    );
    exact(
        "numbers",
        "the highest generation and the highest sequence",
        thinned(u64::MAX, &[u64::MAX - 1 - u64::from(u32::MAX), u64::MAX - 2, u64::MAX - 1]),
    );

    let mut decodes = |name, about, bytes: Vec<u8>| {
        vectors.push(Vector { name, about, bytes, expect: Expect::Decodes });
    };
    decodes("zstd", "a hundred lines, zstd", lines().finish(Codec::Zstd).bytes().to_vec());
    decodes("lz4", "a hundred lines, LZ4 block", lines().finish(Codec::Lz4).bytes().to_vec());
    let unused = trailer(&["unused", "host", "also"], &[(1, "web-1")]);
    let unused = Forge { trailer: unused, ..Forge::default() };
    decodes("unused_keys", "keys that no header has, in any order", unused.bytes());
    let late = Forge {
        flags: 4,
        events: event(&[(0, b"b"), (1, b"a")], b"x"),
        trailer: trailer(&["b", "a"], &[(1, "shared a"), (0, "shared b")]),
        ..Forge::default()
    };
    decodes("other_order", "shared headers in another order than the keys", late.bytes());
    // An LZ4 block of nothing but the literals: its length, then the bytes.
    let mut grown = Forge { codec: 2, ..Forge::default() };
    grown.stored = Some([&[(grown.raw().len() as u8) << 4][..], &grown.raw()].concat());
    decodes("grown", "compressed, yet longer than the raw body", grown.bytes());
    vectors
}

fn many_headers() -> Block {
    let keys: Vec<String> = (0..64).map(|n| format!("header-{n}")).collect();
    let own: Vec<_> = keys.iter().map(|key| (key.as_str(), "v")).collect();
    plain(&[("header-63", "shared")], &[(None, &own, b"64"), (None, &own[..31], b"32")])
}

fn many_keys() -> Block {
    let mut builder = builder(&[]);
    let keys: Vec<String> = (0..200).map(|n| format!("key-{n}")).collect();
    for own in keys.chunks(50).chain([&keys[126..130]]) {
        let own: Vec<_> = own.iter().map(|key| (key.as_str(), "")).collect();
        push(&mut builder, (None, &own, b"x"));
    }
    builder.finish(Codec::None)
}

fn lengths() -> Block {
    let (key, value) = ("k".repeat(128), "v".repeat(4_096));
    let mut builder = builder(&[(&key, &value)]);
    for length in [0, 1, 127, 128, 16_383, 16_384] {
        push(
            &mut builder,
            (None, &[(&*key, &value[..127]), ("k", &value[..128])], &vec![7; length]),
        );
    }
    builder.finish(Codec::None)
}

fn thinned(generation: u64, sequences: &[u64]) -> Block {
    let mut builder = BlockBuilder::new(PRODUCER, generation, 0);
    for &sequence in sequences {
        let timestamp_ms = (sequence % 2 == 0).then_some(NOON);
        builder.push_with_sequence(sequence, timestamp_ms, [], b"kept").expect("within limits");
    }
    builder.finish(Codec::None)
}

fn lines() -> BlockBuilder {
    let mut builder = builder(&[("host", "web-1")]);
    for n in 0..100 {
        let body = format!(
            "10.0.0.1 - - [14/Nov/2023:22:13:{:02} +0000] \"GET /{n} HTTP/1.1\" 200",
            n % 60
        );
        push(&mut builder, (Some(NOON + n * 10), &[("path", &*format!("/{n}"))], body.as_bytes()));
    }
    builder
}
