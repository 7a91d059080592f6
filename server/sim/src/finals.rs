//! What stands under final names, read as a job would read it.

use sdk_files::fs::MemoryDisk;
use sdk_files::name::FinalName;
use std::collections::BTreeMap;

/// An event: its producer and its sequence.
pub(crate) type Id = (u8, u64);

/// The finals, checked one by one and against each other.
#[derive(Default)]
pub(crate) struct Finals {
    /// Every final that was ever seen and is still there.
    known: BTreeMap<String, Vec<u8>>,
    /// What a job has read and taken away.
    taken: BTreeMap<String, Vec<u8>>,
}

impl Finals {
    /// Reads everything. No final may have changed or gone, no event may be there twice or out of order.
    pub(crate) fn read(&mut self, disk: &MemoryDisk) -> Result<BTreeMap<Id, String>, String> {
        let mut files = there(disk);
        if let Some(path) = files.keys().find(|path| self.taken.contains_key(*path)) {
            return Err(format!("{path} was taken away, and is there again"));
        }
        for (path, bytes) in &self.known {
            if files.get(path) != Some(bytes) {
                return Err(format!("{path} has changed or is gone"));
            }
        }
        let mut seen = BTreeMap::new();
        let mut last: BTreeMap<(&str, u8), u64> = BTreeMap::new();
        self.known.clone_from(&files);
        files.append(&mut self.taken.clone());
        for (path, bytes) in &files {
            let (directory, name) = path.rsplit_once('/').unwrap_or_default();
            let name = FinalName::parse(name).ok_or(format!("{path} is no final of ours"))?;
            let ids = ids(bytes).ok_or(format!("{path} is no whole file"))?;
            if ids.is_empty() || ids.len() as u64 > name.last - name.first + 1 {
                return Err(format!("{path} has {} events", ids.len()));
            }
            for (producer, sequence) in ids {
                if let Some(other) = seen.insert((producer, sequence), path.clone()) {
                    return Err(format!("{producer}-{sequence} is in {other} and again in {path}"));
                }
                let before = last.insert((directory, producer), sequence);
                if before.is_some_and(|before| before >= sequence) {
                    let before = before.unwrap_or_default();
                    return Err(format!("{producer}-{sequence} follows {before} in {path}"));
                }
            }
        }
        Ok(seen)
    }

    /// A job takes finals away: those of which it is known that every event in them is committed.
    pub(crate) fn take(&mut self, disk: &MemoryDisk, is_committed: impl Fn(&[Id]) -> bool) {
        for (path, bytes) in there(disk) {
            if ids(&bytes).is_some_and(|ids| is_committed(&ids)) {
                disk.uproot(&path);
                self.known.remove(&path);
                self.taken.insert(path, bytes);
            }
        }
    }

    /// The power was cut where the finals are: what was not committed may be gone.
    pub(crate) fn forget(&mut self) {
        self.known.clear();
    }
}

/// What a job would read.
fn there(disk: &MemoryDisk) -> BTreeMap<String, Vec<u8>> {
    let mut files = disk.files();
    files.retain(|path, _| !path.split('/').any(|component| component.starts_with('.')));
    files
}

/// The events of a file; dead letters are JSON lines.
fn ids(bytes: &[u8]) -> Option<Vec<Id>> {
    let text = std::str::from_utf8(bytes).ok()?;
    if !text.ends_with('\n') {
        return None;
    }
    let id = |body: &str| {
        let (producer, sequence) = body.split_once('-')?;
        Some((producer.parse().ok()?, sequence.split(' ').next()?.parse().ok()?))
    };
    let line = |line: &str| match line.starts_with('{') {
        false => id(line),
        true => {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            id(line["body"].as_str()?)
        }
    };
    text.lines().map(line).collect()
}
