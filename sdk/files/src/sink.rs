//! One file sink of a flow, shared by everything that drains into it on this node.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sdk_config::FilesSink;
use tokio::sync::Semaphore;

use crate::format::Format;
use crate::fs::{FileSystem, FileSystems, FsError};
use crate::layout::{Layout, LayoutError};
use crate::metrics::SinkMetrics;
use crate::roll::RollPolicy;
use crate::serializer::Serializer;

/// How often somebody looks whether the root can still be written to.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// Build jobs at once, whichever drains they are of.
const BUILDS_MAX: usize = 2;

/// Directories known to be there are remembered up to this number.
const KNOWN_DIRECTORIES_MAX: usize = 4096;

/// A file sink as one version of its flow's spec has it.
pub struct FileSink {
    flow: Arc<str>,
    name: Arc<str>,
    number: u32,
    open_files_max: usize,
    layout: Arc<Layout>,
    serializer: Serializer,
    format: Format,
    roll: RollPolicy,
    batch_bytes: usize,
    fs: Arc<dyn FileSystem>,
    metrics: SinkMetrics,
    /// Files that grow while events come in.
    streams: Arc<Semaphore>,
    /// Files that are written in one go, when they are rolled. Apart, so that files that never roll
    /// cannot keep others from being finished.
    finishing: Arc<Semaphore>,
    /// Jobs that build files from the log, each of which may hold several MiB of events.
    builds: Arc<Semaphore>,
    new_directories: Mutex<Rate>,
    directories: Mutex<HashSet<String>>,
    health: Mutex<Health>,
    /// Held by the lineage that makes the root's marker.
    claiming: tokio::sync::Mutex<()>,
}

/// What the last look at the root has shown. One drain looks for all.
#[derive(Debug, Default)]
struct Health {
    next_look: Duration,
    warning: Option<String>,
    /// A failure before this belongs to a trouble that was told of.
    trouble_until: Duration,
}

/// A trouble is over when nothing has failed for so long.
const TROUBLE_QUIET: Duration = Duration::from_secs(60);

/// Which sink it is.
#[derive(Debug, Clone)]
pub struct SinkIdentity {
    /// The flow's name.
    pub flow: Arc<str>,
    /// The sink's name in the flow.
    pub name: Arc<str>,
    /// Its number, never used again within the flow.
    pub number: u32,
}

/// Why a sink cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum SinkBuildError {
    /// Its path is wrong.
    #[error("the path cannot be used")]
    Layout(#[from] LayoutError),
    /// Nothing here knows the path's file system.
    #[error("the path's file system is not known here")]
    FileSystem(#[from] FsError),
}

impl FileSink {
    /// A sink as `spec` says. Touches nothing yet.
    pub fn new(
        spec: &FilesSink,
        identity: SinkIdentity,
        systems: &dyn FileSystems,
        metrics: SinkMetrics,
    ) -> Result<FileSink, SinkBuildError> {
        let SinkIdentity { flow, name, number } = identity;
        let layout = Layout::new(spec, &flow)?;
        let fs = systems.for_sink(layout.root(), spec)?;
        let open = spec.max_open_files.map_or(fs.capabilities().open_files_max, |most| {
            usize::try_from(most).unwrap_or(usize::MAX)
        });
        let open = open.clamp(2, Semaphore::MAX_PERMITS);
        let finishing = (open / 4).max(1);
        Ok(FileSink {
            flow,
            open_files_max: open,
            name,
            number,
            layout: Arc::new(layout),
            serializer: Serializer::new(spec),
            format: Format::new(spec),
            roll: RollPolicy::new(spec),
            batch_bytes: usize::try_from(spec.batch_bytes.bytes()).unwrap_or(usize::MAX),
            fs,
            metrics,
            streams: Arc::new(Semaphore::new(open - finishing)),
            finishing: Arc::new(Semaphore::new(finishing)),
            builds: Arc::new(Semaphore::new(BUILDS_MAX)),
            new_directories: Mutex::new(Rate::per_minute(spec.new_directories_per_minute)),
            directories: Mutex::default(),
            health: Mutex::default(),
            claiming: tokio::sync::Mutex::default(),
        })
    }

    /// Its name in the flow.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The flow's name.
    pub fn flow(&self) -> &Arc<str> {
        &self.flow
    }

    /// Files open for writing at the moment.
    pub fn open_files(&self) -> usize {
        let free = self.streams.available_permits() + self.finishing.available_permits();
        self.open_files_max.saturating_sub(free)
    }

    /// Its number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Where its files go.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Its file system.
    pub fn fs(&self) -> &Arc<dyn FileSystem> {
        &self.fs
    }

    /// What it counts.
    pub fn metrics(&self) -> &SinkMetrics {
        &self.metrics
    }

    pub(crate) fn serializer(&self) -> Serializer {
        self.serializer
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    pub(crate) fn roll(&self) -> &RollPolicy {
        &self.roll
    }

    pub(crate) fn batch_bytes(&self) -> usize {
        self.batch_bytes
    }

    pub(crate) fn streams(&self) -> &Arc<Semaphore> {
        &self.streams
    }

    pub(crate) fn finishing(&self) -> &Arc<Semaphore> {
        &self.finishing
    }

    pub(crate) fn builds(&self) -> &Arc<Semaphore> {
        &self.builds
    }

    /// Why nothing new can be made in the root, though files may still go to directories that are
    /// there.
    pub fn warning(&self) -> Option<String> {
        self.health.lock().expect("no panic while the lock is held").warning.clone()
    }

    pub(crate) fn set_warning(&self, warning: Option<String>) {
        self.health.lock().expect("no panic while the lock is held").warning = warning;
    }

    pub(crate) fn claiming(&self) -> &tokio::sync::Mutex<()> {
        &self.claiming
    }

    /// Takes note of a failure. True if it begins a trouble: then the caller tells of it, for all
    /// lineages that use the sink and for every try until it is over.
    pub(crate) fn begins_trouble(&self, now: Duration) -> bool {
        let mut health = self.health.lock().expect("no panic while the lock is held");
        let begins = now >= health.trouble_until;
        health.trouble_until = now + TROUBLE_QUIET;
        begins
    }

    /// Whether it is time for a look at the root; then the caller is the one who looks.
    pub(crate) fn take_look(&self, now: Duration) -> bool {
        let mut health = self.health.lock().expect("no panic while the lock is held");
        let due = now >= health.next_look;
        if due {
            health.next_look = now + LOOK_INTERVAL;
        }
        due
    }

    /// Takes the right to make one directory, or says how long to wait for it.
    pub(crate) fn take_new_directory(&self, now: Duration) -> Result<(), Duration> {
        self.new_directories.lock().expect("no panic while the lock is held").take(now)
    }

    pub(crate) fn knows_directory(&self, path: &str) -> bool {
        self.directories.lock().expect("no panic while the lock is held").contains(path)
    }

    pub(crate) fn learn_directory(&self, path: &str) {
        let mut known = self.directories.lock().expect("no panic while the lock is held");
        if known.len() >= KNOWN_DIRECTORIES_MAX {
            // They are mostly of the past; the few in use are learned again by one look each.
            known.clear();
        }
        known.insert(path.to_owned());
    }

    pub(crate) fn forget_directory(&self, path: &str) {
        self.directories.lock().expect("no panic while the lock is held").remove(path);
    }
}

/// So many in any minute, as soon as they are wanted.
#[derive(Debug)]
struct Rate {
    /// How long one takes to come back.
    each: Duration,
    burst: Duration,
    /// When all that were taken will have come back.
    refilled_at: Duration,
}

impl Rate {
    fn per_minute(count: u32) -> Rate {
        let burst = Duration::from_secs(60);
        Rate { each: burst / count.max(1), burst, refilled_at: Duration::ZERO }
    }

    fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let refilled_at = self.refilled_at.max(now) + self.each;
        match refilled_at.saturating_sub(now).checked_sub(self.burst) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                self.refilled_at = refilled_at;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_gives_its_number_in_a_minute_and_then_one_by_one() {
        let mut rate = Rate::per_minute(4);
        let at = Duration::from_secs(1000);
        for _ in 0..4 {
            assert_eq!(rate.take(at), Ok(()));
        }
        assert_eq!(rate.take(at), Err(Duration::from_secs(15)));
        assert_eq!(rate.take(at + Duration::from_secs(15)), Ok(()));
        assert!(rate.take(at + Duration::from_secs(15)).is_err());
    }
}
