//! Looks into a log's directory without the lock and without changing anything, also beside a running node.
//!
//! What a node does meanwhile is seen or not: a segment that begins another life while it is read is left out, and the
//! last flush, which may be half written, is never called bad.

use crate::contents::Contents;
use crate::flush::Directory;
use crate::footer;
use crate::quarantine::Quarantined;
use crate::recovery::last_flush;
use crate::segment::{FIRST_FLUSH_AT, FileName};
use crate::storage::Storage;
use crate::walk::{Flush, Found, Opened, SegmentFile, Walk};
use bytes::Bytes;
use sdk_event::{EventId, Lineage};
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

/// Looks into the directory of a log.
pub struct Inspector {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
}

/// A file of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    /// Its number.
    pub number: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// What it is.
    pub state: SegmentState,
    /// Its life, where that can be read.
    pub life: Option<u64>,
    /// Whether it ends in a good footer.
    pub footer: bool,
    /// The number of its first flush; 0 for none.
    pub first_flush: u64,
    /// The number of its last flush; 0 for none.
    pub last_flush: u64,
    /// Where its flushes end.
    pub used_bytes: u64,
    /// What it holds.
    pub runs: Vec<RunReport>,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentState {
    /// Flushes are in it.
    Used,
    /// It will be the next.
    Empty,
    /// It is kept to be used again.
    Spare,
    /// A newer version wrote it.
    Newer,
    /// Nothing in it can be read.
    Unreadable,
}

/// Offsets of a lineage in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunReport {
    /// The lineage.
    pub lineage: Lineage,
    /// The first offset.
    pub first: u64,
    /// The offset after the last.
    pub end: u64,
    /// Bytes of the records.
    pub bytes: u64,
    /// Copied forward, or repaired.
    pub copied: bool,
}

/// A record of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordReport {
    /// The number of the segment.
    pub segment: u64,
    /// Where in the segment it begins.
    pub at: u64,
    /// The number of its flush.
    pub flush: u64,
    /// The lineage.
    pub lineage: Lineage,
    /// The offset of its first event.
    pub first_offset: u64,
    /// How many offsets it takes.
    pub count: u32,
    /// Its kind.
    pub kind: u8,
    /// The id of its first event.
    pub identity: Option<EventId>,
    /// Copied forward, or repaired.
    pub copied: bool,
    /// Put time and bytes, unless it cannot be read.
    pub content: Option<(i64, Bytes)>,
    /// It is in the last flush, which may not be finished: if it cannot be read it does not count.
    pub last_flush: bool,
}

/// What checking everything found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Segments read.
    pub segments: u64,
    /// Flushes read.
    pub flushes: u64,
    /// Records that are good.
    pub records: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Records that are not.
    pub bad: Vec<Quarantined>,
    /// Flushes whose header and repeated directory are bad: segment, and where they begin and end.
    pub lost_flushes: Vec<(u64, u32, u32)>,
    /// Records of the last flush that are not finished.
    pub unfinished: u64,
}

impl Inspector {
    /// Looks into a directory.
    pub fn new(storage: Arc<dyn Storage>, dir: impl Into<PathBuf>) -> Self {
        Self { storage, dir: dir.into() }
    }

    /// The files, segments by number, then spares.
    pub fn segments(&self) -> io::Result<Vec<SegmentReport>> {
        let mut files: Vec<(FileName, u64)> = Vec::new();
        for entry in self.storage.list(&self.dir)? {
            files.extend(FileName::parse(&entry.name).map(|name| (name, entry.length)));
        }
        files.sort();
        let mut reports = Vec::new();
        for (name, bytes) in files {
            match name {
                FileName::Segment(number) => reports.extend(self.segment(number, bytes)?),
                FileName::Spare(number) => reports.push(report(number, bytes, SegmentState::Spare)),
                FileName::New => (),
            }
        }
        Ok(reports)
    }

    /// Reads every record, in the order in which they were written, until told to stop.
    pub fn records(
        &self,
        visit: &mut dyn FnMut(RecordReport) -> ControlFlow<()>,
    ) -> io::Result<()> {
        self.walk(&mut |segment, flush, last_flush| {
            for (at, entry) in flush.directory.places() {
                let content = segment.record(at, entry)?;
                let record = RecordReport {
                    segment: segment.number,
                    at,
                    flush: flush.number,
                    lineage: entry.lineage,
                    first_offset: entry.first_offset,
                    count: entry.count,
                    kind: entry.kind,
                    identity: entry.identity,
                    copied: entry.copied,
                    content: content.map(|(header, body)| (header.put_time_ms, body)),
                    last_flush,
                };
                if visit(record).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Reads everything and checks it.
    pub fn verify(&self) -> io::Result<VerifyReport> {
        let mut report = VerifyReport::default();
        let mut last_segment = None;
        self.walk(&mut |segment, flush, last_flush| {
            if last_segment.replace(segment.number) != Some(segment.number) {
                report.segments += 1;
            }
            if flush.found == Found::Lost {
                report.lost_flushes.push((segment.number, flush.directory.at, flush.next_at));
                return Ok(ControlFlow::Continue(()));
            }
            report.flushes += 1;
            for (at, entry) in flush.directory.places() {
                if segment.record(at, entry)?.is_some() {
                    report.records += 1;
                    report.bytes += entry.record_bytes();
                } else if last_flush {
                    report.unfinished += 1;
                } else if segment.is_current() {
                    let reason = "checksum does not match";
                    report.bad.push(Quarantined::record(segment.number, entry, reason));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(report)
    }

    fn segment(&self, number: u64, bytes: u64) -> io::Result<Option<SegmentReport>> {
        let segment = match self.open(number)? {
            Some(Opened::Good(segment)) => segment,
            Some(Opened::Newer(_)) => return Ok(Some(report(number, bytes, SegmentState::Newer))),
            Some(Opened::Other | Opened::Bad) => {
                return Ok(Some(report(number, bytes, SegmentState::Unreadable)));
            }
            None => return Ok(None),
        };
        let (file, life) = (&*segment.file, segment.life);
        let footer = footer::read(file, life, number, segment.length)?;
        let has_footer = footer.is_some();
        let contents = match footer {
            Some(footer) => footer.contents,
            None => scan(&segment)?,
        };
        let state = if contents.is_empty() { SegmentState::Empty } else { SegmentState::Used };
        let runs = contents.runs.iter().map(|run| RunReport {
            lineage: run.lineage,
            first: run.first,
            end: run.end,
            bytes: run.bytes,
            copied: run.copied,
        });
        Ok(Some(SegmentReport {
            life: Some(life),
            footer: has_footer,
            first_flush: contents.first_flush,
            last_flush: contents.last_flush,
            used_bytes: u64::from(contents.end),
            runs: runs.collect(),
            ..report(number, bytes, state)
        }))
    }

    /// Visits every flush; the last argument says whether it is the log's last.
    fn walk(&self, visit: Visit<'_>) -> io::Result<()> {
        let reports = self.segments()?;
        let used: Vec<&SegmentReport> =
            reports.iter().filter(|report| report.state == SegmentState::Used).collect();
        let last = used.iter().map(|report| report.last_flush).max();
        for (at, report) in used.iter().enumerate() {
            let Some(segment) = self.same(report)? else { continue };
            let next = || used.get(at + 1).map_or(Ok(None), |next| self.same(next));
            let successor = last_flush(&segment, next)?;
            let end = report.used_bytes as u32;
            let mut walk = Walk { segment: &segment, at: FIRST_FLUSH_AT, end, successor };
            while let Some(flush) = walk.step()? {
                if visit(&segment, &flush, Some(flush.number) == last)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn open(&self, number: u64) -> io::Result<Option<Opened>> {
        match SegmentFile::open(&*self.storage, &self.dir, number, true) {
            Ok(opened) => Ok(Some(opened)),
            // Freed since the directory was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The segment of a report, unless it began another life since.
    fn same(&self, report: &SegmentReport) -> io::Result<Option<SegmentFile>> {
        Ok(match self.open(report.number)? {
            Some(Opened::Good(segment)) if Some(segment.life) == report.life => Some(segment),
            _ => None,
        })
    }
}

type Visit<'a> = &'a mut dyn FnMut(&SegmentFile, &Flush, bool) -> io::Result<ControlFlow<()>>;

fn report(number: u64, bytes: u64, state: SegmentState) -> SegmentReport {
    SegmentReport {
        number,
        bytes,
        state,
        life: None,
        footer: false,
        first_flush: 0,
        last_flush: 0,
        used_bytes: 0,
        runs: Vec::new(),
    }
}

fn scan(segment: &SegmentFile) -> io::Result<Contents> {
    let (at, end) = (FIRST_FLUSH_AT, segment.length);
    let mut walk = Walk { segment, at, end, successor: None::<(u64, Directory)> };
    let mut contents = Contents::new();
    while let Some(flush) = walk.step()? {
        if flush.found != Found::Lost {
            contents.add(flush.number, &flush.directory, flush.next_at);
        }
    }
    Ok(contents)
}
