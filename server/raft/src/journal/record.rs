//! The bytes of a record: hard state and entries, together or not at all.

use raft::eraftpb::{Entry, HardState};
use server_cluster::codec::DecodeError;

use crate::limits::RECORD_BYTES_MAX;

const MAGIC: [u8; 4] = *b"CLrf";
const VERSION: u16 = 1;
const WHAT: &str = "raft record";

/// What one record says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    /// From this record on. Its commit never passes the entries of this record and those before.
    pub(crate) hard_state: HardState,
    /// The first one replaces what stood at its index and after.
    pub(crate) entries: Vec<Entry>,
}

impl Record {
    /// Divides what one Ready has to say into records of a bearable length.
    ///
    /// A commit index must not be durable before the entries that it covers, so each record but the
    /// last says at most that its own entries are committed.
    pub(crate) fn split(hard_state: &HardState, entries: Vec<Entry>) -> Vec<Record> {
        let mut records = Vec::new();
        let (mut part, mut bytes) = (Vec::new(), 0);
        for entry in entries {
            bytes += entry.data.len();
            if bytes > RECORD_BYTES_MAX && !part.is_empty() {
                bytes = entry.data.len();
                records.push(Record::clamped(hard_state, std::mem::take(&mut part)));
            }
            part.push(entry);
        }
        records.push(Record { hard_state: hard_state.clone(), entries: part });
        records
    }

    fn clamped(hard_state: &HardState, entries: Vec<Entry>) -> Record {
        let mut hard_state = hard_state.clone();
        // The entries before the first are durable already, those here are with this record.
        let last = entries.last().map_or(0, |entry| entry.index);
        hard_state.commit = hard_state.commit.min(last);
        Record { hard_state, entries }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let bytes = self.entries.iter().map(|entry| entry.data.len() + 48).sum::<usize>();
        let mut out = Vec::with_capacity(bytes + 64);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        put(&mut out, &self.hard_state);
        self.entries.iter().for_each(|entry| put(&mut out, entry));
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Record, DecodeError> {
        let (head, mut rest) =
            bytes.split_at_checked(6).ok_or(DecodeError::Foreign { what: WHAT })?;
        if head[..4] != MAGIC {
            return Err(DecodeError::Foreign { what: WHAT });
        }
        let version = u16::from_le_bytes([head[4], head[5]]);
        if version > VERSION {
            return Err(DecodeError::Newer { what: WHAT, version, newest: VERSION });
        }
        let hard_state = take(&mut rest)?;
        let mut entries = Vec::new();
        while !rest.is_empty() {
            entries.push(take(&mut rest)?);
        }
        Ok(Record { hard_state, entries })
    }
}

/// Its length, then its bytes.
fn put(out: &mut Vec<u8>, message: &impl protobuf::Message) {
    let length = message.compute_size();
    out.extend_from_slice(&length.to_le_bytes());
    message.write_to_vec(out).expect("a message in memory always encodes");
}

fn take<M: protobuf::Message>(rest: &mut &[u8]) -> Result<M, DecodeError> {
    let damaged = |reason: &str| DecodeError::Damaged { what: WHAT, reason: reason.to_owned() };
    let (length, after) = rest.split_first_chunk().ok_or_else(|| damaged("cut short"))?;
    let length = u32::from_le_bytes(*length) as usize;
    let (message, after) = after.split_at_checked(length).ok_or_else(|| damaged("cut short"))?;
    *rest = after;
    M::parse_from_bytes(message).map_err(|error| damaged(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, bytes: usize) -> Entry {
        Entry { term: 3, index, data: vec![7; bytes].into(), ..Entry::default() }
    }

    fn hard_state(commit: u64) -> HardState {
        HardState { term: 3, vote: 1, commit, ..HardState::default() }
    }

    #[test]
    fn records_read_back_as_written() {
        let record = Record { hard_state: hard_state(5), entries: vec![entry(6, 10), entry(7, 0)] };
        let bytes = record.encode();
        assert_eq!(Record::decode(&bytes), Ok(record));
        for length in 0..bytes.len() - 1 {
            // Cut behind the hard state or behind an entry, it is a shorter record.
            let Ok(shorter) = Record::decode(&bytes[..length]) else { continue };
            assert!(shorter.entries.len() < 2);
        }
        let newer = [&bytes[..4], &[9, 0], &bytes[6..]].concat();
        assert!(matches!(Record::decode(&newer), Err(DecodeError::Newer { version: 9, .. })));
    }

    #[test]
    fn a_commit_is_never_ahead_of_its_entries() {
        let entries = (1..=5).map(|index| entry(index, RECORD_BYTES_MAX / 2)).collect();
        let records = Record::split(&hard_state(4), entries);
        let commits: Vec<(u64, u64)> = records
            .iter()
            .map(|record| (record.entries.last().unwrap().index, record.hard_state.commit))
            .collect();
        assert_eq!(commits, [(2, 2), (4, 4), (5, 4)]);
        assert_eq!(Record::split(&hard_state(4), Vec::new()).len(), 1);
    }
}
