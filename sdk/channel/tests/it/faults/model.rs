//! What a shard must remember, written again as simply as possible.

use std::collections::BTreeMap;
use std::time::Duration;

use sdk_channel::{CLOSED_KEPT, Entry, IDLE_KEPT, LastBlock, Span};
use sdk_event::ProducerId;

/// A record that changes what is remembered.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Put { generation: u64, first: u64, count: u32, crc: u32 },
    Open { generation: u64, lowest: u64 },
    Gap { to: u64 },
    Close,
}

/// A record and its offsets.
#[derive(Debug, Clone)]
pub(super) struct Journaled {
    pub(super) end: u64,
    pub(super) time_ms: i64,
    pub(super) producer: ProducerId,
    pub(super) op: Op,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) entries: BTreeMap<ProducerId, Entry>,
    /// Time in which no process has written anything, but for a day each time: it makes nobody idle.
    pub(super) unseen_ms: i64,
}

impl Model {
    /// A process begins, and the last record there is was put `down_ms` ago.
    pub(super) fn begins(&mut self, down_ms: i64) {
        // What is not worth mentioning is not written down.
        let known_ms = if self.unseen_ms > 120_000 { self.unseen_ms } else { 0 };
        self.unseen_ms = known_ms + (down_ms - 24 * 3600 * 1000).max(0);
    }

    fn is_forgotten(&self, entry: &Entry, now_ms: i64) -> bool {
        let kept: Duration = if entry.closed { CLOSED_KEPT } else { IDLE_KEPT };
        now_ms - self.unseen_ms - entry.active_ms >= kept.as_millis() as i64
    }

    /// Applies a record of the lineage of `epoch`.
    pub(super) fn apply(&mut self, epoch: u64, record: &Journaled) {
        let known = self.entries.remove(&record.producer);
        let known = known.filter(|entry| !self.is_forgotten(entry, record.time_ms));
        let mut entry = known.clone().unwrap_or_default();
        entry.active_ms = entry.active_ms.max(record.time_ms);
        entry.closed = false;
        match record.op {
            Op::Open { generation, lowest } => {
                if known.is_some() && generation > entry.generation {
                    entry.ends.push((entry.generation, entry.next));
                    entry.next = 0;
                }
                entry.generation = generation;
                entry.next = entry.next.max(lowest);
            }
            Op::Gap { to } => entry.next = to,
            Op::Close => entry.closed = true,
            Op::Put { generation, first, count, crc } => {
                assert_eq!(entry.generation, generation, "put under another generation");
                assert_eq!(entry.next, first, "put out of order");
                entry.next = first + u64::from(count);
                let last = LastBlock { generation, first_sequence: first, count, crc: Some(crc) };
                entry.last = Some(last);
                let same = entry.spans.last_mut();
                let same = same.filter(|span| (span.epoch, span.generation) == (epoch, generation));
                match same {
                    Some(span) => span.end = record.end,
                    None => {
                        entry.spans.push(Span {
                            epoch,
                            generation,
                            first_sequence: first,
                            end: record.end,
                        });
                    }
                }
            }
        }
        while entry.ends.len() > 4 {
            entry.ends.remove(0);
        }
        while entry.spans.len() > 16 {
            let oldest = entry.spans.remove(0);
            entry.spans[0].generation = oldest.generation;
            entry.spans[0].first_sequence = oldest.first_sequence;
        }
        self.entries.insert(record.producer, entry);
    }

    /// Compares with a rebuilt table, entry by entry.
    pub(super) fn check(&self, rebuilt: &BTreeMap<ProducerId, Entry>, now_ms: i64, exact: bool) {
        for (producer, expected) in &self.entries {
            if self.is_forgotten(expected, now_ms) {
                continue;
            }
            let found = rebuilt.get(producer);
            if exact {
                assert_eq!(found, Some(expected), "producer {producer}");
            } else {
                // What a flipped bit took is known by its id: enough for admission.
                let short = |entry: &Entry| (entry.generation, entry.next);
                assert_eq!(found.map(short), Some(short(expected)), "producer {producer}");
            }
        }
        for (producer, found) in rebuilt {
            let known = self.entries.contains_key(producer);
            assert!(known || self.is_forgotten(found, now_ms), "nobody knows {producer}");
        }
    }
}
