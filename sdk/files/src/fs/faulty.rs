//! A file system that fails as real ones do, from a seed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sdk_flow::Entropy;
use tokio_util::sync::CancellationToken;

use super::{
    Capabilities, Entry, FileReader, FileSystem, FileWriter, FsError, FsErrorKind, MemoryDisk,
    Status,
};

/// A [`MemoryDisk`] whose calls fail before or after they took effect, hang, take effect long after
/// they were answered with a timeout, or, a rename, twice.
#[derive(Clone)]
pub struct FaultyDisk {
    disk: MemoryDisk,
    entropy: Arc<dyn Entropy>,
    state: Arc<Mutex<State>>,
}

/// How often which fault happens, in thousandths of the calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Fails without effect.
    pub before: u64,
    /// Fails after its effect.
    pub after: u64,
    /// Never answers; half of them with effect.
    pub hang: u64,
    /// Answers with a timeout and takes effect later.
    pub delayed: u64,
    /// Of renames: is done, and asked for again later.
    pub repeated: u64,
}

impl Faults {
    /// None.
    pub const NONE: Faults = Faults { before: 0, after: 0, hang: 0, delayed: 0, repeated: 0 };
}

struct State {
    faults: Faults,
    /// Calls under way somewhere: they take effect when it pleases them.
    delayed: Vec<Delayed>,
    calls: u64,
    /// The process dies in the middle of this call.
    crash_at: Option<u64>,
    crashed: CancellationToken,
    /// Somebody wants to know when this call is under way.
    sleep_at: Option<(u64, CancellationToken)>,
}

#[derive(Debug, Clone)]
enum Delayed {
    Mkdirs(String),
    Create(String),
    Rename(String, String),
    Delete(String),
}

/// Delayed calls kept; beyond them the oldest is done at once.
const DELAYED_MAX: usize = 64;

/// Some calls take a while, up to this.
const LATENCY_MS: u64 = 40;

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Good,
    Before,
    After,
    HangBefore,
    HangAfter,
    Delayed,
    Repeated,
}

impl FaultyDisk {
    /// `disk` with faults drawn from `entropy`.
    pub fn new(disk: MemoryDisk, entropy: Arc<dyn Entropy>, faults: Faults) -> FaultyDisk {
        let state = State {
            faults,
            delayed: Vec::new(),
            calls: 0,
            crash_at: None,
            crashed: CancellationToken::new(),
            sleep_at: None,
        };
        FaultyDisk { disk, entropy, state: Arc::new(Mutex::new(state)) }
    }

    /// The disk behind it.
    pub fn disk(&self) -> &MemoryDisk {
        &self.disk
    }

    /// Changes how often it fails.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// Lets the process die in the middle of a call, so many from now: that call and all later ones
    /// never answer, and the token is cancelled. Half of the calls that die have taken effect.
    pub fn crash_after(&self, calls: u64) -> CancellationToken {
        let mut state = self.lock();
        state.crash_at = Some(state.calls + calls);
        state.crashed = CancellationToken::new();
        state.crashed.clone()
    }

    /// Cancels the token in the middle of a call, so many from now; that call goes on when it is
    /// asked to, and so does everything else.
    pub fn sleep_after(&self, calls: u64) -> CancellationToken {
        let mut state = self.lock();
        let token = CancellationToken::new();
        state.sleep_at = Some((state.calls + calls, token.clone()));
        token
    }

    /// A new process: calls are answered again. What the old one had under way may still happen.
    pub fn restart(&self) {
        self.lock().crash_at = None;
    }

    /// A power cut: nothing is under way any more, and what was not durable is perhaps gone.
    pub fn power_cut(&self) {
        self.lock().delayed.clear();
        self.disk.power_cut(&*self.entropy);
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Lets everything that is under way happen now.
    pub async fn settle(&self) {
        let delayed = std::mem::take(&mut self.lock().delayed);
        for call in delayed {
            self.redo(call).await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the lock is held")
    }

    /// Draws what happens to the next call.
    async fn draw(&self) -> Fate {
        tokio::task::yield_now().await;
        let (fate, due) = {
            let mut state = self.lock();
            state.calls += 1;
            let mut due = Vec::new();
            while !state.delayed.is_empty()
                && (self.entropy.below(4) == 0 || state.delayed.len() > DELAYED_MAX)
            {
                let at = self.entropy.below(state.delayed.len() as u64);
                due.push(state.delayed.swap_remove(usize::try_from(at).unwrap_or(0)));
            }
            let calls = state.calls;
            if let Some((_, token)) = state.sleep_at.take_if(|(at, _)| calls >= *at) {
                token.cancel();
            }
            let crash = state.crash_at.is_some_and(|at| state.calls >= at);
            if crash {
                state.crashed.cancel();
            }
            let fate = match crash {
                true if self.entropy.below(2) == 0 => Fate::HangBefore,
                true => Fate::HangAfter,
                false => pick(&state.faults, self.entropy.below(1000), self.entropy.below(2)),
            };
            (fate, due)
        };
        for call in due {
            self.redo(call).await;
        }
        // Here a process may fall asleep, its call already on the way.
        match self.entropy.below(8) {
            0 => tokio::time::sleep(Duration::from_millis(self.entropy.below(LATENCY_MS))).await,
            _ => tokio::task::yield_now().await,
        }
        fate
    }

    async fn redo(&self, call: Delayed) {
        // Whatever comes of it, nobody listens any more.
        let _ = match call {
            Delayed::Mkdirs(path) => self.disk.mkdirs(&path).await,
            Delayed::Create(path) => self.disk.create(&path).await.map(drop),
            Delayed::Rename(from, to) => self.disk.rename(&from, &to).await,
            Delayed::Delete(path) => self.disk.delete(&path).await.map(drop),
        };
    }

    /// Makes a call and spoils it.
    async fn spoil<T>(
        &self,
        operation: &'static str,
        path: &str,
        later: Option<Delayed>,
        call: impl Future<Output = Result<T, FsError>>,
    ) -> Result<T, FsError> {
        let failed = |kind| Err(FsError::new(kind, operation, path));
        match (self.draw().await, later) {
            (Fate::Good, _) | (Fate::Repeated, None) => call.await,
            (Fate::Before, _) | (Fate::Delayed, None) => failed(FsErrorKind::Unavailable),
            (Fate::After, _) => {
                call.await?;
                failed(FsErrorKind::Unavailable)
            }
            (Fate::HangBefore, _) => std::future::pending().await,
            (Fate::HangAfter, _) => {
                let _ = call.await;
                std::future::pending().await
            }
            (Fate::Delayed, Some(later)) => {
                self.lock().delayed.push(later);
                failed(FsErrorKind::Timeout)
            }
            (Fate::Repeated, Some(later)) => {
                let done = call.await;
                if matches!(later, Delayed::Rename(..)) {
                    self.lock().delayed.push(later);
                }
                done
            }
        }
    }
}

fn pick(faults: &Faults, drawn: u64, coin: u64) -> Fate {
    let Faults { before, after, hang, delayed, repeated } = *faults;
    let mut left = drawn;
    let mut hit = |share: u64| {
        let hit = left < share;
        left = left.saturating_sub(share);
        // Once hit, nothing further may be.
        if hit {
            left = u64::MAX;
        }
        hit
    };
    if hit(before) {
        Fate::Before
    } else if hit(after) {
        Fate::After
    } else if hit(hang) {
        if coin == 0 { Fate::HangBefore } else { Fate::HangAfter }
    } else if hit(delayed) {
        Fate::Delayed
    } else if hit(repeated) {
        Fate::Repeated
    } else {
        Fate::Good
    }
}

#[async_trait]
impl FileSystem for FaultyDisk {
    fn capabilities(&self) -> Capabilities {
        self.disk.capabilities()
    }

    async fn mkdirs(&self, path: &str) -> Result<(), FsError> {
        let later = Delayed::Mkdirs(path.to_owned());
        self.spoil("make directory", path, Some(later), self.disk.mkdirs(path)).await
    }

    async fn create(&self, path: &str) -> Result<Box<dyn FileWriter>, FsError> {
        let later = Delayed::Create(path.to_owned());
        let writer = self.spoil("create", path, Some(later), self.disk.create(path)).await?;
        let (disk, path) = (self.clone(), path.to_owned());
        Ok(Box::new(FaultyWriter { disk, path, writer }))
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        let later = Delayed::Rename(from.to_owned(), to.to_owned());
        let rename = self.disk.rename(from, to);
        self.spoil("rename a file to", to, Some(later), rename).await
    }

    async fn status(&self, path: &str) -> Result<Option<Status>, FsError> {
        self.spoil("look at", path, None, self.disk.status(path)).await
    }

    async fn delete(&self, path: &str) -> Result<bool, FsError> {
        let later = Delayed::Delete(path.to_owned());
        self.spoil("delete", path, Some(later), self.disk.delete(path)).await
    }

    async fn fence(&self, directory: &str) -> Result<(), FsError> {
        self.spoil("fence", directory, None, self.disk.fence(directory)).await
    }

    async fn list(&self, directory: &str) -> Result<Vec<Entry>, FsError> {
        self.spoil("list", directory, None, self.disk.list(directory)).await
    }

    async fn open(&self, path: &str) -> Result<Box<dyn FileReader>, FsError> {
        self.spoil("open", path, None, self.disk.open(path)).await
    }

    async fn make_durable(&self, files: &[String], root: &str) -> Result<(), FsError> {
        let durable = self.disk.make_durable(files, root);
        self.spoil("make durable below", root, None, durable).await
    }
}

struct FaultyWriter {
    disk: FaultyDisk,
    path: String,
    writer: Box<dyn FileWriter>,
}

#[async_trait]
impl FileWriter for FaultyWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), FsError> {
        let FaultyWriter { disk, path, writer } = self;
        disk.spoil("write", path, None, writer.write(bytes)).await
    }

    async fn sync_progress(&mut self) -> Result<(), FsError> {
        let FaultyWriter { disk, path, writer } = self;
        disk.spoil("write back", path, None, writer.sync_progress()).await
    }

    async fn close(self: Box<Self>) -> Result<(), FsError> {
        let FaultyWriter { disk, path, writer } = *self;
        disk.spoil("close", &path, None, writer.close()).await
    }
}
