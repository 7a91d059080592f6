//! What waits for a drain that gets nowhere.

use super::Figures;
use crate::drains::{BEGINS_WITHIN, DrainKey, Idle};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

impl Figures {
    /// A sentence for each sink group of a flow that has events waiting in lineages which nothing drains,
    /// with the worst that is known of them, and one for shards that take nothing.
    pub(super) fn undrained(&self) -> Vec<String> {
        // A node that starts has not begun, one that stops has ended; each says that of itself.
        if !self.ready.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let unsettled = self.lineages.unsettled();
        let idle = self.idle();
        // The books are read only when something is wrong.
        if idle.is_empty() {
            return unsettled.into_iter().collect();
        }
        let mut waiting: BTreeMap<(String, String), (u64, usize, &Idle)> = BTreeMap::new();
        for book in self.books() {
            for living in &book.row.living {
                let key = DrainKey { lineage: living.lineage, group: living.group };
                let Some(idle) = idle.get(&key) else { continue };
                let found = self.pending_in(living, &book.row.key.channel);
                let Some((_, pending @ 1..)) = found else { continue };
                let group = (book.row.name.clone(), book.row.key.group.clone());
                let (events, lineages, worst) = waiting.entry(group).or_insert((0, 0, idle));
                *events += pending;
                *lineages += 1;
                *worst = idle.max(*worst);
            }
        }
        let waiting = waiting.into_iter().map(|((flow, group), (events, lineages, worst))| {
            format!("{events} events wait for group {flow}/{group} in {lineages} lineages: {worst}")
        });
        unsettled.into_iter().chain(waiting).collect()
    }

    /// Drains that are due here, of lineages that were opened a while ago, and get nowhere.
    fn idle(&self) -> BTreeMap<DrainKey, Idle> {
        let (now, node) = (self.clock.monotonic(), self.cluster.node());
        let due = self.cluster.read(|state| state.drains(node));
        let idle = due.into_iter().filter_map(|due| {
            let opened = self.lineages.get(due.lineage)?.opened;
            let key = DrainKey { lineage: due.lineage, group: due.group };
            let idle = self.drains.idle(key)?;
            let new = idle == Idle::Unbegun && now.saturating_sub(opened) < BEGINS_WITHIN;
            (!new).then_some((key, idle))
        });
        idle.collect()
    }
}
