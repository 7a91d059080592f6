//! A disk that fails as real ones do, from a seed.
use super::{DirEntry, LockOutcome, Storage, StorageFile};
use std::io;
use std::path::Path;
use std::sync::Arc;
/// (being written)
#[derive(Clone, Copy, Debug)]
pub enum Fault {}
/// (being written)
#[derive(Clone, Copy, Debug)]
pub struct Faults {}
/// (being written)
#[derive(Debug)]
pub struct FaultyStorage {}
impl Storage for FaultyStorage {
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        unimplemented!()
    }
    fn list(&self, _: &Path) -> io::Result<Vec<DirEntry>> {
        unimplemented!()
    }
    fn open(&self, _: &Path, _: bool) -> io::Result<Arc<dyn StorageFile>> {
        unimplemented!()
    }
    fn create(&self, _: &Path) -> io::Result<Arc<dyn StorageFile>> {
        unimplemented!()
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        unimplemented!()
    }
    fn remove(&self, _: &Path) -> io::Result<()> {
        unimplemented!()
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        unimplemented!()
    }
    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        unimplemented!()
    }
    fn lock_dir(&self, _: &Path, _: &str) -> io::Result<LockOutcome> {
        unimplemented!()
    }
}
