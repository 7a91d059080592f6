//! The files that are followed, and whose turn it is. Blocks while it reads.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sdk_event::BlockBuilder;
use sdk_event::limits::{BLOCK_TARGET_BYTES, HEADER_VALUE_BYTES_MAX};
use sdk_flow::{Clock, SourceStart};
use tracing::{info, warn};

use super::assembly::{Assembly, FileHeaders, Prepared, Sharing};
use super::disk::Identity;
use super::file::Tracked;
use super::hints::Hints;
use super::mark::{Position, key_number};
use super::memory::Memory;
use super::read::Filled;
use super::settings::Settings;
use super::split::Flush;
use super::stats::{TaildirStats, add};

/// What the source does next.
pub(super) enum Next {
    /// Put this.
    Put(Box<Prepared>),
    /// Store these positions alone.
    Remember(Vec<Bytes>),
    /// Nothing, for so long.
    Wait(Duration),
}

/// All files of one source.
pub(super) struct Tail {
    pub(super) settings: Settings,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) stats: Arc<TaildirStats>,
    pub(super) hints: Hints,
    pub(super) files: BTreeMap<u64, Tracked>,
    pub(super) by_identity: HashMap<Identity, u64>,
    pub(super) by_path: HashMap<PathBuf, u64>,
    pub(super) memory: Memory,
    /// Keys whose stored positions are of no more use.
    pub(super) forget: Vec<u64>,
    pub(super) next_key: u64,
    /// Whether nothing was ever stored and no scan has been made.
    pub(super) first_start: bool,
    pub(super) scanned: bool,
    /// Paths that cannot be read at the moment.
    pub(super) outages: BTreeSet<PathBuf>,
    pub(super) next_scan: Duration,
    pub(super) next_hinted_scan: Duration,
    /// Open handles.
    pub(super) open: usize,
    pub(super) uses: u64,
    pub(super) buffer: Vec<u8>,
    /// Files that have something to be read, in their order.
    pass: VecDeque<u64>,
    /// Puts that the first of them has filled in its turn.
    filled: u64,
    /// When an event that waits for a further line is complete.
    due: Option<Duration>,
    builder: Option<BlockBuilder>,
}

impl Tail {
    pub(super) fn new(
        settings: Settings,
        start: &SourceStart,
        clock: Arc<dyn Clock>,
        stats: Arc<TaildirStats>,
        hints: Hints,
    ) -> Tail {
        let mut memory = Memory::default();
        let stored = start.positions.iter().flatten();
        for (key, value) in stored {
            if let Some(key) = key_number(key) {
                match Position::decode(value) {
                    Some(position) => drop(memory.insert(key, position)),
                    None => warn!(source = start.name, key, "a stored position is unreadable"),
                }
            }
        }
        let builder = BlockBuilder::new(start.producer, start.generation, start.next_sequence);
        let buffer = vec![0; CHUNK_BYTES.max(settings.splitter.bytes_needed())];
        Tail {
            clock,
            stats,
            hints,
            files: BTreeMap::new(),
            by_identity: HashMap::new(),
            by_path: HashMap::new(),
            next_key: memory.last_key().map_or(0, |key| key + 1),
            memory,
            forget: Vec::new(),
            first_start: start.positions.as_ref().is_none_or(|positions| {
                positions.is_empty()
                    || positions.get(STARTED).is_some_and(|value| value == STARTING)
            }),
            scanned: false,
            outages: BTreeSet::new(),
            next_scan: Duration::ZERO,
            next_hinted_scan: Duration::ZERO,
            open: 0,
            uses: 0,
            buffer,
            pass: VecDeque::new(),
            filled: 0,
            due: None,
            builder: Some(builder),
            settings,
        }
    }

    /// Looks around if it is time to, then reads what is there, up to a block.
    pub(super) fn next(&mut self) -> Next {
        let now = self.clock.monotonic();
        let hinted = now >= self.next_hinted_scan && self.hints.names_changed();
        if hinted || now >= self.next_scan {
            let remember = self.scan(now);
            if !remember.is_empty() {
                return Next::Remember(remember);
            }
        }
        if let Some(prepared) = self.assemble(now) {
            return Next::Put(Box::new(prepared));
        }
        let due = self.due.map_or(self.next_scan, |due| due.min(self.next_scan));
        Next::Wait(due.saturating_sub(self.clock.monotonic()).max(WAIT_MIN))
    }

    fn assemble(&mut self, now: Duration) -> Option<Prepared> {
        let builder = self.builder.take().expect("it is put back below");
        let byte_offset = self.settings.byte_offset;
        let mut assembly = Assembly::new(builder, &self.settings.source, byte_offset);
        let mut refreshed = false;
        while !assembly.is_full() && assembly.takes_file() {
            let Some(key) = self.pass.front().copied() else {
                if refreshed {
                    break;
                }
                refreshed = true;
                self.refresh(now);
                continue;
            };
            match self.fill(key, &mut assembly, now) {
                Filled::Drained => {
                    self.pass.pop_front();
                    self.filled = 0;
                }
                Filled::Enough => {
                    self.filled += 1;
                    if self.filled >= self.settings.batches_max {
                        self.pass.rotate_left(1);
                        self.filled = 0;
                    }
                    break;
                }
            }
            let of_one_file = assembly.sharing() == Sharing::Block && !self.settings.uniform;
            if of_one_file && !assembly.is_empty() {
                break;
            }
        }
        let (builder, prepared) = assembly.finish(&mut self.forget);
        self.builder = Some(builder);
        prepared
    }

    /// Looks at every open file, and finds out which have something to be read.
    fn refresh(&mut self, now: Duration) {
        self.due = None;
        let mut pass = VecDeque::new();
        let mut over = Vec::new();
        for (key, file) in &mut self.files {
            match file.handle.as_ref().map(|handle| handle.look()) {
                None => (),
                Some(Ok(look)) => file.note(&look, now),
                // Reading says what is wrong.
                Some(Err(_)) => file.exhausted = None,
            }
            let quiet = now.saturating_sub(file.grown);
            let flush = self.settings.flush(file.found, quiet);
            if file.wants(flush) {
                pass.push_back(*key);
                continue;
            }
            if file.size != file.mark.offset && flush == Flush::Nothing {
                let due = self.settings.join_timeout.map(|timeout| file.grown + timeout);
                self.due = [self.due, due].into_iter().flatten().min();
            }
            if file.handle.is_some() && self.settings.is_idle(file.found, quiet) {
                over.push(*key);
            }
        }
        self.pass = pass;
        for key in over {
            if self.files.get(&key).is_some_and(|file| file.found) {
                self.close(key);
            } else {
                self.retire(key);
            }
        }
    }

    /// Closes a file and goes on following it.
    pub(super) fn close(&mut self, key: u64) {
        if let Some(file) = self.files.get_mut(&key)
            && file.handle.take().is_some()
        {
            self.open -= 1;
        }
    }

    /// Follows a file no longer: it is gone, or out of sight.
    pub(super) fn retire(&mut self, key: u64) {
        let Some(file) = self.set_aside(key) else { return };
        let unread = file.size.saturating_sub(file.mark.offset);
        let (source, path) = (&self.settings.source, file.path.display());
        if unread > 0 {
            warn!(source, %path, unread, "file is gone before it was read to its end");
        } else {
            info!(source, %path, "file is done");
        }
    }

    /// Takes a file off the list; where reading stopped is remembered unless it
    /// is deleted.
    pub(super) fn set_aside(&mut self, key: u64) -> Option<Tracked> {
        self.close(key);
        let file = self.files.remove(&key)?;
        self.by_identity.remove(&file.identity);
        self.stats.leave(key);
        if file.links == 0 {
            self.forget.push(key);
        } else {
            let position = file.position(file.mark, self.clock.wall_ms());
            self.forget.extend(self.memory.insert(key, position));
        }
        Some(file)
    }

    /// Sees to it that one more file may be opened. Says whether it may.
    pub(super) fn make_room(&mut self) -> bool {
        if self.open < self.settings.open_files_max {
            return true;
        }
        // One that is out of sight cannot be opened again, so it is closed only
        // when it has nothing left.
        let closable = |file: &&Tracked| file.handle.is_some() && (file.found || file.drained());
        let candidates = self.files.iter().filter(|(_, file)| closable(file));
        let Some((key, found)) =
            candidates.min_by_key(|(_, file)| file.used).map(|(key, file)| (*key, file.found))
        else {
            return false;
        };
        if found {
            self.close(key);
        } else {
            self.retire(key);
        }
        true
    }

    /// Takes note that a file cannot be read; the log has one line for each outage.
    pub(super) fn outage(&mut self, key: u64, error: &std::io::Error) {
        add(&self.stats.read_errors, 1);
        self.close(key);
        if let Some(file) = self.files.get_mut(&key) {
            // The next scan that finds the file is the next try.
            file.exhausted = Some((file.size, Flush::All));
            if !file.outage {
                file.outage = true;
                warn!(path = %file.path.display(), %error, "cannot read a file, will retry");
            }
        }
    }

    /// The headers of a file that was found at `path`.
    pub(super) fn headers(&self, group: usize, path: &Path) -> FileHeaders {
        let mut pairs = self.settings.groups[group].headers.clone();
        if let Some(key) = &self.settings.file_header {
            let mut path = path.to_string_lossy().into_owned();
            path.truncate(path.floor_char_boundary(HEADER_VALUE_BYTES_MAX));
            pairs.retain(|(known, _)| known != key);
            pairs.push((key.clone(), path));
        }
        FileHeaders { pairs }
    }
}

/// So much is read from a file at once, unless one line is longer.
pub(super) const CHUNK_BYTES: usize = BLOCK_TARGET_BYTES;
/// A file with so much to be read gets blocks of its own, which have its
/// headers once.
pub(super) const OWN_BLOCK_BYTES: u64 = 64 * 1024;
/// A key beside those of files: the source has started, with [`STARTING`] until
/// all positions of a first start are stored.
pub(super) const STARTED: &[u8] = b"started";
pub(super) const STARTING: &[u8] = b"not yet";
/// A shorter wait would be a busy loop.
const WAIT_MIN: Duration = Duration::from_millis(1);
