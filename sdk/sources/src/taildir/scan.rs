//! Looking for files: new ones, renamed ones, and those that are gone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use sdk_flow::SourcePosition;
use tracing::{info, warn};

use super::disk::{self, Identity, Look, OpenFile};
use super::file::Tracked;
use super::glob::{Walk, is_absence};
use super::mark::{Fingerprint, Mark, key_bytes};
use super::memory::Recognised;
use super::stats::add;
use super::tail::{STARTED, STARTING, Tail};

/// So many files are followed at once.
const FILES_MAX: usize = 65_536;
/// So many paths that cannot be read are told apart.
const OUTAGES_MAX: usize = 1024;
/// A scan may take this share of the time.
const SCAN_SHARE: u32 = 10;
/// Positions in one record.
const REMEMBER_ENTRIES: usize = 512;

/// What one scan met.
#[derive(Default)]
struct Met {
    /// Paths with their group: the first that means them.
    paths: BTreeMap<PathBuf, usize>,
    directories: BTreeSet<PathBuf>,
    failed: BTreeMap<PathBuf, io::Error>,
}

impl Tail {
    /// Looks at all directories. Returns positions that are to be stored now,
    /// which happens only at the first start of all.
    pub(super) fn scan(&mut self, now: Duration) -> Vec<Bytes> {
        let begun = self.clock.monotonic();
        let mut met = self.walk();
        for file in self.files.values_mut() {
            file.found = false;
        }
        let fresh = self.note_known(&mut met, now);
        self.look_for_missing();
        let paths_before = std::mem::take(&mut self.by_path);
        self.adopt_all(fresh, &paths_before, &mut met, now);
        self.by_path.extend(
            self.files
                .iter()
                .filter(|(_, file)| file.found)
                .map(|(key, file)| (file.path.clone(), *key)),
        );
        self.report(met.failed);
        self.hints.watch(&met.directories);
        let took = self.clock.monotonic().saturating_sub(begun);
        let pause = took * SCAN_SHARE;
        self.next_hinted_scan = begun + took + pause;
        self.next_scan = begun + took + pause.max(self.settings.poll_interval);
        self.after_first_scan()
    }

    fn walk(&mut self) -> Met {
        let mut met = Met::default();
        let Met { paths, directories, failed } = &mut met;
        for (index, group) in self.settings.groups.iter().enumerate() {
            let mut found = |path: PathBuf| {
                if !self.settings.excludes.contains(&path) {
                    paths.entry(path).or_insert(index);
                }
            };
            let mut unreadable = |path: &Path, error| {
                failed.insert(path.to_owned(), error);
            };
            group.files.walk(&mut Walk {
                found: &mut found,
                directories,
                unreadable: &mut unreadable,
            });
        }
        met
    }

    /// Takes note of files that are followed already; returns the others.
    fn note_known(&mut self, met: &mut Met, now: Duration) -> Vec<(PathBuf, usize, Look)> {
        let mut fresh = Vec::new();
        let mut seen: BTreeSet<Identity> = BTreeSet::new();
        for (path, group) in std::mem::take(&mut met.paths) {
            let look = match disk::look(&path) {
                Ok(look) if look.is_file => look,
                Ok(_) => continue,
                Err(error) if is_absence(&error) => continue,
                Err(error) => {
                    met.failed.insert(path, error);
                    continue;
                }
            };
            // A second name for a file, by a link: one is enough.
            if !seen.insert(look.identity) {
                continue;
            }
            let Some(key) = self.by_identity.get(&look.identity).copied() else {
                fresh.push((path, group, look));
                continue;
            };
            let Some(file) = self.files.get_mut(&key) else { continue };
            if file.path != path && file.handle.is_none() {
                // Renamed while it was closed, or another file that got its
                // inode: the fingerprint tells.
                file.links = look.links;
                self.set_aside(key);
                fresh.push((path, group, look));
                continue;
            }
            file.found = true;
            if file.path != path {
                file.gauge.set_path(&path);
                file.path = path;
            }
            if file.handle.is_none() {
                file.note(&look, now);
                if file.outage {
                    // Another try.
                    file.exhausted = None;
                }
            }
        }
        fresh
    }

    /// Looks in their old directories for files that are out of sight and were
    /// not open: what was written just before a rename is still to be read.
    fn look_for_missing(&mut self) {
        let missing: Vec<u64> = self
            .files
            .iter()
            .filter(|(_, file)| !file.found && file.handle.is_none())
            .map(|(key, _)| *key)
            .collect();
        let mut listings: HashMap<PathBuf, HashMap<u64, OsString>> = HashMap::new();
        for key in missing {
            if !self.reopen_elsewhere(key, &mut listings) {
                self.retire(key);
            }
        }
    }

    fn reopen_elsewhere(
        &mut self,
        key: u64,
        listings: &mut HashMap<PathBuf, HashMap<u64, OsString>>,
    ) -> bool {
        let Some(file) = self.files.get(&key) else { return false };
        let (identity, mark) = (file.identity, file.mark);
        let Some(directory) = file.path.parent().map(Path::to_owned) else { return false };
        let listing = listings.entry(directory.clone()).or_insert_with(|| {
            let entries = disk::list(&directory).unwrap_or_default();
            entries.into_iter().map(|entry| (entry.inode, entry.name)).collect()
        });
        let Some(name) = listing.get(&identity.inode) else { return false };
        let path = directory.join(name);
        if !self.make_room() {
            return false;
        }
        let Ok(handle) = OpenFile::open(&path) else { return false };
        let Ok(look) = handle.look() else { return false };
        let same = look.identity == identity && mark.print.matches(&handle).unwrap_or(false);
        if !same || look.size <= mark.offset {
            return false;
        }
        let Some(file) = self.files.get_mut(&key) else { return false };
        file.handle = Some(handle);
        file.gauge.set_path(&path);
        file.path = path;
        file.note(&look, self.clock.monotonic());
        self.open += 1;
        true
    }

    fn adopt_all(
        &mut self,
        mut fresh: Vec<(PathBuf, usize, Look)>,
        paths_before: &HashMap<PathBuf, u64>,
        met: &mut Met,
        now: Duration,
    ) {
        // Oldest first, as they were written.
        fresh.sort_by(|a, b| (a.2.modified, &a.0).cmp(&(b.2.modified, &b.0)));
        for (path, group, look) in fresh {
            if self.files.len() >= FILES_MAX {
                warn!(limit = FILES_MAX, path = %path.display(),
                    "too many files, further ones are not followed");
                return;
            }
            if !self.make_room() {
                return;
            }
            let before = paths_before.get(&path).copied();
            match self.adopt(path.clone(), group, look.identity, before, now) {
                Ok(()) => (),
                Err(error) if is_absence(&error) => (),
                Err(error) => drop(met.failed.insert(path, error)),
            }
        }
    }

    /// Follows a file from now on.
    fn adopt(
        &mut self,
        path: PathBuf,
        group: usize,
        identity: Identity,
        before: Option<u64>,
        now: Duration,
    ) -> io::Result<()> {
        let handle = OpenFile::open(&path)?;
        let look = handle.look()?;
        if look.identity != identity {
            // Something else by now: the next scan sees what.
            return Ok(());
        }
        let known = self.memory.recognise(identity, look.size, &handle, &mut self.forget)?;
        let (key, mark) = match known {
            Recognised::Known(key, mark) => (key, mark),
            Recognised::New => {
                let key = self.next_key;
                self.next_key += 1;
                (key, self.first_mark(&handle, look.size)?)
            }
        };
        info!(source = self.settings.source, path = %path.display(), offset = mark.offset,
            "following a file");
        self.uses += 1;
        self.open += 1;
        self.by_identity.insert(identity, key);
        let gauge = self.stats.follow(key, &path, look.size, mark.offset);
        let file = Tracked {
            identity,
            headers: self.headers(group, &path),
            path,
            handle: Some(handle),
            used: self.uses,
            mark,
            size: look.size,
            links: look.links,
            modified: look.modified,
            compared: Some(look.modified),
            grown: now,
            found: true,
            after: before.filter(|before| *before != key),
            exhausted: None,
            outage: false,
            gauge,
        };
        self.files.insert(key, file);
        Ok(())
    }

    /// Where a file begins that was never read.
    fn first_mark(&self, handle: &OpenFile, size: u64) -> io::Result<Mark> {
        if !(self.settings.from_end && self.first_start) {
            return Ok(Mark::default());
        }
        let print = Fingerprint::of(handle, size)?;
        Ok(print.map_or_else(Mark::default, |print| Mark {
            offset: size,
            print,
            ..Mark::default()
        }))
    }

    /// The log has one line for each path that begins or ceases to fail.
    fn report(&mut self, failed: BTreeMap<PathBuf, io::Error>) {
        add(&self.stats.read_errors, failed.len() as u64);
        self.outages.retain(|path| {
            let still = failed.contains_key(path);
            if !still {
                info!(path = %path.display(), "path is readable again, or gone");
            }
            still
        });
        for (path, error) in failed {
            if self.outages.len() < OUTAGES_MAX && !self.outages.contains(&path) {
                warn!(path = %path.display(), %error, "cannot read, will retry");
                self.outages.insert(path);
            }
        }
    }

    /// What there is to do once, behind the first scan.
    fn after_first_scan(&mut self) -> Vec<Bytes> {
        if std::mem::replace(&mut self.scanned, true) {
            return Vec::new();
        }
        let now_ms = self.clock.wall_ms();
        let forgotten = self.memory.prune(now_ms);
        self.forget.extend(forgotten);
        let first = std::mem::replace(&mut self.first_start, false);
        if !(first && self.settings.from_end) {
            return Vec::new();
        }
        // Stored before anything is read: else a crash before the first put
        // would skip what was written until the next start.
        let mut entries = vec![(Bytes::from_static(STARTED), Some(Bytes::from_static(STARTING)))];
        entries.extend(self.files.iter().map(|(key, file)| {
            let position = file.position(file.mark, now_ms);
            (key_bytes(*key), Some(position.encode()))
        }));
        // Last, so that a start that is cut off here is a first one again.
        entries.push((Bytes::from_static(STARTED), Some(Bytes::new())));
        let source = &self.settings.source;
        let records = entries.chunks(REMEMBER_ENTRIES).map(|entries| {
            SourcePosition { source: source.clone(), entries: entries.to_vec() }.encode()
        });
        records.collect()
    }
}
