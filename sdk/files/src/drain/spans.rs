//! Ranges of offsets, in two forms.

use sdk_config::ledger::Span;
use smallvec::SmallVec;

/// Beyond this number the two ranges with the smallest gap between them become one.
const RANGES_MAX: usize = 64;

/// Where in the lineage the events of one file lie, so that building it need not read everything in
/// between: ranges `[from, to)` of whole puts, ascending. May cover more than it has to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Spans {
    ranges: SmallVec<[(u64, u64); 2]>,
}

impl Spans {
    /// One range.
    pub(crate) fn one(from: u64, to: u64) -> Spans {
        Spans { ranges: SmallVec::from_slice(&[(from, to)]) }
    }

    /// Adds the range of a put that lies at or above the last one.
    #[inline]
    pub(crate) fn touch(&mut self, from: u64, to: u64) {
        match self.ranges.last_mut() {
            Some((_, end)) if from <= *end => *end = to.max(*end),
            _ => self.push(from, to),
        }
    }

    /// Adds what another, later file has.
    pub(crate) fn append(&mut self, other: &Spans) {
        for (from, to) in &other.ranges {
            self.touch(*from, *to);
        }
    }

    /// The ranges, ascending.
    pub(crate) fn ranges(&self) -> &[(u64, u64)] {
        &self.ranges
    }

    /// Forgets what lies below `offset`.
    pub(crate) fn cut_below(&mut self, offset: u64) {
        self.ranges.retain(|(_, to)| *to > offset);
        if let Some((from, _)) = self.ranges.first_mut() {
            *from = offset.max(*from);
        }
    }

    fn push(&mut self, from: u64, to: u64) {
        self.ranges.push((from, to));
        if self.ranges.len() > RANGES_MAX {
            let gap = |at: &usize| self.ranges[at + 1].0 - self.ranges[*at].1;
            let at = (0..self.ranges.len() - 1).min_by_key(gap).expect("there are two ranges");
            let (_, to) = self.ranges.remove(at + 1);
            self.ranges[at].1 = to;
        }
    }
}

/// What the ledger has of one bucket above the floor: events of the bucket in here are taken care
/// of. Ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Recorded {
    spans: Vec<Span>,
}

impl Recorded {
    /// Adds a range. `continues`: no event of the bucket between the range before and this one is
    /// anywhere else, so that the two are one.
    pub(crate) fn add(&mut self, span: Span, continues: bool) {
        let at = self.spans.partition_point(|known| known.first < span.first);
        if at > 0 {
            let before = &mut self.spans[at - 1];
            if continues || span.first <= before.last.saturating_add(1) {
                before.last = before.last.max(span.last);
                return;
            }
        }
        self.spans.insert(at, span);
    }

    #[inline]
    pub(crate) fn contains(&self, offset: u64) -> bool {
        let at = self.spans.partition_point(|known| known.last < offset);
        self.spans.get(at).is_some_and(|known| known.first <= offset)
    }

    /// The last offset in it.
    pub(crate) fn end(&self) -> Option<u64> {
        self.spans.last().map(|span| span.last)
    }

    pub(crate) fn forget_below(&mut self, floor: u64) {
        self.spans.retain(|span| span.last >= floor);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_stay_few_and_cover_what_they_were_given() {
        let mut spans = Spans::default();
        let given: Vec<(u64, u64)> = (0..1000).map(|n| (n * n * 3, n * n * 3 + 2)).collect();
        for (from, to) in &given {
            spans.touch(*from, *to);
        }
        assert!(spans.ranges().len() <= RANGES_MAX);
        for (from, to) in given {
            let covered = spans.ranges().iter().any(|range| range.0 <= from && to <= range.1);
            assert!(covered, "{from}..{to}");
        }
    }

    #[test]
    fn recorded_ranges_join_only_when_they_continue() {
        let span = |first, last| Span { first, last };
        let mut recorded = Recorded::default();
        recorded.add(span(0, 4), true);
        recorded.add(span(8, 9), false);
        recorded.add(span(12, 20), true);
        let held: Vec<u64> = (0..30).filter(|offset| recorded.contains(*offset)).collect();
        let expected: Vec<u64> = (0..=4).chain(8..=20).collect();
        assert_eq!(held, expected);
        assert_eq!(recorded.end(), Some(20));
        recorded.forget_below(5);
        assert!(!recorded.contains(3) && recorded.contains(8));
    }
}
