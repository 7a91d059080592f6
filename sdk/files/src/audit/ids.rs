//! Which event ids were seen, as ranges: sequences are dense, so that millions of ids are few ranges.

use std::collections::{BTreeMap, HashMap};

use sdk_event::{EventId, ProducerId};

#[derive(Debug, Default)]
pub(super) struct IdSet {
    /// First sequence of each range to the one behind its last.
    ranges: HashMap<(ProducerId, u64), BTreeMap<u64, u64>>,
}

impl IdSet {
    /// Adds an id; false if it is there already.
    pub(super) fn add(&mut self, id: EventId) -> bool {
        let EventId { producer, generation, sequence } = id;
        let ranges = self.ranges.entry((producer, generation)).or_default();
        let end = sequence.saturating_add(1);
        let before = ranges.range_mut(..=sequence).next_back();
        let joined = match before {
            Some((_, known)) if *known > sequence => return false,
            Some((first, known)) if *known == sequence => {
                *known = end;
                *first
            }
            _ => {
                ranges.insert(sequence, end);
                sequence
            }
        };
        if let Some(after) = ranges.remove(&end) {
            ranges.insert(joined, after);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_new_once_and_dense_ids_are_one_range() {
        let mut ids = IdSet::default();
        let id = |sequence| EventId { producer: ProducerId([1; 16]), generation: 1, sequence };
        for sequence in [5, 3, 4, 9, 8, 0, 1, 2, 7, 6] {
            assert!(ids.add(id(sequence)), "{sequence}");
            assert!(!ids.add(id(sequence)), "{sequence}");
        }
        assert_eq!(ids.ranges.values().map(BTreeMap::len).sum::<usize>(), 1);
    }
}
