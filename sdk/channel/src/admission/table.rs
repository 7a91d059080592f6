//! The table itself: what it answers, and how records change it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use sdk_event::{Lineage, ProducerId};
use sdk_wal::View;

use super::entry::{Entry, LastBlock};
use super::store::{Store, StoreError};
use crate::record::{
    CheckpointPart, Close, Gap, Loss, PartBuilder, RecordError, Registration, Section,
};

/// A producer that is not heard of for so long is forgotten.
pub const IDLE_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// A producer that closed its session is remembered for so long.
pub const CLOSED_KEPT: Duration = Duration::from_secs(10 * 60);

/// Above the cap, a producer may be forgotten for another when it was idle for so long.
pub const IDLE_EVICTABLE: Duration = Duration::from_secs(3600);

/// Producers that a shard remembers.
pub const PRODUCERS_MAX: usize = 100_000;

/// Producers picked at once to be forgotten, so that the search is rare.
const VICTIMS: usize = 1024;

const MINUTE_MS: i64 = 60_000;

/// What a block says of itself to be admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockId {
    /// Whose it is.
    pub producer: ProducerId,
    /// Under which numbering.
    pub generation: u64,
    /// The sequence number of its first event.
    pub first_sequence: u64,
    /// How many events it has.
    pub count: u32,
    /// Its CRC32C; unknown when the record can no longer be read.
    pub crc: Option<u32>,
}

impl BlockId {
    fn end(&self) -> Option<u64> {
        self.first_sequence.checked_add(u64::from(self.count))
    }
}

/// What is to be done with a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the one expected: store it.
    Accept,
    /// It is there already: it ends at or before `end` of that lineage.
    Duplicate {
        /// The epoch of the lineage that has it; `None` when that has left the state.
        epoch: Option<u64>,
        /// An offset at or behind the block's end; its end if it is the last of
        /// its producer there.
        end: u64,
    },
}

/// Why a block or a session is refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It is not next: this sequence number is.
    Expected(u64),
    /// The producer is at this generation.
    Generation(u64),
    /// The producer is not known.
    Expired,
    /// Other bytes are stored under these ids.
    Conflict,
    /// It was there and was given up.
    Lost,
    /// As many producers are known as may be, none of them idle for long enough.
    Full,
    /// The table itself is damaged.
    Store(StoreError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        Refusal::Store(error)
    }
}

/// What a shard remembers of its producers.
pub struct AdmissionTable {
    store: Store,
    producers_max: usize,
    /// Spans of lineages below it are those of lineages that have left the state.
    epoch_min: u64,
    victims: VecDeque<ProducerId>,
    /// No search for victims before this minute: there are none.
    barren_until: u32,
    forgotten: u64,
    /// Never forgotten: the flow's own sources.
    kept: BTreeSet<ProducerId>,
    /// Epochs whose spans are kept below `epoch_min`: some of those lineages was given up.
    given_up: BTreeSet<u64>,
}

impl AdmissionTable {
    /// An empty table for the shard of `lineage`. What does not fit in memory
    /// goes to `view`, under keys of that lineage.
    #[must_use]
    pub fn new(lineage: Lineage, view: Option<Arc<dyn View>>) -> AdmissionTable {
        AdmissionTable {
            store: Store::new(lineage, view),
            producers_max: PRODUCERS_MAX,
            epoch_min: 0,
            victims: VecDeque::new(),
            barren_until: 0,
            forgotten: 0,
            kept: BTreeSet::new(),
            given_up: BTreeSet::new(),
        }
    }

    /// Remembers at most so many producers.
    pub fn set_producers_max(&mut self, producers_max: usize) {
        self.producers_max = producers_max.max(1);
    }

    /// The same, of which `hot` in memory.
    pub fn set_limits(&mut self, producers_max: usize, hot: usize) {
        self.set_producers_max(producers_max);
        self.store.set_hot_max(hot);
    }

    /// How many producers are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many were forgotten for others, since the process began.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Everything remembered. For tests and for looking: it reads the view.
    ///
    /// # Panics
    /// If the view lost an entry.
    #[must_use]
    pub fn entries(&self) -> BTreeMap<ProducerId, Entry> {
        let ids = self.store.ids(&ProducerId([0; 16]), None);
        let entry = |id| self.store.peek(&id).expect("the view has it").map(|entry| (id, entry));
        ids.filter_map(entry).collect()
    }

    /// Lineages of epochs below have left the state: what they had is committed.
    pub fn set_epoch_min(&mut self, epoch_min: u64) {
        self.epoch_min = self.epoch_min.max(epoch_min);
    }

    /// Never forgets a producer.
    pub(crate) fn keep(&mut self, producer: ProducerId) {
        self.kept.insert(producer);
    }

    /// Keeps what is known of where blocks are, where that is needed to say what a loss meant.
    pub(crate) fn keep_spans(&mut self, loss: &Loss) {
        if loss.ids.is_none() {
            self.given_up.insert(loss.epoch);
        }
    }

    /// Whether a block that is there already may be among what was given up.
    pub(crate) fn is_among(&mut self, id: &BlockId, loss: &Loss) -> Result<bool, StoreError> {
        let Some(end) = id.end() else { return Ok(false) };
        if let Some(lost) = &loss.ids {
            let same = (lost.producer, lost.generation) == (id.producer, id.generation);
            return Ok(same && lost.first < end && id.first_sequence < lost.end);
        }
        let Some(entry) = self.store.get(&id.producer)? else { return Ok(false) };
        // Where exactly a block is, only the log can tell: it is somewhere below its span's end.
        let span = entry.span(id.generation, end);
        Ok(span.is_some_and(|span| span.epoch == loss.epoch && loss.from < span.end))
    }

    /// What one producer's entry is, unless it is unknown or was forgotten.
    pub(crate) fn get(
        &mut self,
        producer: &ProducerId,
        now_ms: i64,
    ) -> Result<Option<&Entry>, StoreError> {
        let kept = self.kept.contains(producer);
        Ok(self.store.get(producer)?.filter(|entry| kept || !is_forgotten(entry, now_ms)))
    }

    /// What is to be done with a block. Changes nothing.
    pub(crate) fn judge(&mut self, id: &BlockId, now_ms: i64) -> Result<Verdict, Refusal> {
        let epoch_min = self.epoch_min;
        let entry = self.get(&id.producer, now_ms)?.ok_or(Refusal::Expired)?;
        let end = id.end().ok_or(Refusal::Expected(entry.next))?;
        let duplicate = || match entry.span(id.generation, end) {
            Some(span) if span.epoch >= epoch_min => {
                Verdict::Duplicate { epoch: Some(span.epoch), end: span.end }
            }
            _ => Verdict::Duplicate { epoch: None, end: 0 },
        };
        if id.generation != entry.generation {
            let ended = entry.ends.iter().rev().find(|(old, _)| *old == id.generation);
            return match ended {
                Some((_, ended)) if end <= *ended => Ok(duplicate()),
                _ => Err(Refusal::Generation(entry.generation)),
            };
        }
        if id.first_sequence == entry.next {
            return Ok(Verdict::Accept);
        }
        if end > entry.next {
            return Err(Refusal::Expected(entry.next));
        }
        let last = entry.last.filter(|last| last.generation == id.generation);
        match last {
            Some(last) if last.first_sequence == id.first_sequence => {
                let differs = |crc| id.crc.is_some_and(|other| other != crc);
                match last.count != id.count || last.crc.is_some_and(differs) {
                    true => Err(Refusal::Conflict),
                    false => Ok(duplicate()),
                }
            }
            Some(last) if end <= last.first_sequence + u64::from(last.count) => Ok(duplicate()),
            // What a producer declared never to come, or never put here, is not there:
            // to call it a duplicate would lose it.
            _ => Err(Refusal::Expected(entry.next)),
        }
    }

    /// The record that opens a session, or why there is none. Changes nothing
    /// that counts.
    pub(crate) fn judge_open(
        &mut self,
        open: &OpenSession,
        now_ms: i64,
        trust: bool,
    ) -> Result<Registration, Refusal> {
        let OpenSession { producer, generation, lowest, sent } = *open;
        let registration =
            |next, fresh, forgotten| Registration { producer, generation, next, fresh, forgotten };
        let expired = sent && !trust;
        if let Some(entry) = self.get(&producer, now_ms)? {
            return match generation.cmp(&entry.generation) {
                std::cmp::Ordering::Less => Err(Refusal::Generation(entry.generation)),
                std::cmp::Ordering::Equal => Ok(registration(entry.next.max(lowest), false, None)),
                std::cmp::Ordering::Greater if expired => Err(Refusal::Expired),
                std::cmp::Ordering::Greater => Ok(registration(lowest, false, None)),
            };
        }
        if expired {
            return Err(Refusal::Expired);
        }
        if self.store.contains(&producer) || self.store.len() < self.producers_max {
            return Ok(registration(lowest, true, None));
        }
        let victim = self.victim(minute(now_ms)).ok_or(Refusal::Full)?;
        Ok(registration(lowest, true, Some(victim)))
    }

    /// The one idle for longest, if it was for long enough.
    fn victim(&mut self, minute: u32) -> Option<ProducerId> {
        loop {
            // It may have been heard of since it was picked.
            while let Some(victim) = self.victims.front() {
                let ripe = self.store.evictable_from(victim).is_some_and(|from| from <= minute);
                if ripe && !self.kept.contains(victim) {
                    return Some(*victim);
                }
                self.victims.pop_front();
            }
            if minute < self.barren_until {
                return None;
            }
            match self.store.evictable(minute, VICTIMS + self.kept.len()) {
                // Only those that are kept: nothing to be found until there are others.
                Ok(victims) if victims.iter().all(|victim| self.kept.contains(victim)) => {
                    self.barren_until = minute.saturating_add(1);
                    return None;
                }
                Ok(victims) => self.victims = victims.into(),
                Err(first) => {
                    self.barren_until = first;
                    return None;
                }
            }
        }
    }

    /// What is known of a producer, whether it counts or not: to put it back.
    pub(crate) fn copy(&mut self, producer: &ProducerId) -> Result<Option<Entry>, StoreError> {
        Ok(self.store.get(producer)?.cloned())
    }

    /// Puts back what [`AdmissionTable::copy`] gave.
    pub(crate) fn restore(&mut self, producer: &ProducerId, entry: Option<Entry>) {
        match entry {
            Some(entry) => self.set(producer, entry),
            None => self.store.remove(producer),
        }
    }

    pub(crate) fn apply_put(
        &mut self,
        id: &BlockId,
        epoch: u64,
        first_offset: u64,
        put_time_ms: i64,
    ) -> Result<(), StoreError> {
        self.change(&id.producer, id.generation, put_time_ms, |entry| {
            let block = LastBlock {
                generation: id.generation,
                first_sequence: id.first_sequence,
                count: id.count,
                crc: id.crc,
            };
            entry.stored(block, epoch, first_offset);
        })
    }

    pub(crate) fn apply_registration(
        &mut self,
        registration: &Registration,
        put_time_ms: i64,
    ) -> Result<(), StoreError> {
        if let Some(forgotten) = &registration.forgotten {
            self.store.remove(forgotten);
            self.forgotten += 1;
        }
        if registration.fresh {
            let fresh = Entry {
                generation: registration.generation,
                next: registration.next,
                active_ms: put_time_ms,
                ..Entry::default()
            };
            self.set(&registration.producer, fresh);
            return Ok(());
        }
        self.change(&registration.producer, registration.generation, put_time_ms, |entry| {
            entry.next = entry.next.max(registration.next);
        })
    }

    pub(crate) fn apply_gap(&mut self, gap: &Gap, put_time_ms: i64) -> Result<(), StoreError> {
        self.change(&gap.producer, gap.generation, put_time_ms, |entry| {
            entry.next = entry.next.max(gap.to);
        })
    }

    pub(crate) fn apply_close(
        &mut self,
        close: &Close,
        put_time_ms: i64,
    ) -> Result<(), StoreError> {
        self.change(&close.producer, close.generation, put_time_ms, |entry| entry.closed = true)
    }

    /// Applies a record of a producer: it is alive, and at that generation.
    fn change(
        &mut self,
        producer: &ProducerId,
        generation: u64,
        put_time_ms: i64,
        change: impl FnOnce(&mut Entry),
    ) -> Result<(), StoreError> {
        let before = self.store.get(producer)?.cloned();
        let mut entry = before.unwrap_or(Entry { generation, ..Entry::default() });
        if generation > entry.generation {
            entry.renumber(generation, 0);
        }
        // Time may go back, a producer's last sign of life does not.
        entry.active_ms = entry.active_ms.max(put_time_ms);
        entry.closed = false;
        if generation == entry.generation {
            change(&mut entry);
        }
        self.set(producer, entry);
        Ok(())
    }

    fn set(&mut self, producer: &ProducerId, entry: Entry) {
        let kept = if entry.closed { CLOSED_KEPT } else { IDLE_EVICTABLE };
        // One more, because the minute has begun already.
        let evictable = minute(entry.active_ms).saturating_add(kept.as_secs() as u32 / 60 + 1);
        self.store.set(producer, entry, evictable);
    }

    /// Fills a checkpoint's part from `low` on and returns where the next one
    /// begins. Who is forgotten by now goes.
    pub(crate) fn fill_part(
        &mut self,
        low: &ProducerId,
        now_ms: i64,
        part: &mut PartBuilder,
    ) -> Result<Option<ProducerId>, StoreError> {
        let mut gone = Vec::new();
        let mut pruned = Vec::new();
        let mut next = None;
        for producer in self.store.ids(low, None) {
            if part.is_full() {
                next = Some(producer);
                break;
            }
            let Some(mut entry) = self.store.peek(&producer)? else { continue };
            if is_forgotten(&entry, now_ms) && !self.kept.contains(&producer) {
                gone.push(producer);
                continue;
            }
            if entry.prune(|epoch| epoch >= self.epoch_min || self.given_up.contains(&epoch)) {
                pruned.push((producer, entry.clone()));
            }
            part.entry(&producer.0, &entry.encode());
        }
        gone.iter().for_each(|producer| self.store.remove(producer));
        for (producer, entry) in pruned {
            self.set(&producer, entry);
        }
        Ok(next)
    }

    /// Makes the part's range what the part says.
    pub(crate) fn apply_part(&mut self, part: &CheckpointPart) -> Result<(), RecordError> {
        debug_assert_eq!(part.section, Section::Producers);
        let low = producer_id(&part.low)?;
        let high = part.high.as_ref().map(|high| producer_id(high)).transpose()?;
        let named = |id: &ProducerId| {
            part.entries.binary_search_by(|(key, _)| key.as_ref().cmp(id.0.as_slice())).is_ok()
        };
        let gone: Vec<_> = self.store.ids(&low, high.as_ref()).filter(|id| !named(id)).collect();
        gone.iter().for_each(|producer| self.store.remove(producer));
        for (key, value) in &part.entries {
            self.set(&producer_id(key)?, Entry::decode(value.clone())?);
        }
        Ok(())
    }
}

/// How a producer opens its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenSession {
    /// Who.
    pub producer: ProducerId,
    /// Under which numbering.
    pub generation: u64,
    /// The lowest sequence number still to come.
    pub lowest: u64,
    /// Whether a block that begins with it was ever sent, so that it may be stored.
    pub sent: bool,
}

fn producer_id(key: &[u8]) -> Result<ProducerId, RecordError> {
    let id = key.try_into().map_err(|_| RecordError::Malformed("a producer id has 16 bytes"))?;
    Ok(ProducerId(id))
}

fn is_forgotten(entry: &Entry, now_ms: i64) -> bool {
    let kept = if entry.closed { CLOSED_KEPT } else { IDLE_KEPT };
    now_ms.saturating_sub(entry.active_ms) >= kept.as_millis() as i64
}

fn minute(ms: i64) -> u32 {
    u32::try_from(ms.max(0) / MINUTE_MS).unwrap_or(u32::MAX)
}
