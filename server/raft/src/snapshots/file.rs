//! The bytes of a snapshot file.
//!
//! ```text
//! magic "CLsf" · version u16 · index u64 · term u64 · log_from u64
//! · conf state (u32 length, bytes) · hard state (u32 length, bytes) · state (u64 length, bytes)
//! · CRC32C u32 over all before it                                              little-endian
//! ```

use raft::eraftpb::{ConfState, HardState};
use server_cluster::codec::DecodeError;

use crate::entries::Place;

const MAGIC: [u8; 4] = *b"CLsf";
const VERSION: u16 = 1;
const WHAT: &str = "raft snapshot file";

/// The applied state, and what must be known together with it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SnapshotFile {
    /// The last entry in it.
    pub(crate) place: Place,
    /// Who votes as of that entry.
    pub(crate) conf_state: ConfState,
    /// What was durable when it was taken; later records of the log say better.
    pub(crate) hard_state: HardState,
    /// The first record of the log that is needed beside it.
    pub(crate) log_from: u64,
    /// The state, as `server-cluster` encodes it.
    pub(crate) state: Vec<u8>,
}

impl SnapshotFile {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.state.len() + 256);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        for number in [self.place.index, self.place.term, self.log_from] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        put(&mut out, &self.conf_state);
        put(&mut out, &self.hard_state);
        out.extend_from_slice(&(self.state.len() as u64).to_le_bytes());
        out.extend_from_slice(&self.state);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<SnapshotFile, DecodeError> {
        let (head, _) = bytes.split_at_checked(6).ok_or(DecodeError::Foreign { what: WHAT })?;
        if head[..4] != MAGIC {
            return Err(DecodeError::Foreign { what: WHAT });
        }
        let version = u16::from_le_bytes([head[4], head[5]]);
        if version > VERSION {
            return Err(DecodeError::Newer { what: WHAT, version, newest: VERSION });
        }
        let (body, crc) = bytes.split_last_chunk().ok_or_else(|| damaged("cut short"))?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return Err(damaged("checksum does not match"));
        }
        let mut rest = &body[6..];
        let (index, term, log_from) = (number(&mut rest)?, number(&mut rest)?, number(&mut rest)?);
        let (conf_state, hard_state) = (take(&mut rest)?, take(&mut rest)?);
        let length = number(&mut rest)?;
        if rest.len() as u64 != length {
            return Err(damaged("lengths do not match"));
        }
        let place = Place { index, term };
        Ok(SnapshotFile { place, conf_state, hard_state, log_from, state: rest.to_vec() })
    }
}

fn put(out: &mut Vec<u8>, message: &impl protobuf::Message) {
    out.extend_from_slice(&message.compute_size().to_le_bytes());
    message.write_to_vec(out).expect("a message in memory always encodes");
}

fn number(rest: &mut &[u8]) -> Result<u64, DecodeError> {
    let (number, after) = rest.split_first_chunk().ok_or_else(|| damaged("cut short"))?;
    *rest = after;
    Ok(u64::from_le_bytes(*number))
}

fn take<M: protobuf::Message>(rest: &mut &[u8]) -> Result<M, DecodeError> {
    let (length, after) = rest.split_first_chunk().ok_or_else(|| damaged("cut short"))?;
    let length = u32::from_le_bytes(*length) as usize;
    let (message, after) = after.split_at_checked(length).ok_or_else(|| damaged("cut short"))?;
    *rest = after;
    M::parse_from_bytes(message).map_err(|error| damaged(&error.to_string()))
}

fn damaged(reason: &str) -> DecodeError {
    DecodeError::Damaged { what: WHAT, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_read_back_as_written_and_no_flipped_bit_passes() {
        let file = SnapshotFile {
            place: Place { index: 7, term: 2 },
            conf_state: ConfState { voters: vec![1, 2], ..ConfState::default() },
            hard_state: HardState { term: 3, vote: 2, commit: 9, ..HardState::default() },
            log_from: 5,
            state: vec![1, 2, 3],
        };
        let bytes = file.encode();
        assert_eq!(SnapshotFile::decode(&bytes), Ok(file));
        for at in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            assert!(SnapshotFile::decode(&flipped).is_err(), "bit {at}");
        }
        assert!((0..bytes.len()).all(|length| SnapshotFile::decode(&bytes[..length]).is_err()));
    }
}
