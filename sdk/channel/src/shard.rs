//! The owner of one lineage: everything that is put into a shard goes through here.

mod answer;
mod checkpoints;
mod options;
mod put;
mod session;
mod state;

pub use answer::{SessionAnswer, ShardError};
pub use options::{CHECKPOINT_BYTES, ChannelKind, ChannelOptions, ShardOptions};

use std::sync::{Arc, Mutex, MutexGuard};

use sdk_event::{Level, Lineage};
use sdk_flow::{ChannelReader, Clock, PutError, ReadError};
use sdk_wal::Log;

use crate::admission::AdmissionTable;
use crate::backlog::Backlog;
use crate::calendar::Calendar;
use crate::capacity::Capacity;
use crate::facts::Facts;
use crate::memory::{MemoryQueue, MemorySupply};
use crate::metrics::{ShardMetrics, SlotMetrics};
use crate::reader::{LineageReader, LogSupply};
use crate::recent::Recent;
use crate::record::Loss;
use crate::totals::Totals;
use crate::watermark::Watermark;
use state::{Phase, State};

/// What a shard knows from one lineage to the next.
pub struct Remembered {
    /// Its producers.
    pub table: AdmissionTable,
    /// Positions of its sources, and a spool's cursors.
    pub facts: Facts,
    /// How its time goes on, in the process that it was written by.
    pub(crate) calendar: Option<Calendar>,
    /// When the last record was put that this was rebuilt from.
    pub(crate) last_put_ms: Option<i64>,
}

impl Remembered {
    /// Nothing: for the first lineage of a shard.
    #[must_use]
    pub fn nothing(lineage: Lineage, view: Option<Arc<dyn sdk_wal::View>>) -> Remembered {
        let (table, facts) = (AdmissionTable::new(lineage, view), Facts::default());
        Remembered { table, facts, calendar: None, last_put_ms: None }
    }

    /// Adds what was given up of earlier lineages, before the shard is opened. What is known stays.
    pub fn lose(&mut self, losses: &[Loss], now_ms: i64) {
        losses.iter().for_each(|loss| self.facts.lose(loss, now_ms, &mut Vec::new()));
    }
}

/// The owner of one lineage, from its first record to its seal.
///
/// ```text
///  put ─▶ admission ─▶ limits ─▶ offsets ─▶ log ┄┄ durable ┄┄▶ watermark ─▶ receipt
///         └──────────── one short lock ───────┘
/// ```
///
/// A put that is refused was refused before it had an offset. One that has offsets
/// is acknowledged when it is durable on every replica, or its fate is unknown
/// until the same ids are put again. The lineage is written once: a process that
/// starts again seals it and opens the next.
pub struct Shard {
    lineage: Lineage,
    level: Level,
    trust_producers: bool,
    inline_reads: bool,
    log: Option<Log>,
    clock: Arc<dyn Clock>,
    watermark: Watermark,
    slots: Vec<Slot>,
    backlog: Backlog,
    recent: Arc<Recent>,
    metrics: Arc<ShardMetrics>,
    state: Mutex<State>,
}

/// One channel in this shard.
struct Slot {
    number: u8,
    capacity: Arc<Capacity>,
    /// Where a memory channel's puts are.
    queue: Option<Arc<MemoryQueue>>,
    metrics: SlotMetrics,
}

impl Shard {
    /// Opens a lineage of which the log has nothing yet, and returns when the
    /// first checkpoint, with all that is `remembered`, is durable: from then on
    /// earlier lineages are needed for what they have to deliver and no more.
    ///
    /// # Errors
    /// See [`ShardError`]. The lineage cannot be opened again then; open the next.
    pub async fn open(
        options: ShardOptions,
        mut remembered: Remembered,
    ) -> Result<Shard, ShardError> {
        for source in remembered.facts.sources() {
            remembered.table.keep(source);
        }
        let Remembered { calendar, last_put_ms, facts, .. } = &mut remembered;
        let calendar = calendar.take();
        let mut calendar = calendar
            .unwrap_or_else(|| Calendar::new(&*options.clock, *last_put_ms, facts.ahead_ms()));
        facts.forget_losses(calendar.at(options.clock.wall_ms(), &*options.clock));
        for loss in remembered.facts.losses() {
            remembered.table.keep_spans(&loss);
        }
        let lineage = options.lineage;
        let metrics = options.metrics.shard(&options.flow, lineage.shard);
        let slot = |channel: &ChannelOptions| Slot {
            number: channel.number,
            capacity: Arc::clone(&channel.capacity),
            queue: (channel.kind == ChannelKind::Memory)
                .then(|| Arc::new(MemoryQueue::new(Arc::clone(&channel.capacity)))),
            metrics: metrics.channel(channel.capacity.name()),
        };
        let slots: Vec<Slot> = options.channels.iter().map(slot).collect();
        let durable = slots.iter().filter(|slot| slot.queue.is_none());
        let durable = durable.map(|slot| (slot.number, Arc::clone(&slot.capacity)));
        let log = options.log;
        if let Some(log) = &log
            && log.lineage(lineage).is_some()
        {
            return Err(ShardError::Used(lineage));
        }
        let replicated = options.level == Level::Replicated;
        let shard = Shard {
            lineage,
            level: options.level,
            trust_producers: options.trust_producers,
            inline_reads: options.inline_reads,
            watermark: Watermark::open(log.as_ref().map(|log| (log, lineage)), replicated),
            backlog: Backlog::new(lineage, log.clone(), durable),
            slots,
            log,
            clock: options.clock,
            recent: Arc::new(Recent::new(options.recent)),
            metrics,
            state: Mutex::new(State::new(remembered, calendar, options.checkpoint_bytes)),
        };
        shard.begin().await?;
        Ok(shard)
    }

    /// Which lineage this is.
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        self.lineage
    }

    /// What a receipt promises.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// The offset below which everything is durable on every replica.
    #[must_use]
    pub fn watermark(&self) -> u64 {
        self.watermark.get()
    }

    /// The offset of the next record: behind everything that was accepted, whether
    /// it is durable yet or not.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.lock().next
    }

    /// Says that every other replica has everything below `end`. Without this a
    /// lineage of several replicas acknowledges nothing.
    pub fn replicated(&self, end: u64) {
        self.watermark.replicated(end);
    }

    /// Stops acknowledging and stops the watermark, and returns where it stands:
    /// the length to propose. A second call returns the same.
    ///
    /// Puts in flight end as unknown, later ones are told to wait.
    pub fn seal(&self) -> u64 {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Sealed;
        }
        self.watermark.seal()
    }

    /// Takes no more puts, waits for those in flight, and seals. What is then
    /// sealed is all there is, unless the log has died.
    pub async fn stop(&self) -> u64 {
        {
            let mut state = self.lock();
            if state.phase == Phase::Open {
                state.phase = Phase::Stopped;
            }
        }
        let mut follower = self.watermark.follow();
        let mut failure = self.log.as_ref().map(Log::failure);
        // What is in flight may turn out not to have been written, and whoever put it may be gone.
        while follower.look().watermark < self.lock().next {
            let failed = async {
                match &mut failure {
                    Some(failure) => drop(failure.wait_for(Option::is_some).await),
                    None => std::future::pending().await,
                }
            };
            let heard = async {
                if !self.hear_unheard().await {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                biased;
                () = follower.changed() => (),
                () = heard => (),
                () = failed => break,
            }
        }
        self.seal()
    }

    /// Whether it takes no more puts, for [`Shard::stop`] or [`Shard::seal`].
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.lock().phase != Phase::Open
    }

    /// The lineage's length is decided: it ends at `end`, and so do its readers. A second call with the same
    /// changes nothing.
    pub fn end_at(&self, end: u64) {
        self.seal();
        self.watermark.end(end);
        if let Some(log) = &self.log {
            log.cut(self.lineage, end);
        }
        for queue in self.slots.iter().filter_map(|slot| slot.queue.as_ref()) {
            queue.truncate(end);
        }
    }

    /// What the shard knows, for the next lineage; `None` unless everything that
    /// was written lies below `end`, and the second time. Then it must be rebuilt
    /// from the log.
    #[must_use]
    pub fn take_remembered(&self, end: u64) -> Option<Remembered> {
        let mut state = self.lock();
        let whole = state.next == end && state.phase != Phase::Open && state.damage.is_none();
        if !whole || std::mem::replace(&mut state.taken, true) {
            return None;
        }
        let nothing = Remembered::nothing(self.lineage, None);
        let remembered = std::mem::replace(&mut state.remembered, nothing);
        Some(Remembered { calendar: Some(state.calendar.clone()), ..remembered })
    }

    /// The next lineage remembers on its own: this one keeps no more of the log
    /// than it has to deliver.
    pub fn superseded(&self) {
        self.backlog.hold_from(u64::MAX);
    }

    /// Ends every reader.
    pub fn close(&self) {
        self.watermark.close();
    }

    /// The watermark, and what was put below it.
    #[must_use]
    pub fn totals(&self) -> (u64, Totals) {
        let mut state = self.lock();
        let watermark = self.watermark.get();
        state.count_to(watermark);
        (watermark, state.counted.clone())
    }

    /// How many producers are remembered.
    #[must_use]
    pub fn producers(&self) -> usize {
        self.lock().remembered.table.len()
    }

    /// Looks at what is remembered. For tests and for operators: puts wait.
    pub fn inspect<T>(&self, look: impl FnOnce(&Remembered) -> T) -> T {
        look(&self.lock().remembered)
    }

    /// Lineages of lower epochs have left the state: what they had is committed.
    pub fn set_epoch_min(&self, epoch_min: u64) {
        self.lock().remembered.table.set_epoch_min(epoch_min);
    }

    /// Everything below `floor` is delivered by every sink group of the channel:
    /// its room is free, and the log may forget it.
    pub fn raise_floor(&self, channel: u8, floor: u64) {
        let Some(slot) = self.slot(channel) else { return };
        match &slot.queue {
            Some(queue) => queue.raise_floor(floor),
            None => self.backlog.raise_floor(channel, floor),
        }
        slot.metrics.used_bytes.set(slot.capacity.used() as i64);
        self.hold();
    }

    /// The offset below which everything of the channel is delivered.
    #[must_use]
    pub fn floor(&self, channel: u8) -> Option<u64> {
        match &self.slot(channel)?.queue {
            Some(queue) => Some(queue.floor()),
            None => self.backlog.floor(channel),
        }
    }

    /// The room of a channel.
    #[must_use]
    pub fn capacity(&self, channel: u8) -> Option<&Arc<Capacity>> {
        self.slot(channel).map(|slot| &slot.capacity)
    }

    /// A reader of one channel that stands at `from`.
    ///
    /// # Errors
    /// When the lineage has no such channel.
    pub fn reader(&self, channel: u8, from: u64) -> Result<Box<dyn ChannelReader>, ReadError> {
        let slot = self.slot(channel).ok_or_else(|| {
            ReadError::Storage(format!("{} has no channel {channel}", self.lineage).into())
        })?;
        if let Some(queue) = &slot.queue {
            if from < queue.floor() {
                let reason = format!("offset {from} is below what was kept");
                return Err(ReadError::Storage(reason.into()));
            }
            let supply = MemorySupply(Arc::clone(queue));
            return Ok(Box::new(LineageReader::new(self.lineage, &self.watermark, supply, from)));
        }
        let Some(log) = self.log.clone() else { return Err(ReadError::Closed) };
        let recent = Some(Arc::clone(&self.recent));
        let supply = LogSupply::new(log, self.lineage, channel, recent, self.inline_reads);
        Ok(Box::new(LineageReader::new(self.lineage, &self.watermark, supply, from)))
    }

    /// Becomes the reason once this lineage should be sealed and the next opened,
    /// because the view has lost part of the admission table. The log has it.
    #[must_use]
    pub fn damage(&self) -> Option<Arc<str>> {
        self.lock().damage.clone()
    }

    fn slot(&self, channel: u8) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.number == channel)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the lock is held")
    }

    /// Waits until everything below `end` is durable on every replica.
    async fn reach(&self, end: u64) -> Result<(), PutError> {
        if self.watermark.get() >= end {
            return Ok(());
        }
        let mut follower = self.watermark.follow();
        loop {
            let standing = follower.look();
            if standing.watermark >= end {
                return Ok(());
            }
            if standing.closed || self.watermark.is_sealed() {
                return Err(answer::unknown("the lineage was sealed before it was durable"));
            }
            follower.changed().await;
        }
    }
}
