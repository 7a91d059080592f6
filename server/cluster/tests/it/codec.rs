//! Commands and snapshots as bytes.

use proptest::prelude::*;
use server_cluster::codec::{
    DecodeError, decode_command, decode_snapshot, encode_command, encode_snapshot,
};
use server_cluster::{Command, State};

use crate::script::parse;

fn command() -> Command {
    parse("on 3/0/1 token=1 n=1 : intend a 5-9 events=3; b 0-8 events=4").unwrap()
}

#[test]
fn commands_read_back_as_written() {
    for line in ["init", "add dir=3", "up 1", "flow web", "seal 3/0/1@5", "lost 3/0/1 1-2"] {
        let command = parse(line).unwrap();
        assert_eq!(decode_command(&encode_command(&command)), Ok(command));
    }
    assert_eq!(decode_command(&encode_command(&command())), Ok(command()));
}

#[test]
fn a_newer_version_is_refused_in_a_sentence() {
    let mut bytes = encode_command(&command());
    bytes[4..6].copy_from_slice(&7u16.to_le_bytes());
    let error = decode_command(&bytes).unwrap_err();
    assert_eq!(
        error.to_string(),
        "this command was written by a newer release (format 7, this one reads up to 1): start \
         that release instead"
    );
    let mut bytes = encode_snapshot(&State::new());
    bytes[4..6].copy_from_slice(&2u16.to_le_bytes());
    assert!(matches!(decode_snapshot(&bytes), Err(DecodeError::Newer { version: 2, .. })));
}

#[test]
fn other_bytes_are_refused() {
    let bytes = encode_command(&command());
    assert!(matches!(decode_snapshot(&bytes), Err(DecodeError::Foreign { .. })));
    assert!(matches!(decode_command(b"CLc"), Err(DecodeError::Foreign { .. })));
    for length in 6..bytes.len() {
        assert!(decode_command(&bytes[..length]).is_err(), "cut at {length}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(decode_command(&longer), Err(DecodeError::Damaged { .. })));
}

proptest! {
    #[test]
    fn noise_never_panics(
        mut noise in prop::collection::vec(any::<u8>(), 0..300),
        headed in any::<bool>(),
    ) {
        if headed && noise.len() > 6 {
            noise[..6].copy_from_slice(b"CLcm\x01\x00");
        }
        if let Ok(command) = decode_command(&noise) {
            // Whatever it is, applying it is safe.
            State::new().apply(1, command);
        }
        if headed && noise.len() > 6 {
            noise[..6].copy_from_slice(b"CLst\x01\x00");
            let _ = decode_snapshot(&noise);
        }
    }
}
