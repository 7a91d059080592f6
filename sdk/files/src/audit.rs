//! Reading final files back: is each there, whole, and as it was written?

mod content;
mod ids;

use std::collections::BTreeMap;

use crate::archive::ArchivedFile;
use crate::fs::{EntryKind, FileSystems, FsError, FsErrorKind};
use crate::staged::{Deadlines, within};
use content::Content;
use ids::IdSet;

/// Problems listed by name; further ones are only counted.
const LISTED_MAX: usize = 1000;

/// How much of a file is read at once.
const READ_BYTES: usize = 1 << 20;

/// What a deep audit has found so far.
#[derive(Debug, Default)]
pub struct DeepAudit {
    /// Files read back.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Events that the list says are in them.
    pub events: u64,
    /// Events counted in them, where they can be counted.
    pub counted: u64,
    /// What is wrong, the first thousand.
    pub problems: Vec<Problem>,
    /// How many files are wrong.
    pub wrong: u64,
    /// The same of each sink group.
    pub groups: BTreeMap<GroupKey, GroupAudit>,
}

/// The row of the books that a file counts in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    /// The flow's number.
    pub flow: u64,
    /// The channel's name.
    pub channel: String,
    /// The group's name.
    pub group: String,
}

/// What was found in the files of one sink group.
#[derive(Debug, Default)]
pub struct GroupAudit {
    /// Files that the list has.
    pub files: u64,
    /// The sum of their CRC32Cs in the list, whatever their order.
    pub crc_sum: u64,
    /// Event ids seen twice, if any were read: what other groups have got as well is none of it.
    pub duplicated: Option<u64>,
    ids: IdSet,
}

/// A final file that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: String,
    /// What is wrong.
    pub what: Wrong,
}

/// What can be wrong with a final file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// It is not there.
    #[error("it is missing")]
    Missing,
    /// It has another length.
    #[error("it has {found} bytes, not {wanted}")]
    Length {
        /// Bytes it has.
        found: u64,
        /// Bytes it should have.
        wanted: u64,
    },
    /// Its bytes are others.
    #[error("its checksum is {found:08x}, not {wanted:08x}")]
    Altered {
        /// What it has.
        found: u32,
        /// What it should have.
        wanted: u32,
    },
    /// It has another number of events.
    #[error("it has {found} events, not {wanted}")]
    Events {
        /// Events it has.
        found: u64,
        /// Events it should have.
        wanted: u64,
    },
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

impl DeepAudit {
    /// Nothing read yet.
    pub fn new() -> DeepAudit {
        DeepAudit::default()
    }

    /// Whether all files so far are as they were written.
    pub fn is_good(&self) -> bool {
        self.wrong == 0 && self.duplicated().unwrap_or(0) == 0
    }

    /// Event ids seen twice within their group, if any were read.
    pub fn duplicated(&self) -> Option<u64> {
        self.groups.values().filter_map(|group| group.duplicated).reduce(|sum, more| sum + more)
    }

    /// Reads one file back, in pieces: never all of it is in memory.
    pub async fn check(
        &mut self,
        file: &ArchivedFile,
        systems: &dyn FileSystems,
        deadlines: Deadlines,
    ) {
        self.files += 1;
        self.events += file.events;
        let group = self.groups.entry(GroupKey::of(file)).or_default();
        group.files += 1;
        group.crc_sum = group.crc_sum.wrapping_add(u64::from(file.crc));
        let what = match self.read(file, systems, deadlines).await {
            Ok(()) => return,
            Err(what) => what,
        };
        self.wrong += 1;
        if self.problems.len() < LISTED_MAX {
            self.problems.push(Problem { path: file.path.clone(), what });
        }
    }

    async fn read(
        &mut self,
        file: &ArchivedFile,
        systems: &dyn FileSystems,
        deadlines: Deadlines,
    ) -> Result<(), Wrong> {
        let path = file.path.as_str();
        let fs = systems.of(path).map_err(unreadable)?;
        let status = within(deadlines.call, "look at", path, fs.status(path)).await;
        let status = status.map_err(unreadable)?.ok_or(Wrong::Missing)?;
        if status.kind != EntryKind::File {
            return Err(Wrong::Unreadable("it is no file".to_owned()));
        }
        if status.length != file.length {
            return Err(Wrong::Length { found: status.length, wanted: file.length });
        }
        let mut reader =
            within(deadlines.call, "open", path, fs.open(path)).await.map_err(unreadable)?;
        let group = self.groups.entry(GroupKey::of(file)).or_default();
        let mut content = (file.lines || file.ids).then(|| {
            let ids = file.ids.then(|| std::mem::take(&mut group.ids));
            Content::begin(file.path.clone(), ids)
        });
        let mut crc = 0;
        let crc = loop {
            match within(deadlines.call, "read", path, reader.read(READ_BYTES)).await {
                Ok(bytes) if bytes.is_empty() => break Ok(crc),
                Ok(bytes) => {
                    crc = crc32c::crc32c_append(crc, &bytes);
                    self.bytes += bytes.len() as u64;
                    if let Some(content) = &mut content {
                        content.add(bytes).await;
                    }
                }
                Err(error) => break Err(unreadable(error)),
            }
        };
        let counted = match content {
            Some(content) => Some(content.end().await),
            None => None,
        };
        let Some(counted) = counted else { return whole(file, crc?) };
        if let Some(ids) = counted.ids {
            group.ids = ids;
        }
        whole(file, crc?)?;
        if file.ids {
            *group.duplicated.get_or_insert(0) += counted.again;
        }
        let found = counted.found.map_err(Wrong::Unreadable)?;
        self.counted += found;
        if found == file.events {
            Ok(())
        } else {
            Err(Wrong::Events { found, wanted: file.events })
        }
    }
}

/// Whether a file has the bytes it was written with.
fn whole(file: &ArchivedFile, crc: u32) -> Result<(), Wrong> {
    match crc == file.crc {
        true => Ok(()),
        false => Err(Wrong::Altered { found: crc, wanted: file.crc }),
    }
}

impl GroupKey {
    fn of(file: &ArchivedFile) -> GroupKey {
        let (channel, group) = (file.channel.clone(), file.group.clone());
        GroupKey { flow: file.flow_id, channel, group }
    }
}

fn unreadable(error: FsError) -> Wrong {
    match error.kind() {
        FsErrorKind::NotFound => Wrong::Missing,
        _ => Wrong::Unreadable(error.to_string()),
    }
}
