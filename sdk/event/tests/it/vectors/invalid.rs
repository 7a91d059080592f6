//! Bytes that are no block, each for one reason alone.

use sdk_event::limits::*;

use super::{Expect, Vector};
use crate::forge::{Forge, event, seal, text, trailer, varint};

/// The block with one event "x", changed.
fn forge(change: impl FnOnce(&mut Forge)) -> Vec<u8> {
    let mut forge = Forge::default();
    change(&mut forge);
    forge.bytes()
}

/// The block with one event that has these own headers, one key more than `keys` being "host".
fn own(keys: &[&[u8]], shared: &[(u64, &str)], own: &[(u64, &[u8])]) -> Vec<u8> {
    forge(|f| {
        f.flags = 4;
        f.events = event(own, b"x");
        f.trailer = trailer(keys, shared);
    })
}

/// The smallest block with one byte of its header changed.
fn header(at: usize, value: u8) -> Vec<u8> {
    let mut bytes = Forge::default().bytes();
    bytes[at] = value;
    seal(&mut bytes);
    bytes
}

fn events(count: u32, events: Vec<u8>) -> Vec<u8> {
    forge(|f| (f.count, f.span, f.events) = (count, count.saturating_sub(1), events))
}

pub(super) fn vectors() -> Vec<Vector> {
    [headers(), sequences_and_times(), dictionary(), own_headers(), bodies(), compressed()]
        .concat()
        .into_iter()
        .map(|(error, name, about, bytes)| Vector {
            name,
            about,
            bytes,
            expect: Expect::Refused(error),
        })
        .collect()
}

/// Error, name, about, bytes.
type Case = (&'static str, &'static str, &'static str, Vec<u8>);

fn headers() -> Vec<Case> {
    let whole = Forge::default().bytes();
    let over = BLOCK_BYTES_MAX as u32 - 79;
    let mut damaged = whole.clone();
    damaged[82] ^= 1;
    vec![
        ("magic", "bad_magic", "another first byte", header(0, b'c')),
        ("version", "bad_version", "the version after this one", header(4, 2)),
        ("version", "bad_version_zero", "no version", header(4, 0)),
        ("codec", "bad_codec", "a codec without a name", header(5, 3)),
        ("flags", "bad_flag", "a flag without a meaning", forge(|f| f.flags = 8)),
        ("truncated", "bad_nothing", "no bytes at all", Vec::new()),
        ("truncated", "bad_cut_header", "79 bytes", whole[..79].to_vec()),
        (
            "truncated",
            "bad_cut_body",
            "the last byte is missing",
            whole[..whole.len() - 1].to_vec(),
        ),
        ("mismatch", "bad_rest", "one byte behind the block", [&whole[..], b"x"].concat()),
        ("crc", "bad_crc", "one bit of the body turned", damaged),
        ("zero", "bad_count_zero", "no event", forge(|f| f.count = 0)),
        (
            "limit",
            "bad_count_limit",
            "65,537 events",
            forge(|f| (f.count, f.span) = (EVENTS_MAX as u32 + 1, EVENTS_MAX as u32)),
        ),
        (
            "limit",
            "bad_count_room",
            "more events than the bytes have room for",
            forge(|f| (f.count, f.span) = (2, 1)),
        ),
        ("limit", "bad_raw_limit", "one byte above 4 MiB", forge(|f| f.raw_bytes = Some(over))),
        (
            "limit",
            "bad_stored_limit",
            "4 MiB stored",
            forge(|f| {
                (f.codec, f.stored_bytes) = (2, Some(over));
            }),
        ),
        (
            "mismatch",
            "bad_stored",
            "stored and raw length differ without a codec",
            forge(|f| {
                f.raw_bytes = Some(6);
            }),
        ),
        (
            "limit",
            "bad_events_limit",
            "events leave no room for the two counts",
            forge(|f| {
                f.events_bytes = Some(4);
            }),
        ),
    ]
}

fn sequences_and_times() -> Vec<Case> {
    let pair = |gap: &[u8]| [b"\x00\x00\x02", gap, b"\x00"].concat();
    let gap = |span, flags, events: Vec<u8>| {
        forge(|f| (f.count, f.span, f.flags, f.events) = (2, span, flags, events))
    };
    let time = |flags, min_max| {
        forge(|f| {
            (f.flags, f.min_max) = (flags, min_max);
            f.events = b"\x01\x0a\x00".to_vec();
        })
    };
    vec![
        (
            "limit",
            "bad_sequence_end",
            "the last sequence is 2^64 - 1",
            forge(|f| {
                f.first_sequence = u64::MAX;
            }),
        ),
        (
            "mismatch",
            "bad_span_dense",
            "a span above the count without the flag",
            gap(5, 0, pair(b"\x04")),
        ),
        ("mismatch", "bad_span_thinned", "the flag without a hole", gap(1, 1, pair(b"\x01"))),
        ("mismatch", "bad_span_short", "a span below the count", gap(0, 0, pair(b"\x01"))),
        ("mismatch", "bad_span", "another span than the gaps add up to", gap(5, 1, pair(b"\x03"))),
        ("zero", "bad_gap_zero", "a gap of nothing", gap(1, 0, pair(b"\x00"))),
        (
            "limit",
            "bad_gap_first",
            "a gap before the first event",
            forge(|f| {
                (f.flags, f.span, f.events) = (1, 1, b"\x02\x01\x00".to_vec());
            }),
        ),
        ("mismatch", "bad_min_max", "min above max", time(2, (6, 5))),
        ("mismatch", "bad_min", "another min than the events have", time(2, (4, 5))),
        ("mismatch", "bad_max", "another max than the events have", time(2, (5, 6))),
        ("mismatch", "bad_times_unsaid", "a timestamp, but no flag", time(0, (0, 0))),
        ("mismatch", "bad_times_unset", "min and max, but no flag", forge(|f| f.min_max = (0, 5))),
        ("mismatch", "bad_times_missing", "the flag, but no timestamp", forge(|f| f.flags = 2)),
        (
            "mismatch",
            "bad_own_unsaid",
            "an own header, but no flag",
            forge(|f| {
                f.events = event(&[(0, b"v")], b"");
                f.trailer = trailer(&["k"], &[]);
            }),
        ),
        ("mismatch", "bad_own_missing", "the flag, but no own header", forge(|f| f.flags = 4)),
    ]
}

fn dictionary() -> Vec<Case> {
    let with = |trailer: Vec<u8>| forge(|f| f.trailer = trailer);
    let long = "v".repeat(HEADER_VALUE_BYTES_MAX + 1);
    let full = "v".repeat(HEADER_VALUE_BYTES_MAX - 1);
    let numbers: Vec<String> = (0..=KEYS_MAX).map(|n| n.to_string()).collect();
    let shared: Vec<(u64, &str)> = (0..=HEADERS_MAX as u64).map(|n| (n, "")).collect();
    let five = [(0, &*full), (1, &full), (2, &full), (3, &full), (4, "")];
    vec![
        ("limit", "bad_keys_limit", "1,025 keys", with(trailer(&numbers, &[]))),
        ("truncated", "bad_keys_cut", "fewer keys than counted", with(b"\x03\x01a".to_vec())),
        ("zero", "bad_key_empty", "a key of no bytes", with(trailer(&[""], &[]))),
        ("limit", "bad_key_limit", "a key of 129 bytes", with(trailer(&["k".repeat(129)], &[]))),
        ("utf8", "bad_key_utf8", "a key that is no text", with(trailer(&[b"\xff"], &[]))),
        ("duplicate_key", "bad_key_twice", "a key twice", with(trailer(&["a", "b", "a"], &[]))),
        ("limit", "bad_shared_limit", "65 shared headers", with(trailer(&numbers[..65], &shared))),
        (
            "unknown_key",
            "bad_shared_key",
            "a shared header without a key",
            with(trailer(&["a"], &[(1, "")])),
        ),
        (
            "duplicate_key",
            "bad_shared_twice",
            "two shared headers with one key",
            with(trailer(&["a"], &[(0, "1"), (0, "2")])),
        ),
        (
            "limit",
            "bad_shared_value_limit",
            "a shared value of 4,097 bytes",
            with(trailer(&["a"], &[(0, &long)])),
        ),
        (
            "limit",
            "bad_shared_bytes",
            "16,385 bytes of shared headers",
            with(trailer(&["a", "b", "c", "d", "e"], &five)),
        ),
        (
            "utf8",
            "bad_shared_utf8",
            "a shared value that is no text",
            with(b"\x01\x01a\x01\x00\x01\xff".to_vec()),
        ),
        (
            "truncated",
            "bad_shared_cut",
            "a shared value past the end",
            with(b"\x01\x01a\x01\x00\x05v".to_vec()),
        ),
        ("mismatch", "bad_trailer_rest", "one byte behind the shared headers", with(vec![0, 0, 0])),
        (
            "varint",
            "bad_varint_long",
            "a count in two bytes that needs one",
            with(vec![0x80, 0, 0]),
        ),
    ]
}

fn own_headers() -> Vec<Case> {
    let long = vec![b'v'; HEADER_VALUE_BYTES_MAX + 1];
    let full = vec![b'v'; HEADER_VALUE_BYTES_MAX - 1];
    let keys: Vec<String> = (0..65).map(|n| n.to_string()).collect();
    let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
    let many: Vec<(u64, &[u8])> = (0..65).map(|n| (n, &b""[..])).collect();
    let four: Vec<(u64, &[u8])> = (0..4).map(|n| (n, &full[..])).collect();
    vec![
        ("limit", "bad_own_limit", "65 own headers", own(&keys, &[], &many)),
        (
            "limit",
            "bad_all_limit",
            "64 own headers and a shared one",
            own(&keys, &[(64, "")], &many[..64]),
        ),
        (
            "limit",
            "bad_all_bytes",
            "16,384 bytes of own headers and a shared one",
            own(&keys[..5], &[(4, "")], &four),
        ),
        (
            "unknown_key",
            "bad_own_key",
            "an own header without a key",
            own(&[b"a"], &[], &[(1, b"")]),
        ),
        (
            "duplicate_key",
            "bad_own_twice",
            "two own headers with one key",
            own(&[b"a"], &[], &[(0, b"1"), (0, b"2")]),
        ),
        (
            "limit",
            "bad_own_value_limit",
            "a value of 4,097 bytes",
            own(&[b"a"], &[], &[(0, &long)]),
        ),
        ("utf8", "bad_own_utf8", "a value that is no text", own(&[b"a"], &[], &[(0, b"\xc0\x80")])),
        (
            "truncated",
            "bad_own_cut",
            "a value past the events",
            forge(|f| {
                (f.flags, f.events) = (4, b"\x04\x00\x09v".to_vec());
                f.trailer = trailer(&["a"], &[]);
            }),
        ),
    ]
}

fn bodies() -> Vec<Case> {
    let over = [&b"\x00"[..], &varint(BODY_BYTES_MAX as u64 + 1), b"x"].concat();
    let eleven = [&b"\x00"[..], &[0xff; 9], b"\x02"].concat();
    vec![
        ("limit", "bad_body_limit", "a body of 1 MiB and a byte", events(1, over)),
        ("truncated", "bad_body_cut", "a body past the events", events(1, b"\x00\x02x".to_vec())),
        (
            "truncated",
            "bad_event_missing",
            "fewer events than counted",
            events(2, [&b"\x00"[..], &text("four")].concat()),
        ),
        ("mismatch", "bad_event_more", "more events than counted", events(1, vec![0, 0, 0, 0])),
        ("varint", "bad_varint_wide", "a length above 64 bits", events(1, eleven)),
    ]
}

fn compressed() -> Vec<Case> {
    let raw = Forge::default().raw();
    let zstd = |bytes: &[u8]| zstd::bulk::compress(bytes, 1).expect("compresses");
    let stored = |codec, raw_bytes: usize, stored: Vec<u8>| {
        forge(|f| {
            (f.codec, f.raw_bytes, f.stored) = (codec, Some(raw_bytes as u32), Some(stored));
        })
    };
    let bomb = vec![0; 1 << 20];
    vec![
        ("compression", "bad_zstd", "no zstd frame", stored(1, raw.len(), raw.clone())),
        (
            "compression",
            "bad_zstd_short",
            "a frame of fewer bytes than the raw length",
            stored(1, 6, zstd(&raw)),
        ),
        (
            "compression",
            "bad_zstd_long",
            "a frame of more bytes than the raw length",
            stored(1, raw.len(), zstd(&bomb)),
        ),
        ("compression", "bad_lz4", "no LZ4 block", stored(2, raw.len(), vec![0xff; 9])),
        (
            "compression",
            "bad_lz4_short",
            "fewer bytes than the raw length",
            stored(2, 6, [&b"\x50"[..], &raw].concat()),
        ),
        (
            "compression",
            "bad_lz4_long",
            "more bytes than the raw length",
            stored(2, raw.len(), lz4_flex::block::compress(&bomb)),
        ),
        ("limit", "bad_zstd_events", "what comes out is checked like any body", {
            let inner =
                Forge { events: [&b"\x00"[..], &varint(1 << 21)].concat(), ..Forge::default() };
            forge(|f| {
                f.events = inner.events.clone();
                (f.codec, f.stored) = (1, Some(zstd(&inner.raw())));
            })
        }),
    ]
}
