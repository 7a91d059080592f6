//! Up to when everything is final: what a job needs to know that a partition is complete.

use super::{BookRow, Figures};
use crate::drains::{DrainKey, Running};
use server_cluster::FlowId;
use std::collections::BTreeMap;

/// When each drain of a flow was last seen to have nothing left, on the wall clock. What was put later
/// was put later than that.
pub(super) type Quiet = BTreeMap<DrainKey, i64>;

impl Figures {
    /// Everything of a flow that was put before this is final: the lowest over all its drains.
    /// `None` while that is not known: something waits of which nobody can say since when, because
    /// its drain has not read yet, or does not run.
    ///
    /// `now_ms` was looked up before `books` were read.
    pub(super) fn final_before_ms(
        &self,
        flow: FlowId,
        books: &[BookRow],
        running: &BTreeMap<DrainKey, Running>,
        quiet: &mut Quiet,
        now_ms: i64,
    ) -> Option<i64> {
        let (mut before, mut still) = (Some(now_ms), Quiet::new());
        let found = self.drains.found();
        for (key, waits) in self.durable(flow, books).into_iter().chain(self.in_memory(flow)) {
            if !waits {
                still.insert(key, now_ms);
                continue;
            }
            let known = quiet.get(&key).copied();
            still.extend(known.map(|at_ms| (key, at_ms)));
            let read = running.get(&key).and_then(Running::final_before_ms);
            // Each is right, and the latest says most.
            let known = read.max(known).max(found.get(&key).copied());
            before = before.zip(known).map(|(before, at_ms)| before.min(at_ms));
        }
        *quiet = still;
        before
    }

    /// The drains of durable channels, and whether something waits for each.
    fn durable(&self, flow: FlowId, books: &[BookRow]) -> Vec<(DrainKey, bool)> {
        let mut drains = Vec::new();
        for book in books.iter().filter(|book| book.row.flow == flow) {
            for living in &book.row.living {
                let key = DrainKey { lineage: living.lineage, group: living.group };
                let written = self.lineages.get(living.lineage);
                let written = written.is_some_and(|held| held.held.is_written_to());
                let pending = self.pending_in(living, &book.row.key.channel);
                let nothing = !written && pending.is_some_and(|(_, pending)| pending == 0);
                drains.push((key, !nothing));
            }
        }
        drains
    }

    /// The same of required memory channels, which the ledger knows nothing of.
    fn in_memory(&self, flow: FlowId) -> Vec<(DrainKey, bool)> {
        let mut drains = Vec::new();
        for (lineage, held) in self.lineages.all() {
            let groups = held.version.groups.iter().filter(|group| !group.durable);
            for group in groups.filter(|_| lineage.flow == flow) {
                let mut channels = held.version.channels.iter();
                if !channels.any(|channel| channel.number == group.channel && channel.required) {
                    continue;
                }
                let key = DrainKey { lineage, group: group.number };
                let waits = held.held.is_written_to() || held.held.waits_in_memory(group.channel);
                drains.push((key, waits));
            }
        }
        drains
    }
}

#[cfg(test)]
mod tests;
