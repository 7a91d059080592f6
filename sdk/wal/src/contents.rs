//! What a segment holds: which offsets of which lineages, and roughly where.

use crate::entry::LISTED_KIND_MIN;
use crate::flush::{Directory, DirectoryEntry};
use crate::segment::FIRST_FLUSH_AT;
use foldhash::{HashMap, HashMapExt};
use sdk_event::Lineage;

/// A run gets a row about every so many bytes of the segment.
pub(crate) const ROW_STRIDE: u32 = 1 << 20;

/// Records of listed kinds that a segment lists; of more, the latest.
pub(crate) const LISTED_MAX: usize = 4096;

/// Offsets of a lineage that stand in a segment without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) lineage: Lineage,
    pub(crate) first: u64,
    pub(crate) end: u64,
    /// Bytes of the records.
    pub(crate) bytes: u64,
    /// Where its first flush begins.
    pub(crate) at: u32,
    /// They stand elsewhere too, or did.
    pub(crate) copied: bool,
    /// Not needed any more, whatever floors say: forgotten, or copied on. Known in memory only.
    pub(crate) dead: bool,
}

impl Run {
    pub(crate) fn contains(&self, lineage: &Lineage, offset: u64) -> bool {
        self.lineage == *lineage && self.first <= offset && offset < self.end
    }
}

/// A place inside a run from which a search may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The index of the run.
    pub(crate) run: u32,
    /// A flush begins at `at` whose first record of the run has this offset.
    pub(crate) offset: u64,
    pub(crate) at: u32,
}

/// A record of a listed kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListedRow {
    pub(crate) run: u32,
    pub(crate) kind: u8,
    pub(crate) first_offset: u64,
    pub(crate) count: u32,
}

/// What a segment holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// In the order in which they begin.
    pub(crate) runs: Vec<Run>,
    /// Of every run, ascending. Dropped from memory once the footer has them.
    pub(crate) rows: Vec<Row>,
    pub(crate) listed: Vec<ListedRow>,
    /// The number of the first flush; 0 for none.
    pub(crate) first_flush: u64,
    /// The number of the last flush; 0 for none.
    pub(crate) last_flush: u64,
    /// Where the next flush would begin.
    pub(crate) end: u32,
    open: OpenRuns,
}

/// The run that the next record of a lineage would continue, and where that run has its last row.
#[derive(Clone, Debug, Default)]
struct OpenRuns(HashMap<(Lineage, bool), (usize, u32)>);

impl PartialEq for OpenRuns {
    // Derived from the runs: no part of what a segment holds.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for OpenRuns {}

impl Contents {
    pub(crate) fn new() -> Self {
        Self { end: FIRST_FLUSH_AT, ..Self::default() }
    }

    /// Adds a flush; the next begins at `next_at`. Returns the index of the first run that it began.
    pub(crate) fn add(&mut self, number: u64, directory: &Directory, next_at: u32) -> usize {
        let known = self.runs.len();
        if self.first_flush == 0 {
            self.first_flush = number;
        }
        self.last_flush = number;
        self.end = next_at;
        directory.entries.iter().for_each(|entry| self.add_record(entry, directory.at));
        known
    }

    fn add_record(&mut self, entry: &DirectoryEntry, at: u32) {
        let key = (entry.lineage, entry.copied);
        let run = match self.open.0.get_mut(&key) {
            Some((run, row_at)) if self.runs[*run].end == entry.first_offset => {
                if at - *row_at >= ROW_STRIDE {
                    *row_at = at;
                    self.rows.push(Row { run: *run as u32, offset: entry.first_offset, at });
                }
                let index = *run;
                let run = &mut self.runs[index];
                run.end = entry.end();
                run.bytes += entry.record_bytes();
                index
            }
            _ => {
                self.open.0.insert(key, (self.runs.len(), at));
                self.runs.push(Run {
                    lineage: entry.lineage,
                    first: entry.first_offset,
                    end: entry.end(),
                    bytes: entry.record_bytes(),
                    at,
                    copied: entry.copied,
                    dead: false,
                });
                self.runs.len() - 1
            }
        };
        if entry.kind >= LISTED_KIND_MIN {
            if self.listed.len() == LISTED_MAX {
                self.listed.remove(0);
            }
            self.listed.push(ListedRow {
                run: run as u32,
                kind: entry.kind,
                first_offset: entry.first_offset,
                count: entry.count,
            });
        }
    }

    /// Whether any flush is in the segment.
    pub(crate) fn is_empty(&self) -> bool {
        self.last_flush == 0
    }

    /// The run that holds an offset; of several the one that began last.
    pub(crate) fn run_of(&self, lineage: &Lineage, offset: u64) -> Option<(usize, &Run)> {
        let mut runs = self.runs.iter().enumerate().rev();
        runs.find(|(_, run)| !run.dead && run.contains(lineage, offset))
    }

    /// Where to begin the search for an offset of a run.
    pub(crate) fn seek(&self, run: usize, offset: u64) -> u32 {
        let rows = self.rows.iter().filter(|row| row.run as usize == run);
        let best = rows.take_while(|row| row.offset <= offset).last();
        best.map_or(self.runs[run].at, |row| row.at)
    }

    /// Drops what only the writer of the segment needs, once the footer holds the rest.
    pub(crate) fn close(&mut self) {
        self.rows = Vec::new();
        self.open = OpenRuns(HashMap::new());
        self.runs.shrink_to_fit();
        self.listed.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(at: u32, records: &[(u64, u64, u32, bool)]) -> Directory {
        let entries = records.iter().map(|&(flow, first_offset, count, copied)| DirectoryEntry {
            lineage: Lineage { flow, shard: 0, epoch: 0 },
            first_offset,
            count,
            identity: None,
            length: 10,
            crc: 0,
            kind: if first_offset == 4 { 130 } else { 1 },
            copied,
        });
        Directory { segment: 1, at, data_at: 64, entries: entries.collect() }
    }

    #[test]
    fn records_join_to_runs() {
        let mut contents = Contents::new();
        contents.add(5, &directory(4096, &[(1, 0, 4, false), (2, 9, 1, false)]), 8192);
        contents.add(6, &directory(8192, &[(1, 4, 2, false), (1, 1, 1, true)]), 12288);
        contents.add(7, &directory(ROW_STRIDE * 2, &[(1, 6, 2, false)]), ROW_STRIDE * 2 + 4096);
        let runs: Vec<_> = contents.runs.iter().map(|r| (r.lineage.flow, r.first, r.end)).collect();
        assert_eq!(runs, [(1, 0, 8), (2, 9, 10), (1, 1, 2)]);
        let one = Lineage { flow: 1, shard: 0, epoch: 0 };
        assert_eq!(contents.run_of(&one, 7).map(|(index, _)| index), Some(0));
        assert_eq!(contents.run_of(&one, 1).map(|(index, _)| index), Some(2), "the copy");
        assert_eq!(contents.run_of(&one, 8), None);
        assert_eq!(contents.seek(0, 5), 4096);
        assert_eq!(contents.seek(0, 7), ROW_STRIDE * 2);
        assert_eq!(contents.listed.len(), 1);
        assert_eq!((contents.first_flush, contents.last_flush), (5, 7));
    }
}
