//! `verify`: the ledger against the files.

use crate::ledger::{Bitmap, acknowledged};
use crate::payload::{Line, recognise};
use anyhow::{Context, Result};
use sdk_files::reader::Records;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// What was found. The names are the fields of the JSON.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Verdict {
    pub(crate) acked: u64,
    /// Distinct events of the ledger's producers in the files.
    pub(crate) found: u64,
    /// Acknowledged, and in no file.
    pub(crate) lost: u64,
    /// Found more than once.
    pub(crate) duplicated: u64,
    /// Found behind a later one of the same producer, in files of one directory sorted by name.
    pub(crate) reordered: u64,
    /// Events of which a byte is changed or missing.
    pub(crate) corrupt: u64,
    /// Found although nobody said so to the producer: allowed.
    pub(crate) unacked_found: u64,
    /// Lines that no load generator made: somebody else's events.
    pub(crate) foreign: u64,
    /// Some of the lost, for whoever looks for them.
    #[serde(skip)]
    pub(crate) examples: Vec<String>,
}

impl Verdict {
    pub(crate) fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.reordered + self.corrupt == 0
    }
}

const EXAMPLES_MAX: usize = 10;

/// Reads every final file below `files`: nothing whose name or folder begins with `.` or `_`.
pub(crate) fn verify(ledger: &Path, files: &Path) -> Result<Verdict> {
    let acked = acknowledged(ledger)?;
    let mut found: BTreeMap<u32, Bitmap> =
        acked.keys().map(|producer| (*producer, Bitmap::default())).collect();
    let mut verdict =
        Verdict { acked: acked.values().map(Bitmap::len).sum(), ..Verdict::default() };
    let mut paths = Vec::new();
    finals(files, &mut paths)?;
    paths.sort();
    let mut last: BTreeMap<u32, u64> = BTreeMap::new();
    let mut folder: Option<&Path> = None;
    for path in &paths {
        if folder != path.parent() {
            folder = path.parent();
            last.clear();
        }
        events(path, |event| {
            let identity = match recognise(event) {
                Line::Body(identity) => identity,
                Line::Damaged => return verdict.corrupt += 1,
                Line::Foreign => return verdict.foreign += 1,
            };
            // Another run's events may stand in the same files.
            let Some(seen) = found.get_mut(&identity.producer) else { return };
            if !seen.insert(identity.sequence) {
                verdict.duplicated += 1;
            }
            let before = last.insert(identity.producer, identity.sequence);
            if before.is_some_and(|before| before > identity.sequence) {
                verdict.reordered += 1;
            }
        })?;
    }
    for (producer, acked) in &acked {
        let seen = &found[producer];
        verdict.found += seen.len();
        for sequence in acked.iter().filter(|sequence| !seen.contains(*sequence)) {
            verdict.lost += 1;
            if verdict.examples.len() < EXAMPLES_MAX {
                verdict.examples.push(format!("lost: producer {producer:08x} sequence {sequence}"));
            }
        }
        verdict.unacked_found +=
            seen.iter().filter(|sequence| !acked.contains(*sequence)).count() as u64;
    }
    Ok(verdict)
}

fn finals(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(['.', '_']) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            finals(&entry.path(), paths)?;
        } else {
            paths.push(entry.path());
        }
    }
    Ok(())
}

/// Every event of a file, whatever its format.
fn events(path: &Path, mut each: impl FnMut(&[u8])) -> Result<()> {
    let broken = || format!("read {}", path.display());
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut records = Records::open(&path.to_string_lossy(), file).with_context(broken)?;
    let mut event = Vec::new();
    while records.next(&mut event).with_context(broken)? {
        each(&event);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Ledger, Outcome};
    use crate::payload::Payload;
    use sdk_event::ProducerId;

    const PRODUCER: ProducerId = ProducerId([9; 16]);

    fn verdict(acked: std::ops::Range<u64>, files: &[(&str, &[u64])], damage: bool) -> Verdict {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let mut ledger = Ledger::create(&path).unwrap();
        ledger.record(Outcome::Acked, PRODUCER, 0, acked.start, acked.end - acked.start).unwrap();
        ledger.finish().unwrap();
        let root = folder.path().join("files");
        let mut payload = Payload::new(PRODUCER, 100);
        for (name, sequences) in files {
            let mut bytes = Vec::new();
            for sequence in *sequences {
                bytes.extend_from_slice(payload.body(*sequence));
                bytes.push(b'\n');
            }
            if damage {
                bytes[30] ^= 1;
            }
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        verify(&path, &root).unwrap()
    }

    #[test]
    fn what_is_as_it_should_be_is_clean() {
        let verdict =
            verdict(0..4, &[("a/1", &[0, 1]), ("a/2", &[2, 3]), (".staging/3", &[0])], false);
        assert!(verdict.is_clean(), "{verdict:?}");
        assert_eq!((verdict.acked, verdict.found, verdict.unacked_found), (4, 4, 0));
    }

    #[test]
    fn each_fault_has_its_own_count() {
        let missing = verdict(0..4, &[("a/1", &[0, 1, 3])], false);
        assert_eq!((missing.lost, missing.found), (1, 3), "{missing:?}");
        let twice = verdict(0..2, &[("a/1", &[0, 1]), ("b/1", &[1])], false);
        assert_eq!((twice.duplicated, twice.reordered), (1, 0), "{twice:?}");
        let swapped = verdict(0..2, &[("a/1", &[1]), ("a/2", &[0])], false);
        assert_eq!(swapped.reordered, 1, "{swapped:?}");
        let extra = verdict(0..1, &[("a/1", &[0, 1])], false);
        assert_eq!(extra.unacked_found, 1, "{extra:?}");
        let damaged = verdict(0..2, &[("a/1", &[0, 1])], true);
        assert_eq!((damaged.corrupt, damaged.lost), (1, 1), "{damaged:?}");
    }

    #[test]
    fn events_of_others_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        Ledger::create(&path).unwrap().finish().unwrap();
        let mut other = Payload::new(ProducerId([4; 16]), 100);
        let lines = [b"after\n", other.body(7), b"\n"].concat();
        let files = folder.path().join("files");
        std::fs::create_dir(&files).unwrap();
        std::fs::write(files.join("events"), lines).unwrap();
        let verdict = verify(&path, &files).unwrap();
        assert!(verdict.is_clean(), "{verdict:?}");
        assert_eq!((verdict.found, verdict.foreign), (0, 1), "{verdict:?}");
    }
}
