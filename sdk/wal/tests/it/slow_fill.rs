//! A disk on which it takes long to make a segment.

use crate::support::entry;
use sdk_wal::{DirEntry, LockOutcome, Log, LogOptions, RealStorage, Storage, StorageFile};
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Longer than anything here takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

const SEGMENT_BYTES: u32 = 2 << 20;

/// Where whoever fills a file waits.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    moved: Condvar,
}

#[derive(Default)]
struct GateState {
    closed: bool,
    waiting: bool,
    /// Files that were filled.
    filled: usize,
}

impl Gate {
    fn set(&self, closed: bool) {
        self.state.lock().unwrap().closed = closed;
        self.moved.notify_all();
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.waiting = state.closed;
        self.moved.notify_all();
        drop(self.moved.wait_while(state, |state| state.closed).unwrap());
    }

    fn passed(&self) {
        self.state.lock().unwrap().filled += 1;
        self.moved.notify_all();
    }

    /// Returns once it is so.
    fn watch(&self, until: impl Fn(&GateState) -> bool, what: &str) {
        let state = self.state.lock().unwrap();
        let waited = self.moved.wait_timeout_while(state, PATIENCE, |state| !until(state));
        assert!(until(&waited.unwrap().0), "{what}");
    }
}

/// Opened when dropped, so that a test that fails ends.
struct Closed(Arc<Gate>);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

struct SlowStorage {
    gate: Arc<Gate>,
}

impl Storage for SlowStorage {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        RealStorage.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        RealStorage.list(dir)
    }

    fn open(&self, path: &Path, read_only: bool) -> io::Result<Arc<dyn StorageFile>> {
        RealStorage.open(path, read_only)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let file = RealStorage.create(path)?;
        Ok(Arc::new(SlowFile { file, gate: Arc::clone(&self.gate) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealStorage.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealStorage.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealStorage.sync_dir(dir)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        RealStorage.free_bytes(dir)
    }

    fn lock_dir(&self, dir: &Path, holder: &str) -> io::Result<LockOutcome> {
        RealStorage.lock_dir(dir, holder)
    }
}

struct SlowFile {
    file: Arc<dyn StorageFile>,
    gate: Arc<Gate>,
}

impl StorageFile for SlowFile {
    fn read_at(&self, buffer: &mut Vec<u8>, length: usize, at: u64) -> io::Result<usize> {
        self.file.read_at(buffer, length, at)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        self.file.write_at(slices, at)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }

    fn fill(&self, length: u64) -> io::Result<()> {
        self.gate.pass();
        let filled = self.file.fill(length);
        self.gate.passed();
        filled
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}

#[test]
fn whoever_fits_in_the_segment_does_not_wait_for_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let gate = Arc::new(Gate::default());
    let storage = Arc::new(SlowStorage { gate: Arc::clone(&gate) });
    let options = LogOptions {
        storage,
        quota_bytes: Some(64 << 20),
        segment_bytes: SEGMENT_BYTES,
        free_bytes_floor: 0,
        reserve_bytes: 0,
        ..LogOptions::new(dir.path())
    };
    let (log, _) = Log::open(options).unwrap();
    log.append(entry(1, 0, 1, 100)).unwrap().wait().unwrap();
    // The first one, and the next.
    gate.watch(|gate| gate.filled >= 2, "no segment is made ahead");
    // No other can be made from here on.
    gate.set(true);
    let closed = Closed(Arc::clone(&gate));
    let (told, answers) = std::sync::mpsc::channel();
    let (go, gone) = std::sync::mpsc::channel();
    let writer = {
        let log = log.clone();
        std::thread::spawn(move || {
            let mut offset = 1;
            let mut put = |length| {
                let position = log.append(entry(1, offset, 1, length)).unwrap().wait().unwrap();
                offset += 1;
                position.segment
            };
            let first = put(100);
            // Into the one that is ready, behind which there is none.
            while put(100_000) == first {}
            told.send("rolled").unwrap();
            gone.recv().unwrap();
            for _ in 0..3 {
                put(100);
                told.send("put").unwrap();
            }
        })
    };
    assert_eq!(answers.recv_timeout(PATIENCE), Ok("rolled"));
    gate.watch(|gate| gate.waiting, "nobody makes the next segment");
    go.send(()).unwrap();
    for _ in 0..3 {
        assert_eq!(answers.recv_timeout(PATIENCE), Ok("put"), "behind a segment being made");
    }
    drop(closed);
    writer.join().unwrap();
    log.stop();
}
