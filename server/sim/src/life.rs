//! One life of the node: open, serve, and end in the middle of something.

use crate::clock::LifeClock;
use crate::outage;
use crate::panics;
use crate::producer::Producer;
use crate::pump::Pump;
use crate::world::World;
use prometheus_client::registry::Registry;
use sdk_config::{NodeConfig, parse_node};
use sdk_files::fs::{Faults as FileFaults, FileSystems};
use sdk_flow::{Clock, Entropy, HostNames, SeededEntropy, Tasks};
use sdk_wal::{Fault, Faults, Log, LogOptions, MemoryView, View};
use server_node::works::{FIRST_NODE, Works, WorksOptions};
use server_raft::{Raft, RaftOptions};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

const LOG_DIR: &str = "/data/log";
const RAFT_DIR: &str = "/data/raft";
/// A life lasts at most so long, if nothing ends it.
const LIFE_MS_MAX: u64 = 25_000;
/// A disk that becomes full has room for so many bytes more, at most.
const ROOM_MAX: u64 = 300 << 10;
/// The last life has drained everything within this.
const DRAINED_WITHIN: Duration = Duration::from_secs(1800);
/// Raft's time passes in these.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// A stop that is asked for.
const STOP_GRACE: Duration = Duration::from_secs(30);

/// How large logs are.
struct Room {
    log_quota: u64,
    raft_quota: u64,
    /// A record has at most half of it.
    raft_segment: u32,
}

/// So small that segments come and go.
const LITTLE_ROOM: Room = Room { log_quota: 8 << 20, raft_quota: 4 << 20, raft_segment: 64 << 10 };
/// What comes in during an outage has room, and so has what is proposed at its end.
const MUCH_ROOM: Room = Room { log_quota: 256 << 20, raft_quota: 64 << 20, raft_segment: 8 << 20 };

/// How a life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It did not get as far as to serve.
    NotStarted,
    /// Its disk has failed it.
    Died,
    /// Killed in the middle of a call to the file system.
    InFiles,
    /// Killed at some moment.
    Killed,
    /// Stopped in order.
    Stopped,
}

impl World {
    /// One life. With `last` it has no faults and drains everything.
    pub(crate) fn life(&mut self, last: bool) -> Result<(), String> {
        self.sums.lives += 1;
        let _listening = self.trace.listen();
        let pump = Arc::new(Pump::default());
        let turned = Arc::clone(&pump);
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .on_thread_park(move || turned.turn())
            .build()
            .map_err(|error| error.to_string())?;
        let faults = if last { Faults::default() } else { self.draw_faults() };
        self.trace.say(|| format!("--- life {}: {faults:?}", self.sums.lives));
        let (end, took) = runtime.block_on(async {
            let clock = Arc::new(LifeClock::new(self.now_ms));
            let end = self.live(&pump, Arc::clone(&clock), faults, last).await;
            (end, clock.monotonic())
        });
        let failed_sync =
            matches!(faults.at_step, Some((at, Fault::Io)) if self.storage.steps() >= at);
        // The process is gone before anything of it is dropped.
        let power = !last && (self.storage.is_down() || failed_sync || self.chance(40));
        match power {
            true => self.power_cut(),
            false => self.storage.kill(),
        }
        self.disk.restart();
        let end = end?;
        self.trace.say(|| {
            let how = if power { ", and the power was cut" } else { "" };
            format!("--- {end:?} after {took:?}{how}")
        });
        drop(runtime);
        drop(pump);
        self.now_ms += i64::try_from(took.as_millis()).unwrap_or(0) + 500;
        match panics::take().into_iter().next() {
            Some(panic) => Err(panic),
            None => Ok(()),
        }
    }

    fn draw_faults(&self) -> Faults {
        let reach = if self.chance(30) { 60 } else { 700 };
        let at = self.storage.steps() + 1 + self.draw.below(reach);
        let at_step = match self.draw.below(10) {
            0..4 => Some((at, Fault::PowerCut)),
            4..5 => Some((at, Fault::Io)),
            _ => None,
        };
        let full = self.chance(15).then(|| self.storage.used_bytes() + self.draw.below(ROOM_MAX));
        Faults { at_step, short_writes: self.chance(20), capacity_bytes: full }
    }

    fn file_faults(&self) -> FileFaults {
        let share = |most: u64| self.draw.below(most);
        match self.draw.below(3) {
            0 => FileFaults::NONE,
            _ => FileFaults {
                before: share(40),
                after: share(40),
                hang: share(4),
                delayed: share(30),
                repeated: share(60),
            },
        }
    }

    async fn live(
        &mut self,
        pump: &Arc<Pump>,
        clock: Arc<LifeClock>,
        faults: Faults,
        last: bool,
    ) -> Result<End, String> {
        let entropy = Arc::new(SeededEntropy::new(self.draw.next_u64()));
        self.storage.set_faults(faults);
        self.disk.set_faults(if last { FileFaults::NONE } else { self.file_faults() });
        let crash_after = 1 + self.draw.below(400);
        let in_files = match !last && self.chance(40) {
            true => self.disk.crash_after(crash_after),
            false => CancellationToken::new(),
        };
        let lasts = Duration::from_millis(1 + self.draw.below(LIFE_MS_MAX));
        let parsed = parse_node(&self.spec, "sim.toml", &|_| None);
        let config = parsed.map_err(|mistakes| mistakes.to_string())?.value;
        let (log, view) = match self.open_log(&clock, &entropy) {
            Ok(opened) => opened,
            Err(error) => return self.not_started(last, &error),
        };
        let room = self.room();
        let raft = Raft::open(RaftOptions {
            storage: Arc::new(self.storage.process()),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            entropy: Arc::clone(&entropy) as Arc<dyn Entropy>,
            quota_bytes: room.raft_quota,
            segment_bytes: room.raft_segment,
            reserve_bytes: 4 << 10,
            snapshot_entries: 60,
            threads: false,
            ..RaftOptions::new(RAFT_DIR, FIRST_NODE)
        });
        let (raft, driver) = match raft {
            Ok(opened) => opened,
            Err(error) => return self.not_started(last, &error.to_string()),
        };
        pump.start(log.clone(), driver, self.draw.next_u64());
        let tasks = Tasks::new();
        tasks.start("heartbeat", |stop| async move {
            while !stop.is_cancelled() {
                sleep(HEARTBEAT).await;
            }
        });
        let mut log_failure = log.failure();
        let used = log.clone();
        let options = self.works(config, log, view, raft, &clock, &entropy);
        let mut registry = Registry::default();
        let works = tokio::select! {
            biased;
            works = Works::start(options, &mut registry, &tasks) => works,
            () = pump.dead.cancelled() => return self.not_started(last, "the control plane is dead"),
            _ = log_failure.wait_for(Option::is_some) => return self.not_started(last, "the log is dead"),
            () = in_files.cancelled() => return Ok(End::InFiles),
        };
        let works = match works {
            Ok(works) => works,
            Err(error) => return self.not_started(last, &format!("{error:?}")),
        };
        self.trace.say(|| "the node accepts".to_owned());
        for producer in &self.producers {
            let running = Arc::clone(producer).run(works.router());
            tasks.start("producer", |_| running);
        }
        if let Some(outage) = self.outage {
            self.sums.outage = outage::sit_out(self, &works, &used, outage).await?;
        }
        if last {
            return self.drain(&works).await.map(|()| End::Stopped);
        }
        let ended = tokio::select! {
            biased;
            () = pump.dead.cancelled() => End::Died,
            _ = log_failure.wait_for(Option::is_some) => End::Died,
            () = in_files.cancelled() => End::InFiles,
            () = sleep(lasts) => End::Killed,
        };
        if ended == End::Killed && self.chance(15) {
            // Whatever fails in an orderly stop, it is a crash then.
            let _ = timeout(STOP_GRACE, works.stop(STOP_GRACE)).await;
            return Ok(End::Stopped);
        }
        Ok(ended)
    }

    fn room(&self) -> Room {
        if self.outage.is_some() { MUCH_ROOM } else { LITTLE_ROOM }
    }

    fn open_log(
        &self,
        clock: &Arc<LifeClock>,
        entropy: &Arc<SeededEntropy>,
    ) -> Result<(Log, Arc<dyn View>), String> {
        let view: Arc<dyn View> = Arc::new(MemoryView::new());
        let (monotonic, random) = (Arc::clone(clock), Arc::clone(entropy));
        let options = LogOptions {
            storage: Arc::new(self.storage.process()),
            view: Arc::clone(&view),
            segment_bytes: 64 << 10,
            quota_bytes: Some(self.room().log_quota),
            free_bytes_floor: 0,
            reserve_bytes: 4096,
            cache_bytes: 16 << 10,
            threads: false,
            monotonic: Arc::new(move || monotonic.monotonic()),
            random: Arc::new(move || random.next_u64()),
            ..LogOptions::new(LOG_DIR)
        };
        let (log, recovery) = Log::open(options).map_err(|error| error.to_string())?;
        match recovery.quarantined.first() {
            Some(bad) => panic!("nothing was flipped, and {bad:?}"),
            None => Ok((log, view)),
        }
    }

    fn works(
        &self,
        config: NodeConfig,
        log: Log,
        view: Arc<dyn View>,
        raft: server_raft::RaftHandle,
        clock: &Arc<LifeClock>,
        entropy: &Arc<SeededEntropy>,
    ) -> WorksOptions {
        let file_systems: Arc<dyn FileSystems> = Arc::new(Arc::new(self.disk.clone()));
        WorksOptions {
            config,
            cluster: [0xc1; 16],
            directory: [0xd1; 16],
            addresses: Vec::new(),
            log,
            view,
            raft,
            file_systems,
            archive: None,
            dead_letters: PathBuf::from("/nowhere"),
            clock: Arc::clone(clock) as Arc<dyn Clock>,
            entropy: Arc::clone(entropy) as Arc<dyn Entropy>,
            host: HostNames::default(),
        }
    }

    /// A start may fail when the disk does, not otherwise.
    fn not_started(&self, last: bool, error: &str) -> Result<End, String> {
        let failing = !last && self.storage.has_failed();
        match failing {
            true => Ok(End::NotStarted),
            false => Err(format!("the node does not start: {error}")),
        }
    }

    /// Waits until everything is final, and the books say the same.
    async fn drain(&mut self, works: &Works) -> Result<(), String> {
        let drained = async {
            loop {
                sleep(Duration::from_secs(1)).await;
                let wrong =
                    self.producers.iter().find_map(|producer| producer.state().wrong.clone());
                if let Some(wrong) = wrong {
                    return Err(wrong);
                }
                if self.producers.iter().all(|producer: &Arc<Producer>| producer.is_done())
                    && self.balanced(works)
                {
                    return Ok(());
                }
            }
        };
        let drained = timeout(DRAINED_WITHIN, drained).await;
        let result = drained.unwrap_or_else(|_| {
            let (books, drains) = (works.audit(), works.drains());
            Err(format!("not drained within {DRAINED_WITHIN:?}: {books:#?} {drains:#?}"))
        });
        if result.is_ok() {
            self.check()?;
            self.take_all();
        }
        self.disk.settle().await;
        result
    }

    /// Everything that was made is in the books as final, nothing as lost or dropped.
    fn balanced(&self, works: &Works) -> bool {
        let made: u64 = self.producers.iter().map(|producer| producer.made()).sum();
        let books = works.audit();
        let total = |count: fn(&server_node::works::Book) -> u64| -> u64 {
            books.iter().map(|row| count(&row.total())).sum()
        };
        let waiting: u64 =
            books.iter().flat_map(|row| &row.living).map(|living| living.waiting).sum();
        total(|book| book.in_files + book.dead_lettered) == made && waiting == 0
    }
}
