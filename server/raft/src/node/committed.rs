//! Committed entries: into the state, and back to whoever proposed them.

use protobuf::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeV2, Entry, EntryType};
use server_cluster::Reply;
use server_cluster::codec::decode_command;
use tracing::warn;

use super::Node;
use crate::entries::Place;
use crate::error::{Fatal, ProposeError};

impl Node {
    pub(super) fn apply_committed(&mut self, entries: Vec<Entry>) -> Result<(), Fatal> {
        let Some(last) = entries.last() else { return Ok(()) };
        let place = Place { index: last.index, term: last.term };
        self.taken.bytes += entries.iter().map(|entry| entry.data.len() as u64).sum::<u64>();
        let mut commands = Vec::with_capacity(entries.len());
        let mut answers: Vec<(u64, u64, Result<Reply, ProposeError>)> = Vec::new();
        for entry in entries {
            let (index, term) = (entry.index, entry.term);
            match entry.get_entry_type() {
                // A leader begins with an empty entry, and puts one in place of a change of members
                // that came too early.
                EntryType::EntryNormal if entry.data.is_empty() => {
                    answers.push((index, term, Err(ProposeError::Busy)));
                }
                EntryType::EntryNormal => {
                    let command = decode_command(&entry.data);
                    commands
                        .push((index, command.map_err(|source| Fatal::Entry { index, source })?));
                    // The reply follows below.
                    answers.push((index, term, Ok(Reply::Done)));
                }
                EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
                    self.apply_members(&entry);
                    answers.push((index, term, Ok(Reply::Done)));
                }
            }
        }
        let mut replies = self.shared.apply(commands, place.index).into_iter().peekable();
        self.raw.mut_store().applied = place;
        self.raw.advance_apply_to(place.index);
        for (index, term, mut answer) in answers {
            if let Some((_, reply)) = replies.next_if(|(at, _)| *at == index) {
                answer = Ok(reply);
            }
            self.answer(index, term, answer);
        }
        Ok(())
    }

    fn apply_members(&mut self, entry: &Entry) {
        let change = match entry.get_entry_type() {
            EntryType::EntryConfChange => ConfChange::parse_from_bytes(&entry.data)
                .map(|change| self.raw.apply_conf_change(&change)),
            _ => ConfChangeV2::parse_from_bytes(&entry.data)
                .map(|change| self.raw.apply_conf_change(&change)),
        };
        match change {
            Ok(Ok(conf_state)) => self.raw.mut_store().conf_state = conf_state,
            // The same on every node: the change has no effect.
            Ok(Err(error)) => warn!(%error, index = entry.index, "change of members refused"),
            Err(error) => warn!(%error, index = entry.index, "change of members cannot be read"),
        }
    }
}
