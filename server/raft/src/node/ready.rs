//! What Raft has ready, handed on in the order it asks for.

use protobuf::Message as _;
use raft::eraftpb::Message;
use tracing::warn;

use super::Node;
use super::persist::Step;
use crate::error::Fatal;
use crate::journal::Record;

impl Node {
    /// Hands on everything that is ready. Returns without waiting for any of it.
    pub(crate) fn on_ready(&mut self) -> Result<(), Fatal> {
        self.persist()?;
        while self.raw.has_ready() {
            let mut ready = self.raw.ready();
            // A leader's messages may go at once: its followers write while it does.
            self.send(ready.take_messages());

            // Raft reads what it has handed out from memory from now on; it counts as ours when it
            // is on the disk.
            if !ready.snapshot().is_empty() {
                let file = self.install(ready.snapshot())?;
                self.steps.push_back(Step::Snapshot { file: Some(Box::new(file)) });
            }
            let must_sync = ready.must_sync();
            let entries = ready.take_entries();
            let hard_state = ready.hs().cloned();
            let store = self.raw.mut_store();
            if let Some(hard_state) = hard_state {
                store.hard_state = hard_state;
            }
            store.append(entries.clone());
            // A commit index alone is found again: it needs no record of its own.
            if must_sync {
                let records = Record::split(&store.hard_state, entries);
                self.steps.extend(records.into_iter().map(Step::record));
            }
            // Peers may only see these once everything above is on the disk.
            let messages = ready.take_persisted_messages();
            self.steps.push_back(Step::Done { number: ready.number(), messages });

            let committed = ready.take_committed_entries();
            let read_states = ready.take_read_states();
            self.raw.advance_append_async(ready);

            self.apply_committed(committed)?;
            self.answer_barriers(read_states);
            self.persist()?;
        }
        self.consider_snapshot();
        Ok(())
    }

    pub(super) fn send(&self, messages: Vec<Message>) {
        for message in messages {
            match message.write_to_bytes() {
                Ok(bytes) => self.transport.send(message.to, bytes),
                Err(error) => warn!(%error, to = message.to, "message cannot be encoded"),
            }
        }
    }
}
