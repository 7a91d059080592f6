//! This node's own list of final files, from which `audit --deep` knows what should be there.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read as _, Result, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};

/// The first line of every file of the list.
const HEADER: &str = "collector-archive 2\n";

/// No format's first line is longer.
const HEADER_BYTES_MAX: u64 = 64;

/// A file of the list is closed at this size.
const SEGMENT_BYTES_MAX: u64 = 8 << 20;

/// Entries kept in memory while they cannot be written. Beyond it the oldest are given up: the books
/// say then that files are not listed.
const UNWRITTEN_MAX: usize = 65_536;

/// What the list keeps.
#[derive(Debug, Clone, Copy)]
pub struct ArchiveLimits {
    /// Bytes of the whole list.
    pub bytes: u64,
    /// How old an entry may get, in milliseconds.
    pub age_ms: i64,
}

impl Default for ArchiveLimits {
    fn default() -> ArchiveLimits {
        ArchiveLimits { bytes: 1 << 30, age_ms: 30 * 24 * 3600 * 1000 }
    }
}

/// One final file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedFile {
    /// When it became final, in epoch milliseconds.
    pub at_ms: i64,
    /// The flow's name.
    pub flow: String,
    /// Its number, which no other flow of that name has.
    pub flow_id: u64,
    /// The channel that its events came from.
    pub channel: String,
    /// The sink group, whose books have it.
    pub group: String,
    /// The sink's name.
    pub sink: String,
    /// Its path, as in the ledger.
    pub path: String,
    /// Its length in bytes.
    pub length: u64,
    /// CRC32C of its bytes.
    pub crc: u32,
    /// Events in it.
    pub events: u64,
    /// Whether its events can be counted: each is one line, or one record.
    pub lines: bool,
    /// Whether each line has the event's id.
    pub ids: bool,
    /// Whether they are dead letters.
    pub dead_letters: bool,
    /// Whether it may be listed before: its commit was tried then, and what came of it is not known.
    pub again: bool,
}

/// The list: append-only files of JSON lines, the oldest deleted beyond the limits. A file that
/// became final twice, once before and once after a crash, is in it twice, and given as it is there
/// last.
#[derive(Debug)]
pub struct Archive {
    directory: PathBuf,
    limits: ArchiveLimits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: Option<Segment>,
    /// Oldest first.
    unwritten: VecDeque<ArchivedFile>,
}

#[derive(Debug)]
struct Segment {
    file: File,
    bytes: u64,
    number: u64,
}

impl Archive {
    /// The list in `directory`, made if it is not there.
    pub fn open(directory: impl Into<PathBuf>, limits: ArchiveLimits) -> Result<Archive> {
        let directory = directory.into();
        std::fs::create_dir_all(&directory)?;
        Ok(Archive { directory, limits, state: Mutex::default() })
    }

    /// Appends entries durably. After an error they are kept in memory and written with the next, or
    /// at the next look. Blocks.
    pub fn append(&self, entries: &[ArchivedFile]) -> Result<()> {
        let mut state = self.lock();
        state.unwritten.extend(entries.iter().cloned());
        let written = self.write(&mut state);
        // Some of them may be in the file all the same.
        state.unwritten.iter_mut().for_each(|entry| entry.again = true);
        let beyond = state.unwritten.len().saturating_sub(UNWRITTEN_MAX);
        state.unwritten.drain(..beyond);
        written
    }

    fn write(&self, state: &mut State) -> Result<()> {
        let State { open, unwritten } = state;
        let Some(now_ms) = unwritten.back().map(|entry| entry.at_ms) else { return Ok(()) };
        let mut lines = Vec::new();
        for entry in &*unwritten {
            serde_json::to_writer(&mut lines, entry)?;
            lines.push(b'\n');
        }
        let full = open.as_ref().is_some_and(|segment| segment.bytes >= SEGMENT_BYTES_MAX);
        let number = match open.as_ref() {
            Some(segment) if !full => segment.number,
            Some(segment) => segment.number + 1,
            None => self.next_segment()?,
        };
        let mut segment = match open.take() {
            Some(segment) if segment.number == number => segment,
            _ => {
                self.trim(number, now_ms)?;
                self.open_segment(number)?
            }
        };
        segment.file.write_all(&lines)?;
        segment.file.sync_data()?;
        segment.bytes += lines.len() as u64;
        // After an error the segment is opened anew, and a torn line at its end closed off.
        *open = Some(segment);
        unwritten.clear();
        Ok(())
    }

    /// The same, off the async workers.
    pub async fn append_in_background(self: &Arc<Self>, entries: Vec<ArchivedFile>) -> Result<()> {
        let archive = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || archive.append(&entries));
        task.await.unwrap_or_else(|stopped| Err(std::io::Error::other(stopped)))
    }

    /// Calls `each` with every file that became final at or after `since_ms`, once and oldest first.
    /// Blocks. Lines that a crash has torn are passed over. In memory is one line, and the paths of
    /// what may be there twice.
    pub fn read(&self, since_ms: i64, mut each: impl FnMut(ArchivedFile)) -> Result<()> {
        let (parts, unwritten) = {
            let mut state = self.lock();
            // What still cannot be written is known all the same.
            let _ = self.write(&mut state);
            (self.parts()?, state.unwritten.clone())
        };
        let mut again: BTreeMap<String, u64> = BTreeMap::new();
        let pass = |each: &mut dyn FnMut(ArchivedFile)| {
            parts.iter().try_for_each(|(path, bytes)| read_part(path, *bytes, each))?;
            unwritten.iter().cloned().for_each(each);
            Result::Ok(())
        };
        pass(&mut |entry| {
            if entry.again {
                *again.entry(entry.path).or_default() += 1;
            }
        })?;
        pass(&mut |entry| {
            if let Some(left) = again.get_mut(&entry.path) {
                *left -= u64::from(entry.again);
                if !entry.again || *left > 0 {
                    return;
                }
            }
            if entry.at_ms >= since_ms {
                each(entry);
            }
        })
    }

    /// The parts of the list and their lengths at the moment.
    fn parts(&self) -> Result<Vec<(PathBuf, u64)>> {
        let paths = self.segments()?.into_values();
        paths.map(|path| Ok((path.clone(), std::fs::metadata(path)?.len()))).collect()
    }

    /// Whether entries have been deleted since the list began, for their age or its size.
    pub fn is_trimmed(&self) -> Result<bool> {
        Ok(self.segments()?.first_key_value().is_some_and(|(number, _)| *number > 1))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the lock is held")
    }

    fn segments(&self) -> Result<BTreeMap<u64, PathBuf>> {
        let mut segments = BTreeMap::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let number = name.and_then(|name| name.strip_prefix("files-")?.strip_suffix(".jsonl"));
            if let Some(number) = number.and_then(|number| number.parse().ok()) {
                segments.insert(number, path);
            }
        }
        Ok(segments)
    }

    /// The last part of the list, or the one behind it if it is of another format.
    fn next_segment(&self) -> Result<u64> {
        let segments = self.segments()?;
        let Some((number, path)) = segments.last_key_value() else { return Ok(1) };
        let mut last = BufReader::new(OpenOptions::new().read(true).open(path)?);
        let other = matches!(Beginning::read(&mut last)?, Beginning::Other(_));
        Ok(number + u64::from(other))
    }

    fn open_segment(&self, number: u64) -> Result<Segment> {
        let path = self.directory.join(format!("files-{number:010}.jsonl"));
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut bytes = file.metadata()?.len();
        if let Beginning::Torn = Beginning::read(&mut BufReader::new(&file))? {
            file.set_len(0)?;
            file.write_all(HEADER.as_bytes())?;
            bytes = HEADER.len() as u64;
            sync_directory(&self.directory)?;
        } else {
            file.seek(SeekFrom::Start(bytes - 1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                bytes += 1;
            }
        }
        Ok(Segment { file, bytes, number })
    }

    /// Deletes the oldest files below `keep` as far as the limits ask for it.
    fn trim(&self, keep: u64, now_ms: i64) -> Result<()> {
        let segments = self.segments()?;
        let mut sizes = Vec::new();
        for (number, path) in &segments {
            sizes.push((*number, path, std::fs::metadata(path)?.len()));
        }
        let mut total: u64 = sizes.iter().map(|(_, _, bytes)| bytes).sum();
        for (number, path, bytes) in sizes {
            let old = || newest(path).is_none_or(|at_ms| at_ms < now_ms - self.limits.age_ms);
            if number >= keep || (total + SEGMENT_BYTES_MAX <= self.limits.bytes && !old()) {
                break;
            }
            #[expect(clippy::disallowed_methods, reason = "the list is neither log nor final")]
            std::fs::remove_file(path)?;
            total -= bytes;
        }
        Ok(())
    }
}

/// Calls `each` with every entry in the first `bytes` of a part of the list.
fn read_part(path: &Path, bytes: u64, each: &mut dyn FnMut(ArchivedFile)) -> Result<()> {
    let file = match OpenOptions::new().read(true).open(path) {
        Ok(file) => file,
        // It was too old.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut lines = BufReader::new(file.take(bytes));
    match Beginning::read(&mut lines)? {
        Beginning::Ours => (),
        Beginning::Torn => return Ok(()),
        Beginning::Other(format) => {
            return Err(std::io::Error::other(format!(
                "{} is {format:?}, which this release does not read: it reads {:?}",
                path.display(),
                HEADER.trim_end()
            )));
        }
    }
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        if let Ok(entry) = serde_json::from_slice::<ArchivedFile>(&line) {
            each(entry);
        }
        line.clear();
    }
    Ok(())
}

/// How a part of the list begins.
enum Beginning {
    Ours,
    /// A crash came between its making and its first line: there is nothing in it.
    Torn,
    /// With this line.
    Other(String),
}

impl Beginning {
    fn read(file: &mut impl BufRead) -> Result<Beginning> {
        let mut line = Vec::new();
        file.take(HEADER_BYTES_MAX).read_until(b'\n', &mut line)?;
        Ok(match line {
            line if line == HEADER.as_bytes() => Beginning::Ours,
            line if HEADER.as_bytes().starts_with(&line) => Beginning::Torn,
            line => Beginning::Other(String::from_utf8_lossy(&line).trim_end().to_owned()),
        })
    }
}

/// When the last file in a part of the list became final. One of another format counts as new.
fn newest(path: &Path) -> Option<i64> {
    let mut file = BufReader::new(OpenOptions::new().read(true).open(path).ok()?);
    if let Beginning::Other(_) = Beginning::read(&mut file).ok()? {
        return Some(i64::MAX);
    }
    let entries = file.lines().map_while(Result::ok);
    let entries = entries.filter_map(|line| serde_json::from_str::<ArchivedFile>(&line).ok());
    entries.map(|entry| entry.at_ms).last()
}

fn sync_directory(path: &Path) -> Result<()> {
    OpenOptions::new().read(true).open(path)?.sync_all()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the tests have files of their own")]
mod tests {
    use super::*;

    fn entry(number: i64) -> ArchivedFile {
        ArchivedFile {
            at_ms: number,
            flow: "web".to_owned(),
            flow_id: 7,
            channel: "main".to_owned(),
            group: "out".to_owned(),
            sink: "out".to_owned(),
            path: format!("/data/{number}{}", "x".repeat(200)),
            length: 1,
            crc: 2,
            events: 3,
            lines: true,
            ids: false,
            dead_letters: false,
            again: false,
        }
    }

    fn read(archive: &Archive) -> Vec<i64> {
        let mut numbers = Vec::new();
        archive.read(0, |entry| numbers.push(entry.at_ms)).unwrap();
        numbers
    }

    #[test]
    fn entries_outlive_the_process_and_torn_lines() {
        let directory = tempfile::tempdir().unwrap();
        let limits = ArchiveLimits::default();
        Archive::open(directory.path(), limits).unwrap().append(&[entry(1), entry(2)]).unwrap();
        let path = directory.path().join("files-0000000001.jsonl");
        let mut torn = OpenOptions::new().append(true).open(path).unwrap();
        torn.write_all(b"{\"at_ms\":").unwrap();
        let archive = Archive::open(directory.path(), limits).unwrap();
        archive.append(&[entry(3)]).unwrap();
        assert_eq!(read(&archive), [1, 2, 3]);
    }

    #[test]
    fn a_crash_before_the_first_line_leaves_an_empty_part() {
        for torn in ["", "c", "collector-archive 2"] {
            let directory = tempfile::tempdir().unwrap();
            let limits = ArchiveLimits::default();
            let archive = Archive::open(directory.path(), limits).unwrap();
            archive.append(&[entry(1)]).unwrap();
            std::fs::write(directory.path().join("files-0000000002.jsonl"), torn).unwrap();
            let archive = Archive::open(directory.path(), limits).unwrap();
            assert_eq!(read(&archive), [1], "{torn:?}");
            archive.append(&[entry(2)]).unwrap();
            assert_eq!(read(&archive), [1, 2], "{torn:?}");
        }
    }

    #[test]
    fn another_format_is_named_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let theirs = directory.path().join("files-0000000001.jsonl");
        std::fs::write(&theirs, "collector-archive 1\n{}\n").unwrap();
        let archive = Archive::open(directory.path(), ArchiveLimits::default()).unwrap();
        archive.append(&[entry(1)]).unwrap();
        let error = archive.read(0, |_| ()).unwrap_err().to_string();
        let sentence = "is \"collector-archive 1\", which this release does not read: it reads \
                        \"collector-archive 2\"";
        assert!(error.ends_with(sentence), "{error}");
        assert_eq!(std::fs::read_to_string(theirs).unwrap(), "collector-archive 1\n{}\n");
    }

    #[test]
    fn what_could_not_be_written_is_known_and_written_with_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let archive = Archive::open(directory.path(), ArchiveLimits::default()).unwrap();
        archive.append(&[entry(1)]).unwrap();
        // Where its next part should be stands a directory.
        archive.lock().open = None;
        let (part, aside) =
            (directory.path().join("files-0000000001.jsonl"), directory.path().join("aside"));
        std::fs::rename(&part, &aside).unwrap();
        std::fs::create_dir(&part).unwrap();
        archive.append(&[entry(2)]).unwrap_err();
        archive.append(&[entry(3)]).unwrap_err();
        std::fs::remove_dir(&part).unwrap();
        std::fs::rename(&aside, &part).unwrap();
        assert_eq!(read(&archive), [1, 2, 3]);
        archive.append(&[entry(4)]).unwrap();
        let after = Archive::open(directory.path(), ArchiveLimits::default()).unwrap();
        assert_eq!(read(&after), [1, 2, 3, 4]);
    }

    #[test]
    fn a_file_is_given_once_as_it_was_listed_last() {
        let directory = tempfile::tempdir().unwrap();
        let archive = Archive::open(directory.path(), ArchiveLimits::default()).unwrap();
        let again = |at_ms| ArchivedFile { at_ms, again: true, ..entry(1) };
        archive.append(&[entry(1), entry(2), again(3), entry(4), again(5), entry(6)]).unwrap();
        assert_eq!(read(&archive), [2, 4, 5, 6]);
    }

    #[test]
    fn the_oldest_go_first() {
        let directory = tempfile::tempdir().unwrap();
        let limits = ArchiveLimits { bytes: 3 * SEGMENT_BYTES_MAX, age_ms: i64::MAX / 2 };
        let archive = Archive::open(directory.path(), limits).unwrap();
        let entries: Vec<_> = (0..4000).map(entry).collect();
        let bytes: usize = entries.iter().map(|it| serde_json::to_vec(it).unwrap().len()).sum();
        let rounds = 5 * SEGMENT_BYTES_MAX / bytes as u64;
        for _ in 0..rounds {
            archive.append(&entries).unwrap();
        }
        let sizes = std::fs::read_dir(directory.path()).unwrap();
        let total: u64 = sizes.map(|it| it.unwrap().metadata().unwrap().len()).sum();
        assert!(total <= limits.bytes + bytes as u64, "{total}");
        assert!(read(&archive).len() >= entries.len());
        assert!(archive.is_trimmed().unwrap());
    }
}
