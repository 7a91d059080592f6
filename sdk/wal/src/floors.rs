//! Which offsets are still needed, and so which segments are not.

use crate::contents::Run;
use crate::index::{Index, Segment};
use sdk_event::Lineage;
use std::ops::Range;

/// Which offsets of a lineage are needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Below it nothing is.
    pub(crate) floor: u64,
    /// From here on everything is void.
    pub(crate) cut: Option<u64>,
}

impl Needs {
    /// How many of the offsets are needed.
    pub(crate) fn count(&self, offsets: Range<u64>) -> u64 {
        let end = self.cut.map_or(offsets.end, |cut| offsets.end.min(cut));
        end.saturating_sub(offsets.start.max(self.floor))
    }

    /// Whether any of the offsets is needed.
    pub(crate) fn any(&self, offsets: Range<u64>) -> bool {
        self.count(offsets) > 0
    }
}

impl Index {
    /// Raises the floor of a lineage.
    pub(crate) fn raise_floor(&mut self, lineage: Lineage, floor: u64) {
        let needs = &mut self.lineages.entry(lineage).or_default().needs;
        needs.floor = needs.floor.max(floor);
    }

    /// Ends a lineage at `end`; a later cut can only be lower.
    pub(crate) fn cut(&mut self, lineage: Lineage, end: u64) {
        let state = self.lineages.entry(lineage).or_default();
        state.needs.cut = Some(state.needs.cut.map_or(end, |cut| cut.min(end)));
        state.announce();
    }

    /// Drops a lineage.
    pub(crate) fn forget(&mut self, lineage: Lineage) {
        self.lineages.remove(&lineage);
        let segments = self.segments.values_mut();
        let runs = segments.flat_map(|segment| &mut segment.contents.runs);
        runs.filter(|run| run.lineage == lineage).for_each(|run| run.dead = true);
    }

    /// Whether any of these offsets is needed.
    pub(crate) fn needs(&self, lineage: &Lineage, offsets: Range<u64>) -> bool {
        self.lineages.get(lineage).is_some_and(|state| state.needs.any(offsets))
    }

    /// How many bytes of a run are needed, about.
    pub(crate) fn needed_bytes(&self, run: &Run) -> u64 {
        let Some(state) = self.lineages.get(&run.lineage).filter(|_| !run.dead) else { return 0 };
        let needed = state.needs.count(run.first..run.end);
        let share = u128::from(run.bytes) * u128::from(needed);
        (share / u128::from((run.end - run.first).max(1))) as u64
    }

    fn is_needed(&self, run: &Run) -> bool {
        let state = self.lineages.get(&run.lineage).filter(|_| !run.dead);
        state.is_some_and(|state| state.needs.any(run.first..run.end))
    }

    /// Segments of which nothing is needed.
    pub(crate) fn unneeded(&self) -> Vec<u64> {
        let unneeded = |segment: &Segment| !segment.contents.runs.iter().any(|r| self.is_needed(r));
        let closed = self.closed().filter(|(_, segment)| unneeded(segment));
        closed.map(|(number, _)| number).collect()
    }

    /// Segments that may be given up once nothing in them is needed: all but the tail, which has the last flush.
    pub(crate) fn closed(&self) -> impl Iterator<Item = (u64, &Segment)> {
        let closed = self.segments.iter().filter(|(number, _)| Some(**number) != self.tail);
        closed.map(|(number, segment)| (*number, segment))
    }

    /// Marks the runs dead of which a later segment has a copy of everything.
    pub(crate) fn bury_copied(&mut self) {
        let copies: Vec<(u64, Run)> = self
            .segments
            .iter()
            .flat_map(|(number, segment)| segment.contents.runs.iter().map(|r| (*number, r)))
            .filter(|(_, run)| run.copied)
            .map(|(number, run)| (number, run.clone()))
            .collect();
        for (number, copy) in copies {
            let older = self.segments.range_mut(..number);
            for run in older.flat_map(|(_, segment)| &mut segment.contents.runs) {
                let inside = copy.first <= run.first && run.end <= copy.end;
                run.dead |= run.lineage == copy.lineage && inside;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needed_is_what_lies_between_floor_and_cut() {
        let count = |floor, cut, offsets| Needs { floor, cut }.count(offsets);
        assert_eq!(count(0, None, 5..9), 4);
        assert_eq!(count(7, None, 5..9), 2);
        assert_eq!(count(9, None, 5..9), 0);
        assert_eq!(count(0, Some(6), 5..9), 1);
        assert_eq!(count(0, Some(5), 5..9), 0);
        assert_eq!(count(20, Some(3), 5..9), 0);
    }
}
