//! What parts of the state take in memory and in a snapshot, reckoned so that it is the same on
//! every replica: by content, not by capacity.

use std::collections::{BTreeMap, BTreeSet};

use sdk_config::ledger::{BucketKey, Hole, Intent, Root, Span};

use super::State;

/// The bytes a part of the state is reckoned to take.
pub(crate) trait Cost {
    fn cost(&self) -> u64;
}

/// What an entry of a map or list costs beside its content.
pub(crate) const ENTRY: u64 = 32;

impl Cost for str {
    fn cost(&self) -> u64 {
        ENTRY + self.len() as u64
    }
}

impl Cost for String {
    fn cost(&self) -> u64 {
        self.as_str().cost()
    }
}

impl Cost for u32 {
    fn cost(&self) -> u64 {
        4
    }
}

impl Cost for u64 {
    fn cost(&self) -> u64 {
        8
    }
}

impl Cost for Span {
    fn cost(&self) -> u64 {
        16
    }
}

impl Cost for Hole {
    fn cost(&self) -> u64 {
        ENTRY
    }
}

impl Cost for BucketKey {
    fn cost(&self) -> u64 {
        self.directory.cost() + self.prefix.cost() + self.suffix.cost()
    }
}

impl Cost for Intent {
    fn cost(&self) -> u64 {
        // The key of the bucket is counted once, in the map.
        64 + self.name.cost()
    }
}

impl Cost for Root {
    fn cost(&self) -> u64 {
        16 + self.path.cost()
    }
}

impl<T: Cost> Cost for [T] {
    fn cost(&self) -> u64 {
        self.iter().map(Cost::cost).sum()
    }
}

impl<K: Cost, V: Cost> Cost for BTreeMap<K, V> {
    fn cost(&self) -> u64 {
        self.iter().map(|(key, value)| ENTRY + key.cost() + value.cost()).sum()
    }
}

impl<T: Cost> Cost for BTreeSet<T> {
    fn cost(&self) -> u64 {
        self.iter().map(|entry| ENTRY + entry.cost()).sum()
    }
}

impl<A: Cost, B: Cost> Cost for (A, B) {
    fn cost(&self) -> u64 {
        self.0.cost() + self.1.cost()
    }
}

impl State {
    /// Reckons the size from nothing, as after reading a snapshot.
    pub(crate) fn recount(&mut self) {
        self.flows.values_mut().for_each(super::Flow::recount);
        self.size = self.reckon();
    }

    /// The size by content: what [`State::size`] must be at any time.
    pub fn reckon(&self) -> u64 {
        let nodes: u64 = self.nodes.values().map(Cost::cost).sum();
        let flows: u64 = self.flows.values().map(Cost::cost).sum();
        let roots: u64 = self.roots.keys().map(|path| path.cost() + 16).sum();
        let penalties: u64 = self.penalties.values().map(Cost::cost).sum();
        nodes + flows + roots + penalties
    }
}
