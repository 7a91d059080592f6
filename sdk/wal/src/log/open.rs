//! Opening a log.

use super::{Engine, Inner, Log, run_keeper, run_writer};
use crate::cache::Cache;
use crate::core::{Core, Limits};
use crate::error::OpenError;
use crate::keeper::{self, Bell};
use crate::meta::Meta;
use crate::metrics::Metrics;
use crate::options::LogOptions;
use crate::pool::Pool;
use crate::quarantine::Quarantine;
use crate::queue::Queue;
use crate::quota::Quota;
use crate::recovery::{self, Recovered, Recovery};
use crate::reserve;
use crate::storage::{DirLock, LockOutcome};
use crate::view_rows::ViewRows;
use crate::writer::Writer;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{info, warn};

/// Without anything to write for so long, the log counts as idle.
pub(super) const IDLE: Duration = Duration::from_secs(1);

impl Log {
    /// Opens the log of a directory, or makes it, and recovers what is in it.
    ///
    /// When this returns, everything counted is durable, and opening again would count the same.
    /// One process at a time: the directory is locked until the log is stopped.
    pub fn open(options: LogOptions) -> Result<(Self, Recovery), OpenError> {
        let started = (options.monotonic)();
        let io_error = |action| {
            let path = options.dir.clone();
            move |source| OpenError::Io { action, path, source }
        };
        options.storage.create_dir_all(&options.dir).map_err(io_error("make"))?;
        let lock = lock(&options)?;
        let reserve_released = reserve::release(&options).map_err(io_error("make room in"))?;
        let meta = Meta::open(&options)?;
        let mut recovered = recovery::recover(&options, meta.segment_bytes)?;
        let mut recovery = Recovery {
            quarantined: std::mem::take(&mut recovered.quarantined),
            records_cut: recovered.records_cut,
            segments_scanned: recovered.segments_scanned,
            reserve_released,
            ..Recovery::default()
        };
        let (core, mut writer) = assemble(options, meta, lock, recovered);
        recovery.quarantined.iter().for_each(|bad| core.quarantine(bad.clone()));
        core.metrics.cut_records.inc_by(recovery.records_cut);
        fill_view(&core);
        core.measure();
        // What was recovered is whole: the next start shall see that, whatever happens to it meanwhile.
        writer.close_flush();
        recovery.lineages = core.index().extents();
        recovery.segments = core.index().segments.len();
        recovery.took = (core.options.monotonic)().saturating_sub(started);
        report(&core, &recovery);
        let log = start(core, writer).map_err(|source| OpenError::Io {
            action: "start the threads of",
            path: std::path::PathBuf::from("the log"),
            source,
        })?;
        Ok((log, recovery))
    }
}

fn lock(options: &LogOptions) -> Result<DirLock, OpenError> {
    let holder = format!("process {}", std::process::id());
    match options.storage.lock_dir(&options.dir, &holder) {
        Ok(LockOutcome::Held(lock)) => Ok(lock),
        Ok(LockOutcome::Busy(holder)) => {
            Err(OpenError::Locked { dir: options.dir.clone(), holder })
        }
        Err(source) => Err(OpenError::Io { action: "lock", path: options.dir.clone(), source }),
    }
}

fn assemble(
    options: LogOptions,
    meta: Meta,
    lock: DirLock,
    recovered: Recovered,
) -> (Arc<Core>, Writer) {
    let metrics = Metrics::new(options.kind_name);
    metrics.quota_bytes.set(meta.quota_bytes as i64);
    let last_flush = recovered.index.last_flush;
    let core = Arc::new(Core {
        meta,
        limits: Limits::new(meta.segment_bytes),
        index: RwLock::new(recovered.index),
        cache: Cache::new(options.cache_bytes),
        pool: Pool::new(recovered.pool),
        quota: Quota::new(meta.quota_bytes, options.free_bytes_floor, options.marks),
        quarantine: Quarantine::default(),
        view_rows: ViewRows::default(),
        metrics,
        in_flight_bytes: AtomicU64::new(0),
        failure: watch::Sender::new(None),
        dead: AtomicBool::new(false),
        floors_moved: AtomicBool::new(false),
        lock: Mutex::new(Some(lock)),
        options,
    });
    let writer = Writer::new(core.clone(), recovered.tail, last_flush, recovered.previous);
    (core, writer)
}

/// Empties the view and fills it from what the segments hold: a row for each run.
fn fill_view(core: &Core) {
    if let Err(error) = core.options.view.clear(&core.options.view_tree) {
        warn!(%error, "cannot empty the view; its answers are checked, so this costs time only");
    }
    let index = core.index();
    for (number, segment) in &index.segments {
        for run in segment.contents.runs.iter().filter(|run| !run.dead) {
            core.view_rows.put(&run.lineage, run.first, *number);
        }
    }
    drop(index);
    core.view_rows.apply(core);
}

fn report(core: &Core, recovery: &Recovery) {
    info!(
        dir = %core.options.dir.display(),
        segments = recovery.segments,
        scanned = recovery.segments_scanned,
        lineages = recovery.lineages.len(),
        cut = recovery.records_cut,
        quarantined = recovery.quarantined.len(),
        took = ?recovery.took,
        "log open"
    );
}

fn start(core: Arc<Core>, mut writer: Writer) -> io::Result<Log> {
    let (queue, bell) = (Arc::new(Queue::default()), Arc::new(Bell::default()));
    let engine = if core.options.threads {
        let (writer_core, writer_queue, writer_bell) = (core.clone(), queue.clone(), bell.clone());
        let writer_thread = spawn("log-writer", move || {
            run_writer(&writer_core, &writer_queue, &mut writer, &writer_bell);
        })?;
        let (keeper_core, keeper_queue, keeper_bell) = (core.clone(), queue.clone(), bell.clone());
        let keeper_thread = spawn("log-keeper", move || {
            run_keeper(&keeper_core, &keeper_queue, &keeper_bell);
        })?;
        // The keeper ends first: it may wait for the writer, never the other way round.
        Engine::Threads(vec![keeper_thread, writer_thread])
    } else {
        keeper::tidy(&core, &mut |copies| {
            writer.commit(copies);
        });
        Engine::Hand(writer)
    };
    Ok(Log { inner: Arc::new(Inner { core, queue, bell, engine: Mutex::new(engine) }) })
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run)
}
