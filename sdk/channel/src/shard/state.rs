//! What a shard's lock protects, and how it is changed and put back.

use std::collections::VecDeque;
use std::sync::Arc;

use sdk_event::{EventId, ProducerId};
use sdk_flow::PutError;
use sdk_wal::{AppendError, Appended, Body, Entry as LogEntry, Log, Purpose};
use smallvec::SmallVec;

use super::answer::{moving, not_appended, unknown};
use super::checkpoints::Checkpoints;
use super::{Remembered, Shard};
use crate::admission::{Entry, StoreError};
use crate::calendar::Calendar;
use crate::facts::FactBefore;
use crate::recent::RecentRecord;
use crate::totals::{Delta, Totals};

/// What a record adds to a log besides its body.
pub(super) const RECORD_BYTES: u64 = 256;

/// Whether there is anything to put into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// Another lineage takes over.
    Sealed,
    /// The process stops, or the log has died.
    Stopped,
}

pub(super) struct State {
    pub(super) phase: Phase,
    /// The offset of the next record.
    pub(super) next: u64,
    ticket: u64,
    pub(super) remembered: Remembered,
    pub(super) calendar: Calendar,
    /// Whether the next lineage has that now.
    pub(super) taken: bool,
    /// Of everything written.
    pub(super) totals: Totals,
    /// Of everything counted durable: the records that are not in `pending`.
    pub(super) counted: Totals,
    /// What was written and is not counted durable yet; the log bounds it.
    pending: VecDeque<Pending>,
    pub(super) checkpoints: Checkpoints,
    pub(super) damage: Option<Arc<str>>,
}

/// A record on its way to the disk.
struct Pending {
    ticket: u64,
    first: u64,
    end: u64,
    delta: Delta,
    undo: Undo,
    /// The log's answer, if whoever put the record does not wait for it.
    unheard: Option<Appended>,
}

/// How things were before a record.
#[derive(Default)]
pub(super) struct Undo {
    pub(super) producers: SmallVec<[(ProducerId, Option<Entry>); 1]>,
    pub(super) facts: Vec<FactBefore>,
    /// Room taken in durable channels.
    pub(super) grown: SmallVec<[(u8, u64); 4]>,
}

/// A record to write.
pub(super) struct Writing {
    pub(super) kind: u8,
    pub(super) purpose: Purpose,
    pub(super) count: u32,
    pub(super) put_time_ms: i64,
    pub(super) identity: Option<EventId>,
    pub(super) body: Body,
    pub(super) delta: Delta,
}

/// A record that has its offsets.
pub(super) struct Written {
    ticket: u64,
    pub(super) first: u64,
    pub(super) end: u64,
    appended: Option<Appended>,
}

/// Someone who waits for the log's answer. Dropped before that, it leaves the answer to others.
struct Hearing<'a> {
    shard: &'a Shard,
    ticket: u64,
    first: u64,
    appended: Option<Appended>,
}

impl Drop for Hearing<'_> {
    fn drop(&mut self) {
        if let Some(appended) = self.appended.take() {
            self.shard.lock().leave(self.ticket, appended);
            // Whoever stops the shard hears it.
            self.shard.watermark.touch();
        }
    }
}

impl State {
    pub(super) fn new(remembered: Remembered, calendar: Calendar, checkpoint_bytes: u64) -> State {
        State {
            phase: Phase::Open,
            next: 0,
            ticket: 0,
            remembered,
            calendar,
            taken: false,
            totals: Totals::default(),
            counted: Totals::default(),
            pending: VecDeque::new(),
            checkpoints: Checkpoints::new(checkpoint_bytes),
            damage: None,
        }
    }

    /// Counts what is durable by now.
    pub(super) fn count_to(&mut self, watermark: u64) {
        while self.pending.front().is_some_and(|pending| pending.end <= watermark) {
            let durable = self.pending.pop_front().expect("seen above");
            self.counted.add(&durable.delta);
        }
    }

    fn leave(&mut self, ticket: u64, appended: Appended) {
        let pending = self.pending.iter_mut().find(|pending| pending.ticket == ticket);
        if let Some(pending) = pending {
            pending.unheard = Some(appended);
        }
    }

    /// How things were before the record just written, to be put back if it fails.
    pub(super) fn undo(&mut self) -> Option<&mut Undo> {
        self.pending.back_mut().map(|pending| &mut pending.undo)
    }
}

impl Shard {
    /// Whether anything can be put now.
    pub(super) fn check_open(state: &State) -> Result<(), PutError> {
        match state.phase {
            Phase::Open if state.damage.is_none() => Ok(()),
            Phase::Open | Phase::Sealed => Err(moving()),
            Phase::Stopped => Err(PutError::Stopped),
        }
    }

    /// Gives a record its offsets and hands it to the log. On an error nothing
    /// has changed. The record's effect on what is remembered comes after.
    pub(super) fn write(
        &self,
        state: &mut State,
        mut writing: Writing,
        recent: RecentRecord,
    ) -> Result<Written, PutError> {
        let (first, end) = (state.next, state.next + u64::from(writing.count));
        let record = RECORD_BYTES + writing.body.len() as u64;
        let appended = match &self.log {
            None => None,
            Some(log) => Some(self.append(state, log, first, &mut writing)?),
        };
        state.count_to(self.watermark.get());
        state.ticket += 1;
        let (ticket, delta) = (state.ticket, writing.delta);
        let (undo, unheard) = (Undo::default(), None);
        state.pending.push_back(Pending { ticket, first, end, delta, undo, unheard });
        state.next = end;
        state.checkpoints.grow(record);
        self.recent.push(recent);
        if sdk_failpoints::mutant!(PassWatermark) {
            self.watermark.stored(end);
            self.watermark.touch();
        }
        Ok(Written { ticket, first, end, appended })
    }

    fn append(
        &self,
        state: &mut State,
        log: &Log,
        first_offset: u64,
        writing: &mut Writing,
    ) -> Result<Appended, PutError> {
        let entry = LogEntry {
            lineage: self.lineage,
            kind: writing.kind,
            purpose: writing.purpose,
            first_offset,
            count: writing.count,
            put_time_ms: writing.put_time_ms,
            identity: writing.identity,
            body: std::mem::take(&mut writing.body),
        };
        log.append(entry).map_err(|error| {
            self.refused(state, first_offset, &error);
            not_appended(error)
        })
    }

    /// Waits until a record is durable on every replica. If it turns out that it
    /// was not written, everything from it on is put back as it was.
    pub(super) async fn settle(&self, mut written: Written) -> Result<(), PutError> {
        if let Some(appended) = written.appended.take() {
            let ticket = written.ticket;
            self.hear(Hearing {
                shard: self,
                ticket,
                first: written.first,
                appended: Some(appended),
            })
            .await?;
        }
        match self.watermark.stored(written.end) {
            true => self.reach(written.end).await,
            false => Err(unknown("the lineage was sealed before it was durable")),
        }
    }

    /// Leaves it to [`Shard::stop`] to hear what the log answers.
    pub(super) fn leave(&self, state: &mut State, written: Written) {
        if let Some(appended) = written.appended {
            state.leave(written.ticket, appended);
        }
    }

    /// Hears the first answer that nobody waits for; `false` if there is none.
    pub(super) async fn hear_unheard(&self) -> bool {
        let unheard = {
            let mut state = self.lock();
            let mut pending = state.pending.iter_mut();
            pending.find_map(|it| Some((it.ticket, it.first, it.unheard.take()?)))
        };
        let Some((ticket, first, appended)) = unheard else { return false };
        // An error has put things back, which is all that is wanted here.
        drop(self.hear(Hearing { shard: self, ticket, first, appended: Some(appended) }).await);
        true
    }

    /// Waits for the log's answer. If the record was not written, everything from it on is put back
    /// as it was.
    async fn hear(&self, mut hearing: Hearing<'_>) -> Result<(), PutError> {
        let Some(appended) = &mut hearing.appended else { return Ok(()) };
        let answer = appended.await;
        hearing.appended = None;
        match answer {
            Ok(_) => Ok(()),
            Err(AppendError::Dead { .. }) => {
                self.lock().phase = Phase::Stopped;
                Err(unknown("the log failed"))
            }
            Err(error) => {
                let mut state = self.lock();
                // Whoever failed before may have put it back already, and other
                // records may have these offsets by now.
                if state.pending.iter().any(|pending| pending.ticket == hearing.ticket) {
                    self.refused(&mut state, hearing.first, &error);
                }
                Err(not_appended(error))
            }
        }
    }

    /// The log did not take the record at `first`, nor any behind it.
    fn refused(&self, state: &mut State, first: u64, error: &AppendError) {
        match error {
            AppendError::OutOfSequence { expected } => self.roll_back(state, first.min(*expected)),
            AppendError::Full { .. } | AppendError::Invalid { .. } => self.roll_back(state, first),
            // There will be no more records.
            AppendError::Stopped | AppendError::Dead { .. } => state.phase = Phase::Stopped,
            AppendError::Cut { .. } => state.phase = Phase::Sealed,
        }
    }

    /// Undoes every record from `to` on: none of them is in the log.
    fn roll_back(&self, state: &mut State, to: u64) {
        if to >= state.next {
            return;
        }
        while state.pending.back().is_some_and(|last| last.first >= to) {
            let Pending { first, delta, undo, .. } = state.pending.pop_back().expect("seen above");
            state.next = first;
            state.totals.subtract(&delta);
            for (producer, entry) in undo.producers.into_iter().rev() {
                state.remembered.table.restore(&producer, entry);
            }
            for fact in undo.facts.into_iter().rev() {
                state.remembered.facts.restore(fact);
            }
            self.backlog.ungrow(first, &undo.grown);
        }
        state.checkpoints.roll_back(state.next);
        self.recent.truncate(state.next);
        for queue in self.slots.iter().filter_map(|slot| slot.queue.as_ref()) {
            queue.truncate(state.next);
        }
        // Those who waited for one of these as for their original look again.
        self.watermark.touch();
    }

    /// The admission table is no longer all there: nothing more is taken.
    pub(super) fn damaged(&self, state: &mut State, error: &StoreError) {
        if state.damage.is_none() {
            tracing::error!(%error, lineage = %self.lineage, "admission table is damaged");
            state.damage = Some(error.to_string().into());
        }
    }
}
