//! Sessions of producers and sources: records without events.

use sdk_event::{EventId, ProducerId};
use sdk_flow::{Entropy, PutError, SourceStart};
use sdk_wal::{Body, Purpose};

use super::answer::{SessionAnswer, moving, refused};
use super::state::{RECORD_BYTES, State, Writing, Written};
use super::{Remembered, Shard};
use crate::admission::{OpenSession, Refusal, StoreError};
use crate::recent::RecentRecord;
use crate::record::{Close, CursorCommit, Gap, Loss, Registration, SourceName, kind};
use crate::totals::Delta;

impl Shard {
    /// Opens a producer's session, by a record that is durable when this returns.
    /// Only then may the producer put.
    ///
    /// # Errors
    /// `Rejected` with `Expired` when a block may be stored that is no longer
    /// remembered, with `Generation` when the producer has moved on; `Exhausted`
    /// when as many producers are known as may be.
    pub async fn open_session(&self, open: OpenSession) -> Result<SessionAnswer, PutError> {
        let now_ms = self.clock.wall_ms();
        let (written, next) = {
            let mut state = self.lock();
            Shard::check_open(&state)?;
            let trust = self.trust_producers;
            let at_ms = state.calendar.at(now_ms, &*self.clock);
            let judged = state.remembered.table.judge_open(&open, at_ms, trust);
            let registration = judged.map_err(|refusal| self.refuse(&mut state, refusal))?;
            let written = self.register(&mut state, &registration, now_ms)?;
            (written, registration.next)
        };
        self.settle(written).await?;
        self.metrics.sessions.inc();
        Ok(SessionAnswer { lineage: self.lineage, generation: open.generation, next })
    }

    /// Takes a producer's word that the sequence numbers from `from` up to `to`
    /// will never come. A repeat is fine.
    ///
    /// # Errors
    /// `Rejected` when the producer is unknown, at another generation, or expected
    /// at another number than `from`.
    pub async fn gap(&self, gap: Gap) -> Result<(), PutError> {
        let now_ms = self.clock.wall_ms();
        let written = {
            let mut state = self.lock();
            Shard::check_open(&state)?;
            let at_ms = state.calendar.at(now_ms, &*self.clock);
            let entry = state.remembered.table.get(&gap.producer, at_ms);
            let entry = entry.map(|entry| entry.map(|entry| (entry.generation, entry.next)));
            let judged = match entry {
                Err(error) => Err(Refusal::Store(error)),
                Ok(None) => Err(Refusal::Expired),
                Ok(Some((generation, _))) if generation != gap.generation => {
                    Err(Refusal::Generation(generation))
                }
                Ok(Some((_, next))) if gap.to <= next => Ok(true),
                Ok(Some((_, next))) if gap.from != next => Err(Refusal::Expected(next)),
                Ok(Some(_)) => Ok(false),
            };
            match judged.map_err(|refusal| self.refuse(&mut state, refusal))? {
                true => Err(state.next),
                false => Ok(self.write_gap(&mut state, &gap, now_ms)?),
            }
        };
        match written {
            Ok(written) => self.settle(written).await,
            // What made it a repeat is on its way to the disk.
            Err(next) => self.reach(next).await,
        }
    }

    /// Ends a producer's session: it can be forgotten soon. One that is unknown,
    /// or has moved on, is none of ours.
    ///
    /// # Errors
    /// See [`PutError`].
    pub async fn close_session(
        &self,
        producer: ProducerId,
        generation: u64,
    ) -> Result<(), PutError> {
        let now_ms = self.clock.wall_ms();
        let written = {
            let mut state = self.lock();
            Shard::check_open(&state)?;
            let at_ms = state.calendar.at(now_ms, &*self.clock);
            let entry = state.remembered.table.get(&producer, at_ms);
            let known = entry.map(|entry| entry.is_some_and(|e| e.generation == generation));
            if !known.map_err(|error| self.refuse(&mut state, Refusal::Store(error)))? {
                return Ok(());
            }
            let close = Close { producer, generation };
            let identity = EventId { producer, generation, sequence: 0 };
            let write = |shard: &Shard, state: &mut State| {
                let body = Body::from(close.encode());
                shard.write_control(
                    state,
                    kind::CLOSE,
                    Purpose::Upkeep,
                    now_ms,
                    Some(identity),
                    body,
                )
            };
            let apply = |remembered: &mut Remembered| remembered.table.apply_close(&close, now_ms);
            self.change_producer(&mut state, &[producer], now_ms, write, apply)?
        };
        self.settle(written).await
    }

    /// Where a source of the flow begins: under whose ids, and what it stored last.
    /// A source that is new here gets ids of its own.
    ///
    /// # Errors
    /// See [`PutError`].
    pub async fn start_source(
        &self,
        name: &str,
        entropy: &dyn Entropy,
    ) -> Result<SourceStart, PutError> {
        let mut id = [0; 16];
        entropy.fill(&mut id);
        let now_ms = self.clock.wall_ms();
        let (producer, written) = {
            let mut state = self.lock();
            Shard::check_open(&state)?;
            match state.remembered.facts.source(name) {
                Some(producer) => (producer, None),
                None => {
                    let source = SourceName { name: name.to_owned(), producer: ProducerId(id) };
                    let body = Body::from(source.encode());
                    let purpose = Purpose::Upkeep;
                    let written =
                        self.write_control(&mut state, kind::SOURCE, purpose, now_ms, None, body)?;
                    let mut before = Vec::new();
                    state.remembered.facts.apply_source(&source, &mut before);
                    if let Some(undo) = state.undo() {
                        undo.facts = before;
                    }
                    (source.producer, Some(written))
                }
            }
        };
        if let Some(written) = written {
            self.settle(written).await?;
        }
        let (generation, next) = self.source_session(producer, now_ms).await?;
        let positions = self.lock().remembered.facts.positions(name);
        Ok(SourceStart {
            name: name.to_owned(),
            producer,
            generation,
            next_sequence: next,
            positions,
        })
    }

    /// A source's own session. Its memory is this shard's alone, and never forgotten.
    async fn source_session(
        &self,
        producer: ProducerId,
        now_ms: i64,
    ) -> Result<(u64, u64), PutError> {
        let known = {
            let mut state = self.lock();
            state.remembered.table.keep(producer);
            let entry = state.remembered.table.copy(&producer);
            entry.map_err(|error| self.refuse(&mut state, Refusal::Store(error)))?
        };
        let (generation, lowest) = match known {
            Some(entry) => (entry.generation, entry.next),
            // Should its entry have rotted away, this is above what it was.
            None => (u64::try_from(now_ms).unwrap_or(0), 0),
        };
        let open = OpenSession { producer, generation, lowest, sent: false };
        let answer = self.open_session(open).await?;
        Ok((answer.generation, answer.next))
    }

    /// Begins another numbering for a source: what a spool does whose destination
    /// has forgotten it.
    ///
    /// # Errors
    /// See [`PutError`].
    pub async fn renumber_source(&self, start: &SourceStart) -> Result<SourceStart, PutError> {
        let open = OpenSession {
            producer: start.producer,
            generation: start.generation + 1,
            lowest: 0,
            sent: false,
        };
        let answer = self.open_session(open).await?;
        Ok(SourceStart {
            generation: answer.generation,
            next_sequence: answer.next,
            ..start.clone()
        })
    }

    /// A spool's sink group stands at `commit.floor` in one of its lineages.
    pub(crate) async fn commit_cursor(&self, commit: CursorCommit) -> Result<(), PutError> {
        let now_ms = self.clock.wall_ms();
        let written = {
            let mut state = self.lock();
            if state.phase == super::state::Phase::Stopped {
                return Err(PutError::Stopped);
            }
            let body = Body::from(commit.encode());
            let purpose = Purpose::Drain;
            let written =
                self.write_control(&mut state, kind::CURSOR, purpose, now_ms, None, body)?;
            let mut before = Vec::new();
            state.remembered.facts.apply_cursor(&commit, &mut before);
            if let Some(undo) = state.undo() {
                undo.facts = before;
            }
            self.step_checkpoint(&mut state, now_ms);
            written
        };
        self.settle(written).await
    }

    /// Remembers offsets of this shard's lineages that are given up, by records that are durable when
    /// this returns: from then on what stood there is lost to whoever puts it again. To be said before
    /// readers may pass them. A repeat is fine.
    ///
    /// # Errors
    /// See [`PutError`].
    pub async fn lose(&self, losses: &[Loss]) -> Result<(), PutError> {
        let now_ms = self.clock.wall_ms();
        for loss in losses {
            let written = {
                let mut state = self.lock();
                if state.phase != super::state::Phase::Open {
                    return Err(moving());
                }
                let body = Body::from(loss.encode());
                let purpose = Purpose::Drain;
                let written =
                    self.write_control(&mut state, kind::LOST, purpose, now_ms, None, body)?;
                let mut before = Vec::new();
                state.remembered.table.keep_spans(loss);
                state.remembered.facts.lose(loss, now_ms, &mut before);
                if let Some(undo) = state.undo() {
                    undo.facts = before;
                }
                written
            };
            self.settle(written).await?;
        }
        Ok(())
    }

    fn register(
        &self,
        state: &mut State,
        registration: &Registration,
        now_ms: i64,
    ) -> Result<Written, PutError> {
        let identity = EventId {
            producer: registration.producer,
            generation: registration.generation,
            sequence: registration.next,
        };
        let write = |shard: &Shard, state: &mut State| {
            let body = Body::from(registration.encode());
            let identity = Some(identity);
            let kind = kind::REGISTRATION;
            shard.write_control(state, kind, Purpose::Upkeep, now_ms, identity, body)
        };
        let apply =
            |remembered: &mut Remembered| remembered.table.apply_registration(registration, now_ms);
        if registration.forgotten.is_some() {
            self.metrics.forgotten.inc();
        }
        let producers = [Some(registration.producer), registration.forgotten];
        let producers: Vec<_> = producers.into_iter().flatten().collect();
        self.change_producer(state, &producers, now_ms, write, apply)
    }

    fn write_gap(&self, state: &mut State, gap: &Gap, now_ms: i64) -> Result<Written, PutError> {
        self.metrics.gaps.inc();
        let identity =
            EventId { producer: gap.producer, generation: gap.generation, sequence: gap.to };
        let write = |shard: &Shard, state: &mut State| {
            let body = Body::from(gap.encode());
            shard.write_control(state, kind::GAP, Purpose::Upkeep, now_ms, Some(identity), body)
        };
        let apply = |remembered: &mut Remembered| remembered.table.apply_gap(gap, now_ms);
        self.change_producer(state, &[gap.producer], now_ms, write, apply)
    }

    /// Writes a record and applies it, with a way back.
    fn change_producer(
        &self,
        state: &mut State,
        producers: &[ProducerId],
        now_ms: i64,
        write: impl FnOnce(&Shard, &mut State) -> Result<Written, PutError>,
        apply: impl FnOnce(&mut Remembered) -> Result<(), StoreError>,
    ) -> Result<Written, PutError> {
        let mut before = Vec::with_capacity(producers.len());
        for producer in producers {
            let copy = state.remembered.table.copy(producer);
            let copy = copy.map_err(|error| self.refuse(state, Refusal::Store(error)))?;
            before.push((*producer, copy));
        }
        let written = write(self, state)?;
        if let Err(error) = apply(&mut state.remembered) {
            self.damaged(state, &error);
        }
        if let Some(undo) = state.undo() {
            undo.producers.extend(before);
        }
        self.metrics.producers.set(state.remembered.table.len() as i64);
        self.step_checkpoint(state, now_ms);
        Ok(written)
    }

    /// Writes a record that takes one offset and holds no events.
    pub(super) fn write_control(
        &self,
        state: &mut State,
        kind: u8,
        purpose: Purpose,
        put_time_ms: i64,
        identity: Option<EventId>,
        body: Body,
    ) -> Result<Written, PutError> {
        let log_bytes = RECORD_BYTES + body.len() as u64;
        let delta = Delta { log_bytes, ..Delta::default() };
        state.totals.add(&delta);
        let recent = RecentRecord {
            first_offset: state.next,
            count: 1,
            put_time_ms,
            quiet: kind == kind::CURSOR,
            parts: smallvec::SmallVec::new(),
            dropped: Vec::new(),
        };
        let undone = delta.clone();
        let writing = Writing { kind, purpose, count: 1, put_time_ms, identity, body, delta };
        self.write(state, writing, recent).inspect_err(|_| state.totals.subtract(&undone))
    }

    fn refuse(&self, state: &mut State, refusal: Refusal) -> PutError {
        if let Refusal::Store(error) = &refusal {
            self.damaged(state, error);
        }
        refused(refusal, &self.metrics)
    }
}
