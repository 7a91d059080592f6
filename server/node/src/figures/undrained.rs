//! What waits for a drain that has not begun.

use super::Figures;
use crate::drains::DrainKey;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A drain begins within milliseconds. One that has a token to wait for says itself what it waits for.
const BEGINS_WITHIN: Duration = Duration::from_secs(5);

impl Figures {
    /// A sentence for each sink group of a flow that has events waiting in lineages which were opened a
    /// while ago and which nothing drains. It needs no request in between to notice.
    pub(super) fn undrained(&self) -> Vec<String> {
        let now = self.clock.monotonic();
        let running: BTreeSet<DrainKey> =
            self.drains.running().into_iter().map(|(key, _)| key).collect();
        let idle = |key: &DrainKey| {
            let opened = self.lineages.get(key.lineage).map(|held| held.opened);
            !running.contains(key)
                && opened.is_some_and(|opened| now.saturating_sub(opened) > BEGINS_WITHIN)
        };
        let node = self.cluster.node();
        let due = self.cluster.read(|state| state.drains(node));
        let due = due.into_iter().map(|it| DrainKey { lineage: it.lineage, group: it.group });
        let idle: BTreeSet<DrainKey> = due.filter(idle).collect();
        // The books are read only when something is wrong.
        if idle.is_empty() {
            return Vec::new();
        }
        let mut waiting: BTreeMap<(String, String), (u64, usize)> = BTreeMap::new();
        for book in self.books() {
            for living in &book.row.living {
                let key = DrainKey { lineage: living.lineage, group: living.group };
                let found = self.pending_in(living, &book.row.key.channel);
                let Some((_, pending @ 1..)) = found.filter(|_| idle.contains(&key)) else {
                    continue;
                };
                let group = (book.row.name.clone(), book.row.key.group.clone());
                let (events, lineages) = waiting.entry(group).or_default();
                *events += pending;
                *lineages += 1;
            }
        }
        let sentence = |((flow, group), (events, lineages)): ((String, String), (u64, usize))| {
            format!(
                "{events} events wait for group {flow}/{group} in {lineages} lineages that nothing \
                 drains: the node's log tells why, and a restart begins all drains again"
            )
        };
        waiting.into_iter().map(sentence).collect()
    }
}
