//! Interning header keys while a block is built.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::PushError;
use crate::limits::KEYS_MAX;
use crate::{Headers, varint};

/// The header keys of the block being built. Those of the shared headers come first, in order.
#[derive(Clone, Default)]
pub(super) struct Keys {
    list: Vec<Key>,
    index: HashMap<Box<str>, u32, RandomState>,
    /// Which key the header at each place of the event before had: mostly the same again.
    guess: Vec<u32>,
    /// Bytes of the list and of the shared headers as encoded, without the two counts.
    encoded: usize,
    /// Bytes of keys and values of the shared headers.
    pub(super) shared_bytes: usize,
    event: u64,
}

#[derive(Clone)]
struct Key {
    text: Box<str>,
    /// Key and value of the shared header under it, 0 if there is none.
    shared_bytes: usize,
    /// The last event that had it.
    event: u64,
}

impl Keys {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.index.clear();
        self.encoded = 0;
        self.shared_bytes = 0;
    }

    /// Forgets the keys from `len` on, which no shared header has.
    pub(super) fn truncate(&mut self, len: usize) {
        for key in self.list.drain(len..) {
            self.index.remove(&key.text);
            self.encoded -= varint::len(key.text.len() as u64) + key.text.len();
        }
    }

    /// Starts over with the keys of the shared headers.
    pub(super) fn share(&mut self, shared: &Headers) {
        self.clear();
        for (place, (key, value)) in shared.iter().enumerate() {
            self.add(key, key.len() + value.len());
            self.shared_bytes += key.len() + value.len();
            self.encoded +=
                varint::len(place as u64) + varint::len(value.len() as u64) + value.len();
        }
    }

    pub(super) fn next_event(&mut self) {
        self.event += 1;
    }

    /// The index of `key` for the own header at `place`, and what its shared header takes.
    pub(super) fn use_own(&mut self, place: usize, key: &str) -> Result<(u32, usize), PushError> {
        let guess = self.guess.get(place).copied();
        let guessed = guess.filter(|guess| {
            self.list.get(*guess as usize).is_some_and(|known| *known.text == *key)
        });
        let found = guessed.or_else(|| self.index.get(key).copied());
        let index = match found {
            Some(index) => index,
            None if self.list.len() == KEYS_MAX => {
                return Err(PushError::Full { field: "keys", limit: KEYS_MAX as u64 });
            }
            None => self.add(key, 0),
        };
        match self.guess.get_mut(place) {
            Some(guess) => *guess = index,
            None => self.guess.push(index),
        }
        let known = &mut self.list[index as usize];
        if known.event == self.event {
            return Err(PushError::DuplicateKey { key: key.to_owned() });
        }
        known.event = self.event;
        Ok((index, known.shared_bytes))
    }

    fn add(&mut self, key: &str, shared_bytes: usize) -> u32 {
        let index = self.list.len() as u32;
        self.list.push(Key { text: key.into(), shared_bytes, event: 0 });
        self.index.insert(key.into(), index);
        self.encoded += varint::len(key.len() as u64) + key.len();
        index
    }

    fn shared_len(&self) -> usize {
        self.list.iter().take_while(|key| key.shared_bytes > 0).count()
    }

    /// Bytes that [`write`](Self::write) appends.
    pub(super) fn encoded_bytes(&self) -> usize {
        // The count of shared headers is at most 64: one byte.
        varint::len(self.list.len() as u64) + 1 + self.encoded
    }

    /// Appends keys and shared headers.
    pub(super) fn write(&self, shared: &Headers, out: &mut Vec<u8>) {
        varint::put(out, self.list.len() as u64);
        for key in &self.list {
            varint::put(out, key.text.len() as u64);
            out.extend_from_slice(key.text.as_bytes());
        }
        debug_assert_eq!(self.shared_len(), shared.len());
        varint::put(out, shared.len() as u64);
        for (index, (_, value)) in shared.iter().enumerate() {
            varint::put(out, index as u64);
            varint::put(out, value.len() as u64);
            out.extend_from_slice(value.as_bytes());
        }
    }
}
