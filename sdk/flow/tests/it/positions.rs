//! A source's position as bytes.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use sdk_flow::{PositionError, SourcePosition};

fn bytes(max: usize) -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..max).prop_map(Bytes::from)
}

proptest! {
    #[test]
    fn a_position_reads_back_as_written(
        source in "[a-zé]{0,40}",
        entries in proptest::collection::vec((bytes(30), proptest::option::of(bytes(300))), 0..20),
    ) {
        let position = SourcePosition { source, entries };
        let encoded = position.encode();
        prop_assert_eq!(SourcePosition::decode(&encoded), Ok(position));
        for cut in 0..encoded.len() {
            prop_assert!(SourcePosition::decode(&encoded.slice(..cut)).is_err());
        }
    }

    #[test]
    fn noise_is_refused_and_never_a_panic(noise in bytes(200)) {
        let mut begun = b"CSP\x01".to_vec();
        begun.extend_from_slice(&noise);
        let _ = SourcePosition::decode(&Bytes::from(begun));
        let _ = SourcePosition::decode(&noise);
    }
}

#[test]
fn a_newer_version_is_refused_in_a_sentence() {
    let error = SourcePosition::decode(&Bytes::from_static(b"CSP\x02\0\0\0")).unwrap_err();
    assert_eq!(error, PositionError::Newer(2));
    assert_eq!(error.to_string(), "source position has version 2, this program knows version 1");
}

#[test]
fn the_last_value_of_each_key_counts() {
    let mut folded = BTreeMap::new();
    let entry =
        |key: &'static str, value: Option<&'static str>| (key.into(), value.map(Into::into));
    for (source, entries) in [
        ("web", vec![entry("1", Some("a")), entry("2", Some("b"))]),
        ("seq", vec![entry("1", Some("x"))]),
        ("web", vec![entry("1", None), entry("2", Some("c"))]),
    ] {
        SourcePosition { source: source.to_owned(), entries }.fold(&mut folded);
    }
    assert_eq!(folded["web"], BTreeMap::from([("2".into(), "c".into())]));
    assert_eq!(folded["seq"], BTreeMap::from([("1".into(), "x".into())]));
}
