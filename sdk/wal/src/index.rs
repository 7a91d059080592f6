//! Which segments there are and what is in them, in memory.

use crate::contents::{Contents, Run};
use crate::floors::Needs;
use crate::usage::{LineageExtent, Listed};
use foldhash::{HashMap, HashMapExt};
use sdk_event::Lineage;
use std::collections::BTreeMap;
use tokio::sync::watch;

/// A segment that holds something, or is about to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Segment {
    pub(crate) life: u64,
    pub(crate) contents: Contents,
    /// Its footer has the rows.
    pub(crate) footer: bool,
    /// Something in it that is needed cannot be read, so that it cannot be copied forward.
    pub(crate) stuck: bool,
}

/// What is known of a lineage.
#[derive(Debug)]
pub(crate) struct LineageState {
    /// The offset after the last durable one; `None` until there is one.
    pub(crate) end: Option<u64>,
    /// Which of its offsets are needed.
    pub(crate) needs: Needs,
    /// Follows the end.
    pub(crate) durable: watch::Sender<u64>,
}

impl Default for LineageState {
    fn default() -> Self {
        Self { end: None, needs: Needs::default(), durable: watch::Sender::new(0) }
    }
}

impl LineageState {
    /// The end that readers see.
    pub(crate) fn visible_end(&self) -> u64 {
        let end = self.end.unwrap_or(0);
        self.needs.cut.map_or(end, |cut| end.min(cut))
    }

    /// Tells whoever follows.
    pub(crate) fn announce(&self) {
        let end = self.visible_end();
        self.durable.send_if_modified(|durable| std::mem::replace(durable, end) != end);
    }
}

/// Where a search in a segment begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) segment: u64,
    pub(crate) life: u64,
    /// The index of the run in the segment.
    pub(crate) run: usize,
    pub(crate) run_first: u64,
    pub(crate) run_end: u64,
    /// A flush begins here, at or before the one that holds the offset.
    pub(crate) at: u32,
    /// The flushes of the segment end here.
    pub(crate) end: u32,
    /// The footer knows a better place to begin.
    pub(crate) footer: bool,
}

/// What the log knows of itself.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) segments: BTreeMap<u64, Segment>,
    pub(crate) lineages: HashMap<Lineage, LineageState>,
    /// The segment being written.
    pub(crate) tail: Option<u64>,
    /// The number of the last flush.
    pub(crate) last_flush: u64,
}

impl Index {
    pub(crate) fn new() -> Self {
        Self { lineages: HashMap::new(), ..Self::default() }
    }

    /// The end of a lineage that readers see.
    pub(crate) fn end(&self, lineage: &Lineage) -> u64 {
        self.lineages.get(lineage).map_or(0, LineageState::visible_end)
    }

    /// Where an offset stands, if `segment` has it.
    pub(crate) fn find_in(&self, number: u64, lineage: &Lineage, offset: u64) -> Option<Found> {
        let segment = self.segments.get(&number)?;
        let (index, run) = segment.contents.run_of(lineage, offset)?;
        Some(Found {
            segment: number,
            life: segment.life,
            run: index,
            run_first: run.first,
            run_end: run.end,
            at: segment.contents.seek(index, offset),
            end: segment.contents.end,
            footer: segment.footer,
        })
    }

    /// Where an offset stands: in the latest segment below `below` that has it.
    pub(crate) fn find(&self, lineage: &Lineage, offset: u64, below: u64) -> Option<Found> {
        let mut segments = self.segments.range(..below).rev();
        segments.find_map(|(&number, _)| self.find_in(number, lineage, offset))
    }

    /// Whether another segment has an offset too.
    pub(crate) fn stands_elsewhere(&self, lineage: &Lineage, offset: u64, segment: u64) -> bool {
        let mut others = self.segments.iter().filter(|(number, _)| **number != segment);
        others.any(|(_, other)| other.contents.run_of(lineage, offset).is_some())
    }

    /// The lowest offset at or above `from` that some segment has.
    pub(crate) fn next_offset(&self, lineage: &Lineage, from: u64) -> Option<u64> {
        let runs = self.runs_of(lineage).filter(|run| run.end > from);
        runs.map(|run| run.first.max(from)).min()
    }

    fn runs_of<'a>(&'a self, lineage: &Lineage) -> impl Iterator<Item = &'a Run> + use<'a> {
        let lineage = *lineage;
        let runs = self.segments.values().flat_map(|segment| &segment.contents.runs);
        runs.filter(move |run| !run.dead && run.lineage == lineage)
    }

    /// Every lineage of which something is left, in order.
    pub(crate) fn extents(&self) -> Vec<LineageExtent> {
        let mut extents: BTreeMap<Lineage, LineageExtent> = BTreeMap::new();
        let runs = self.segments.values().flat_map(|segment| &segment.contents.runs);
        for run in runs.filter(|run| !run.dead) {
            let Some(state) = self.lineages.get(&run.lineage) else { continue };
            let extent = extents.entry(run.lineage).or_insert_with(|| LineageExtent {
                lineage: run.lineage,
                first: run.first,
                end: state.visible_end(),
                floor: state.needs.floor,
                bytes: 0,
            });
            extent.first = extent.first.min(run.first);
            extent.bytes += run.bytes;
        }
        extents.into_values().collect()
    }

    /// What is left of a lineage.
    pub(crate) fn extent(&self, lineage: &Lineage) -> Option<LineageExtent> {
        let state = self.lineages.get(lineage)?;
        let first = self.next_offset(lineage, 0)?;
        let bytes = self.runs_of(lineage).map(|run| run.bytes).sum();
        let (end, floor) = (state.visible_end(), state.needs.floor);
        Some(LineageExtent { lineage: *lineage, first, end, floor, bytes })
    }

    /// Records of a listed kind, ascending, each once.
    pub(crate) fn listed(&self, lineage: &Lineage, kind: u8) -> Vec<Listed> {
        let end = self.end(lineage);
        let mut found = BTreeMap::new();
        for contents in self.segments.values().map(|segment| &segment.contents) {
            for row in contents.listed.iter().filter(|row| row.kind == kind) {
                let run = &contents.runs[row.run as usize];
                if run.lineage == *lineage && !run.dead && row.first_offset < end {
                    let (first_offset, count) = (row.first_offset, row.count);
                    found.insert(first_offset, Listed { first_offset, count, kind });
                }
            }
        }
        found.into_values().collect()
    }

    /// Bytes of the log from the segment that holds an offset to the end.
    pub(crate) fn span_bytes(&self, lineage: &Lineage, from: u64) -> u64 {
        let holds = |segment: &Segment| {
            let mut runs = segment.contents.runs.iter();
            runs.any(|run| !run.dead && run.lineage == *lineage && run.end > from)
        };
        let Some((&first, _)) = self.segments.iter().find(|(_, segment)| holds(segment)) else {
            return 0;
        };
        let spanned = self.segments.range(first..);
        spanned.map(|(_, segment)| u64::from(segment.contents.end)).sum()
    }
}
