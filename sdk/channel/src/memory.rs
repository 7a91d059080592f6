//! A channel's puts in memory alone.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use sdk_flow::{ReadError, Stored};

use crate::capacity::Capacity;
use crate::reader::{Found, Supply, trim};

/// The puts of one memory channel in one lineage, until they are delivered.
///
/// Room is taken before the put has an offset, and given back when the channel's
/// floor passes it, so what is lent to a sink counts.
pub(crate) struct MemoryQueue {
    capacity: Arc<Capacity>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    floor: u64,
}

struct Item {
    stored: Stored,
    bytes: u64,
}

impl MemoryQueue {
    pub(crate) fn new(capacity: Arc<Capacity>) -> MemoryQueue {
        MemoryQueue { capacity, state: Mutex::default() }
    }

    /// Adds a put whose room is reserved. Readers see it when the watermark has
    /// passed it.
    pub(crate) fn push(&self, stored: Stored, bytes: u64) {
        self.lock().items.push_back(Item { stored, bytes });
    }

    /// Takes back what was not stored after all.
    pub(crate) fn truncate(&self, end: u64) {
        let mut state = self.lock();
        while state.items.back().is_some_and(|item| item.stored.end() > end) {
            let item = state.items.pop_back().expect("seen above");
            self.capacity.release(item.bytes);
        }
    }

    /// Takes back the put at `first_offset`, if there; the caller gives back its room.
    pub(crate) fn withdraw(&self, first_offset: u64) {
        let mut state = self.lock();
        if state.items.back().is_some_and(|item| item.stored.first_offset == first_offset) {
            state.items.pop_back();
        }
    }

    /// Everything below `floor` is delivered.
    pub(crate) fn raise_floor(&self, floor: u64) {
        let mut state = self.lock();
        state.floor = state.floor.max(floor);
        let floor = state.floor;
        while state.items.front().is_some_and(|item| item.stored.end() <= floor) {
            let item = state.items.pop_front().expect("seen above");
            self.capacity.release(item.bytes);
        }
    }

    pub(crate) fn floor(&self) -> u64 {
        self.lock().floor
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the lock is held")
    }
}

impl Drop for MemoryQueue {
    fn drop(&mut self) {
        self.truncate(0);
    }
}

/// The memory channel's supply.
pub(crate) struct MemorySupply(pub(crate) Arc<MemoryQueue>);

#[async_trait]
impl Supply for MemorySupply {
    async fn read(&mut self, from: u64, limit: u64, bytes_max: usize) -> Result<Found, ReadError> {
        let state = self.0.lock();
        if from < state.floor {
            let reason = format!("offset {from} is below the floor, which is {}", state.floor);
            return Err(ReadError::Storage(reason.into()));
        }
        let at = state.items.partition_point(|item| item.stored.end() <= from);
        let mut found = Found { stored: Vec::new(), to: limit, quiet: false };
        let mut bytes = 0;
        for item in state.items.range(at..) {
            if item.stored.end() > limit {
                break;
            }
            if bytes >= bytes_max.max(1) as u64 {
                // What lies between this put and the one before holds nothing for us.
                found.to = item.stored.first_offset;
                break;
            }
            bytes += item.bytes;
            found.stored.push(trim(item.stored.clone(), from));
        }
        Ok(found)
    }
}
