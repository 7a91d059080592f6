//! The state of the disk: names, files, and when to fail.

use super::inode::{Inode, SECTOR, Survival};
use super::{Fault, Faults};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// What a disk says that fails.
pub(super) fn io_error() -> io::Error {
    io::Error::from_raw_os_error(EIO)
}

/// A change of names that is not durable yet. Each happens whole or not at all.
#[derive(Clone)]
enum NameChange {
    Create(PathBuf, u64),
    Rename(PathBuf, PathBuf, u64),
    Remove(PathBuf),
}

impl NameChange {
    fn dir(&self) -> Option<&Path> {
        match self {
            Self::Create(path, _) | Self::Rename(_, path, _) | Self::Remove(path) => path.parent(),
        }
    }

    fn apply(self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Create(path, inode) => {
                names.insert(path, inode);
            }
            // The file that was renamed, whatever else has its old name if earlier changes did not survive.
            Self::Rename(from, to, inode) => {
                if names.get(&from) == Some(&inode) {
                    names.remove(&from);
                }
                names.insert(to, inode);
            }
            Self::Remove(path) => {
                names.remove(&path);
            }
        }
    }
}

pub(super) struct Disk {
    pub(super) rng: Rng,
    pub(super) faults: Faults,
    pub(super) steps: u64,
    pub(super) down: bool,
    /// Something had no room since faults were set.
    pub(super) full: bool,
    pub(super) boot: u64,
    pub(super) dirs: BTreeSet<PathBuf>,
    pub(super) names: BTreeMap<PathBuf, u64>,
    pub(super) inodes: BTreeMap<u64, Inode>,
    pub(super) locks: BTreeMap<PathBuf, (u64, String)>,
    names_durable: BTreeMap<PathBuf, u64>,
    changes: Vec<NameChange>,
    inode_next: u64,
}

impl Disk {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: Rng(seed),
            faults: Faults::default(),
            steps: 0,
            down: false,
            full: false,
            boot: 0,
            dirs: BTreeSet::new(),
            names: BTreeMap::new(),
            inodes: BTreeMap::new(),
            locks: BTreeMap::new(),
            names_durable: BTreeMap::new(),
            changes: Vec::new(),
            inode_next: 0,
        }
    }

    pub(super) fn check_power(&self) -> io::Result<()> {
        if self.down { Err(io_error()) } else { Ok(()) }
    }

    /// Begins a call that changes something.
    pub(super) fn step(&mut self) -> io::Result<Happens> {
        self.check_power()?;
        self.steps += 1;
        Ok(match self.faults.at_step {
            Some((step, fault)) if step == self.steps => Happens(Some(fault)),
            _ => Happens(None),
        })
    }

    /// How much of a write happens.
    pub(super) fn taken(&mut self, length: usize, happens: Happens) -> usize {
        if happens.0.is_some() {
            return self.rng.below(length as u64 + 1) as usize;
        }
        if self.faults.short_writes && length > 1 && self.rng.one_in(3) {
            return 1 + self.rng.below(length as u64 - 1) as usize;
        }
        length
    }

    pub(super) fn write(&mut self, inode: u64, at: usize, bytes: &[u8]) -> io::Result<()> {
        self.check_room(inode, at + bytes.len())?;
        self.inodes.get_mut(&inode).expect("open").write(at, bytes);
        Ok(())
    }

    pub(super) fn grow(&mut self, inode: u64, length: usize) -> io::Result<()> {
        self.check_room(inode, length)?;
        self.inodes.get_mut(&inode).expect("open").grow(length);
        Ok(())
    }

    pub(super) fn free_bytes(&self) -> u64 {
        self.faults.capacity_bytes.unwrap_or(1 << 40).saturating_sub(self.used_bytes())
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.names.values().map(|inode| self.inodes[inode].current.len() as u64).sum()
    }

    fn check_room(&mut self, inode: u64, length: usize) -> io::Result<()> {
        let more = length.saturating_sub(self.inodes[&inode].current.len()) as u64;
        if more > 0 && more > self.free_bytes() {
            self.full = true;
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        Ok(())
    }

    pub(super) fn create(&mut self, path: &Path) -> u64 {
        let inode = self.inode_next;
        self.inode_next += 1;
        self.inodes.insert(inode, Inode::default());
        self.change(NameChange::Create(path.to_owned(), inode));
        inode
    }

    pub(super) fn plant(&mut self, path: &Path, contents: &[u8]) {
        let inode = self.create(path);
        self.inodes.insert(inode, Inode::durable(contents));
        self.names_durable.insert(path.to_owned(), inode);
        self.dirs.extend(path.ancestors().skip(1).map(Path::to_path_buf));
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = *self.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        self.change(NameChange::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        if !self.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.change(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn change(&mut self, change: NameChange) {
        change.clone().apply(&mut self.names);
        self.changes.push(change);
    }

    pub(super) fn sync_dir(&mut self, dir: &Path, happens: Happens) {
        let all = std::mem::take(&mut self.changes);
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|change| change.dir() == Some(dir));
        match happens.0 {
            None => here.into_iter().for_each(|change| change.apply(&mut self.names_durable)),
            Some(Fault::Io) => self.apply_some(here),
            Some(Fault::PowerCut) => self.changes = here,
        }
        self.changes.extend(elsewhere);
    }

    pub(super) fn sync_file(&mut self, inode: u64, happens: Happens) {
        let file = self.inodes.get_mut(&inode).expect("open");
        match happens.0 {
            None => file.sync(),
            Some(Fault::Io) => file.fail_sync(&mut self.rng),
            // Whatever was synced by then is one of the ways in which the cut may end.
            Some(Fault::PowerCut) => (),
        }
    }

    pub(super) fn power_cut(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        self.apply_some(changes);
        self.names = self.names_durable.clone();
        let survival = match self.rng.below(4) {
            0 => Survival::All,
            1 => Survival::None,
            _ => Survival::AnyMix,
        };
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        self.inodes.retain(|inode, _| named.contains(inode));
        for inode in self.inodes.values_mut() {
            inode.power_cut(survival, &mut self.rng);
        }
        self.restart();
    }

    pub(super) fn restart(&mut self) {
        self.boot += 1;
        self.down = false;
        self.locks.clear();
        self.faults.at_step = None;
    }

    fn apply_some(&mut self, changes: Vec<NameChange>) {
        for change in changes {
            if self.rng.one_in(2) {
                change.apply(&mut self.names_durable);
            }
        }
    }
}

/// What happens in a call: decided when it begins, carried out when it ends.
#[derive(Clone, Copy)]
pub(super) struct Happens(Option<Fault>);

impl Happens {
    pub(super) fn finish(self, disk: &mut Disk) -> io::Result<()> {
        match self.0 {
            None => Ok(()),
            Some(Fault::Io) => Err(io_error()),
            Some(Fault::PowerCut) => {
                disk.down = true;
                Err(io_error())
            }
        }
    }
}

/// A small generator (SplitMix64): the same seed gives the same disk on every machine.
pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

const _: () = assert!(SECTOR == 512);
