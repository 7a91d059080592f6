//! The test vectors: files that say, for every language, which bytes are which events.
//!
//! `COLLECTOR_WRITE_VECTORS=1 cargo test --release -p sdk-event on_disk` writes them anew.

mod describe;
mod invalid;
mod valid;

use std::path::PathBuf;

use bytes::Bytes;
use sdk_event::{Block, BlockHeader};
use serde_json::{Value, json};

/// Bytes with a name.
pub(crate) struct Vector {
    name: &'static str,
    about: &'static str,
    bytes: Vec<u8>,
    expect: Expect,
}

enum Expect {
    /// A block that every encoder makes of these events, byte for byte.
    Exact,
    /// A block that decodes to these events; an encoder may choose other bytes.
    Decodes,
    /// No block, for the reason with this name.
    Refused(&'static str),
}

fn vectors() -> Vec<Vector> {
    let mut vectors = valid::vectors();
    vectors.extend(invalid::vectors());
    vectors
}

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(file)
}

fn file(vector: &Vector) -> String {
    format!("{}.bin", vector.name)
}

fn read(file: &str) -> Vec<u8> {
    std::fs::read(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Every vector's bytes, to be mutated, the valid ones three times.
pub(crate) fn corpus() -> Vec<Vec<u8>> {
    let valid = || valid::vectors().into_iter();
    let all = valid().chain(valid()).chain(vectors());
    all.map(|vector| vector.bytes).collect()
}

/// The text of `vectors.json`.
fn describe() -> String {
    let (mut valid, mut invalid) = (Vec::new(), Vec::new());
    for vector in vectors() {
        let mut fields = vec![
            ("name", json!(vector.name)),
            ("about", json!(vector.about)),
            ("file", json!(file(&vector))),
        ];
        if let Expect::Refused(error) = vector.expect {
            fields.push(("error", json!(error)));
            invalid.push(describe::vector(&fields));
        } else {
            let block = Block::decode(Bytes::from(vector.bytes)).expect(vector.name);
            fields.push(("exact", json!(matches!(vector.expect, Expect::Exact))));
            fields.extend(describe::block(&block));
            valid.push(describe::vector(&fields));
        }
    }
    let (valid, invalid) = (valid.join(",\n"), invalid.join(",\n"));
    format!(
        "{{\n  \"version\": 1,\n  \"valid\": [\n{valid}\n  ],\n  \"invalid\": [\n{invalid}\n  ]\n}}\n"
    )
}

#[test]
fn vectors_on_disk_are_those_of_the_encoder() {
    let described = describe();
    if std::env::var_os("COLLECTOR_WRITE_VECTORS").is_some() {
        write("vectors.json", described.as_bytes());
        for vector in vectors() {
            write(&file(&vector), &vector.bytes);
        }
    }
    assert!(read("vectors.json") == described.as_bytes(), "vectors.json is stale");
    for vector in vectors() {
        let bytes = read(&file(&vector));
        // Compressed bytes depend on the version of the codec; what they decode to does not.
        if bytes.get(5) == Some(&0) || matches!(vector.expect, Expect::Refused(_)) {
            assert!(bytes == vector.bytes, "{} is stale", file(&vector));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "writes into the repository, on request")]
fn write(file: &str, bytes: &[u8]) {
    std::fs::write(path(file), bytes).unwrap_or_else(|error| panic!("{file}: {error}"));
}

#[test]
fn valid_vectors_decode_to_what_is_described_and_encode_again() {
    let described: Value = serde_json::from_slice(&read("vectors.json")).unwrap();
    for case in described["valid"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let bytes = Bytes::from(read(case["file"].as_str().unwrap()));
        let block = Block::decode(bytes.clone()).expect(name);
        for (key, found) in describe::block(&block) {
            assert_eq!(case[key], found, "{key} of {name}");
        }
        let again = describe::encode(case);
        if case["exact"] == true {
            assert!(again.bytes() == &bytes, "{name} encodes to other bytes");
        }
        assert_eq!(describe::block(&again).last(), describe::block(&block).last(), "{name}");
    }
}

#[test]
fn invalid_vectors_are_refused_by_the_name_described() {
    let described: Value = serde_json::from_slice(&read("vectors.json")).unwrap();
    for case in described["invalid"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let bytes = Bytes::from(read(case["file"].as_str().unwrap()));
        let error = Block::decode(bytes).expect_err(name);
        assert_eq!(case["error"], error.name(), "{name}: {error}");
    }
}

#[test]
fn a_header_alone_is_refused_for_what_it_says() {
    for name in ["bad_count_zero", "bad_sequence_end", "bad_span_dense", "bad_span_short"] {
        let bytes = read(&format!("{name}.bin"));
        assert!(BlockHeader::decode(&bytes[..BlockHeader::BYTES]).is_err(), "{name}");
    }
}
