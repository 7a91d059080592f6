//! A disk in memory that fails as real ones do, replayable from a seed.

mod disk;
mod inode;

use super::{DirEntry, LockOutcome, Storage, StorageFile};
use disk::{Disk, Rng};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What happens at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The power goes in the middle of the call: some of it may reach the disk. Until
    /// [`FaultyStorage::power_cut`] everything fails.
    PowerCut,
    /// The call fails with `EIO`. What a failed sync was to make durable may be or not, and reads as if it were.
    Io,
}

/// How the disk misbehaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// What happens at which step: see [`FaultyStorage::steps`].
    pub at_step: Option<(u64, Fault)>,
    /// Whether writes may write less than they were given.
    pub short_writes: bool,
    /// How many bytes all files together may have; `None` for no limit.
    pub capacity_bytes: Option<u64>,
}

/// The faulty twin of [`super::RealStorage`]. Clones are the same disk.
///
/// It keeps what a real one promises and nothing else: what was written and not synced may, after a power cut, be
/// there, be gone or be torn in any mix of 512-byte sectors, of any of the versions written since; names may be as
/// they were before any of the changes since the directory was synced.
#[derive(Clone)]
pub struct FaultyStorage {
    disk: Arc<Mutex<Disk>>,
    /// Of a handle that dies with its process: the boot in which that lives.
    boot: Option<u64>,
}

impl FaultyStorage {
    /// An empty disk that draws what it does from a seed.
    pub fn new(seed: u64) -> Self {
        Self { disk: Arc::new(Mutex::new(Disk::new(seed))), boot: None }
    }

    /// The disk as a process has it that starts now: once that is killed or the power goes, this handle
    /// changes nothing any more, whoever still has it.
    pub fn process(&self) -> FaultyStorage {
        let boot = self.disk().boot;
        FaultyStorage { disk: Arc::clone(&self.disk), boot: Some(boot) }
    }

    /// Changes how it misbehaves from now on.
    pub fn set_faults(&self, faults: Faults) {
        let mut disk = self.disk();
        disk.faults = faults;
        disk.full = false;
    }

    /// How many calls that change something were made.
    pub fn steps(&self) -> u64 {
        self.disk().steps
    }

    /// How many bytes all files together have.
    pub fn used_bytes(&self) -> u64 {
        self.disk().used_bytes()
    }

    /// Whether the power is gone.
    pub fn is_down(&self) -> bool {
        self.disk().down
    }

    /// Whether a fault that was set has happened, in this boot.
    pub fn has_failed(&self) -> bool {
        let disk = self.disk();
        disk.full || disk.faults.at_step.is_some_and(|(step, _)| disk.steps >= step)
    }

    /// Cuts the power, if it was not gone yet, and brings the disk back with what survived.
    /// Files that were open stay dead, locks are gone, no fault is left.
    pub fn power_cut(&self) {
        self.disk().power_cut();
    }

    /// Ends the process that used the disk: everything written stays, synced or not; open files are dead.
    pub fn kill(&self) {
        self.disk().restart();
    }

    /// Changes bits of a byte of a file, as a bad disk does. Panics if there is no such byte.
    pub fn flip(&self, path: &Path, at: u64, mask: u8) {
        let mut disk = self.disk();
        let inode = disk.names[path];
        disk.inodes.get_mut(&inode).expect("named").flip(at as usize, mask);
    }

    /// Makes bytes of a file fail with `EIO` when they are read, with the sectors they are in, until
    /// those are written again. Panics if there is no such file.
    pub fn spoil(&self, path: &Path, bytes: Range<u64>) {
        let mut disk = self.disk();
        let inode = disk.names[path];
        let inode = disk.inodes.get_mut(&inode).expect("named");
        inode.spoil(bytes.start as usize..bytes.end as usize);
    }

    /// The bytes of a file as they read now.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let disk = self.disk();
        disk.names.get(path).map(|inode| disk.inodes[inode].current.clone())
    }

    /// Puts a file there, durable, as if someone else had.
    pub fn plant(&self, path: &Path, contents: &[u8]) {
        self.disk().plant(path, contents);
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk, if the power is there and the process lives.
    fn alive(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.disk();
        disk.check_power()?;
        match self.boot {
            Some(boot) if boot != disk.boot => Err(io::Error::other("the process is dead")),
            _ => Ok(disk),
        }
    }

    fn file(&self, inode: u64, boot: u64, read_only: bool) -> Arc<dyn StorageFile> {
        Arc::new(FaultyFile { disk: self.disk.clone(), inode, boot, read_only })
    }
}

impl Storage for FaultyStorage {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.alive()?;
        disk.dirs.extend(dir.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let disk = self.alive()?;
        if !disk.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = disk.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        let entries = inside.filter_map(|(path, inode)| {
            let name = path.file_name()?.to_str()?.to_owned();
            Some(DirEntry { name, length: disk.inodes[inode].current.len() as u64 })
        });
        Ok(entries.collect())
    }

    fn open(&self, path: &Path, read_only: bool) -> io::Result<Arc<dyn StorageFile>> {
        let disk = self.alive()?;
        let inode = *disk.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(inode, disk.boot, read_only))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let mut disk = self.alive()?;
        let happens = disk.step()?;
        if disk.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = disk.create(path);
        happens.finish(&mut disk)?;
        Ok(self.file(inode, disk.boot, false))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.alive()?;
        let happens = disk.step()?;
        disk.rename(from, to)?;
        happens.finish(&mut disk)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.alive()?;
        let happens = disk.step()?;
        disk.remove(path)?;
        happens.finish(&mut disk)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.alive()?;
        let happens = disk.step()?;
        disk.sync_dir(dir, happens);
        happens.finish(&mut disk)
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let disk = self.alive()?;
        Ok(disk.free_bytes())
    }

    fn lock_dir(&self, dir: &Path, holder: &str) -> io::Result<LockOutcome> {
        let mut disk = self.alive()?;
        if let Some((_, other)) = disk.locks.get(dir) {
            return Ok(LockOutcome::Busy(other.clone()));
        }
        let id = disk.rng.next();
        disk.locks.insert(dir.to_owned(), (id, holder.to_owned()));
        let lock = FaultyLock { disk: self.disk.clone(), dir: dir.to_owned(), id };
        Ok(LockOutcome::Held(Box::new(lock)))
    }
}

struct FaultyLock {
    disk: Arc<Mutex<Disk>>,
    dir: PathBuf,
    id: u64,
}

impl Drop for FaultyLock {
    fn drop(&mut self) {
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        if disk.locks.get(&self.dir).is_some_and(|(id, _)| *id == self.id) {
            disk.locks.remove(&self.dir);
        }
    }
}

struct FaultyFile {
    disk: Arc<Mutex<Disk>>,
    inode: u64,
    boot: u64,
    read_only: bool,
}

impl FaultyFile {
    fn disk(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        disk.check_power()?;
        if disk.boot != self.boot {
            return Err(io::Error::other("file was open when the power went"));
        }
        Ok(disk)
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.disk()?;
        let happens = disk.step()?;
        disk.sync_file(self.inode, happens);
        happens.finish(&mut disk)
    }
}

impl StorageFile for FaultyFile {
    fn read_at(&self, buffer: &mut Vec<u8>, length: usize, at: u64) -> io::Result<usize> {
        let disk = self.disk()?;
        let inode = &disk.inodes[&self.inode];
        let current = &inode.current;
        let start = (at as usize).min(current.len());
        let end = start.saturating_add(length).min(current.len());
        if !inode.can_read(start..end) {
            return Err(disk::io_error());
        }
        buffer.extend_from_slice(&current[start..end]);
        Ok(end - start)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        if self.read_only {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut disk = self.disk()?;
        let happens = disk.step()?;
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let taken = disk.taken(bytes.len(), happens);
        disk.write(self.inode, at as usize, &bytes[..taken])?;
        happens.finish(&mut disk)?;
        Ok(taken)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut disk = self.disk()?;
        let happens = disk.step()?;
        disk.grow(self.inode, length as usize)?;
        happens.finish(&mut disk)
    }

    fn fill(&self, length: u64) -> io::Result<()> {
        super::fill(self, length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk()?.inodes[&self.inode].current.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{is_full, read_exact_at, write_all_at};

    const DIR: &str = "/log";

    fn path(name: &str) -> PathBuf {
        Path::new(DIR).join(name)
    }

    fn disk(seed: u64) -> FaultyStorage {
        let storage = FaultyStorage::new(seed);
        storage.create_dir_all(Path::new(DIR)).unwrap();
        storage
    }

    fn write(file: &dyn StorageFile, at: u64, bytes: &[u8]) -> io::Result<()> {
        write_all_at(file, &mut [IoSlice::new(bytes)], at)
    }

    #[test]
    fn synced_bytes_and_names_survive_and_others_may_not() {
        let (mut kept, mut dropped, mut torn, mut nameless) = (0, 0, 0, 0);
        for seed in 0..200 {
            let storage = disk(seed);
            let file = storage.create(&path("a")).unwrap();
            write(&*file, 0, &[1; 2048]).unwrap();
            file.sync_data().unwrap();
            storage.sync_dir(Path::new(DIR)).unwrap();
            write(&*file, 512, &[2; 1024]).unwrap();
            storage.create(&path("b")).unwrap();
            storage.power_cut();
            assert!(file.length().is_err(), "an open file is dead");
            let bytes = storage.contents(&path("a")).unwrap();
            assert_eq!((&bytes[..512], &bytes[1536..]), (&[1; 512][..], &[1; 512][..]));
            match (bytes[512], bytes[1024]) {
                (2, 2) => kept += 1,
                (1, 1) => dropped += 1,
                _ => torn += 1,
            }
            nameless += usize::from(storage.contents(&path("b")).is_none());
        }
        assert!(kept > 20 && dropped > 20 && torn > 20, "{kept} {dropped} {torn}");
        assert!((50..150).contains(&nameless), "{nameless}");
    }

    #[test]
    fn a_failed_sync_reads_as_clean_and_is_not() {
        let lost = (0..100).filter(|&seed| {
            let storage = disk(seed);
            let file = storage.create(&path("a")).unwrap();
            storage.sync_dir(Path::new(DIR)).unwrap();
            write(&*file, 0, &[0; 512]).unwrap();
            file.sync_data().unwrap();
            write(&*file, 0, &[7; 512]).unwrap();
            let at_step = Some((storage.steps() + 1, Fault::Io));
            storage.set_faults(Faults { at_step, ..Faults::default() });
            assert!(file.sync_data().is_err());
            assert!(file.sync_data().is_ok());
            assert_eq!(read_exact_at(&*file, 1, 0).unwrap(), [7]);
            storage.power_cut();
            storage.contents(&path("a")).unwrap()[0] == 0
        });
        assert!((20..80).contains(&lost.count()));
    }

    #[test]
    fn a_full_disk_refuses_and_short_writes_write_all_in_the_end() {
        let storage = disk(3);
        let capacity_bytes = Some(10_000);
        storage.set_faults(Faults { capacity_bytes, short_writes: true, ..Faults::default() });
        let file = storage.create(&path("a")).unwrap();
        write(&*file, 0, &[9; 9000]).unwrap();
        assert_eq!(storage.contents(&path("a")).unwrap(), [9; 9000]);
        assert!(is_full(&file.allocate(10_001).unwrap_err()));
        assert!(is_full(&write(&*file, 9000, &[9; 1001]).unwrap_err()));
        storage.remove(&path("a")).unwrap();
        assert_eq!(storage.free_bytes(Path::new(DIR)).unwrap(), 10_000);
    }

    #[test]
    fn a_lock_is_held_until_dropped_or_the_power_goes() {
        let storage = disk(1);
        let lock = |holder: &str| match storage.lock_dir(Path::new(DIR), holder).unwrap() {
            LockOutcome::Held(lock) => Ok(lock),
            LockOutcome::Busy(other) => Err(other),
        };
        let first = lock("one").unwrap();
        assert_eq!(lock("two").unwrap_err(), "one");
        drop(first);
        let second = lock("two").unwrap();
        storage.power_cut();
        let third = lock("three").unwrap();
        drop(second);
        assert_eq!(lock("four").unwrap_err(), "three");
        drop(third);
    }
}
