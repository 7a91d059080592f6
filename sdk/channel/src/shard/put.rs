//! Puts.

use std::sync::Arc;

use sdk_event::{EventId, Level, Lineage};
use sdk_flow::{
    ChannelSet, Dropped, Exhaustion, Part, Positions, Put, PutError, Receipt, SourcePosition,
    Stored,
};
use sdk_wal::{Body, Purpose};
use smallvec::SmallVec;

use super::answer::{CHANNEL_RETRY, content, exhausted, refused};
use super::state::{RECORD_BYTES, State, Writing, Written};
use super::{Shard, Slot};
use crate::admission::{BlockId, Refusal, Verdict};
use crate::facts::FACTS_MAX;
use crate::recent::RecentRecord;
use crate::record::{Loss, PARTS_MAX, PutFoot, encode_blocks, encode_position, encode_put, kind};
use crate::totals::{CHANNEL_FULL, Delta};

/// The bytes that a put takes in each channel of the shard.
type Room = SmallVec<[(u8, u64); 4]>;

/// What the short lock decided.
enum Admitted {
    Written(Written),
    Duplicate { epoch: Option<u64>, end: u64 },
}

impl Shard {
    /// Stores a put in all its channels, or nothing of it in any, and returns when
    /// [`ShardOptions::level`](super::ShardOptions::level) holds for it.
    ///
    /// A put that is there already gets a receipt once the original has that
    /// level. Its coordinates are the original's if it is the last of its
    /// producer; otherwise their end is at or behind the original's in its
    /// lineage, so that what is delivered up to there covers it. An original
    /// whose lineage has left the state is answered [`Level::Committed`], one that was
    /// given up ([`Shard::lose`]) is refused as lost.
    ///
    /// Admission, limits and offsets are settled in the first poll, without waiting,
    /// so puts that are polled in some order are stored in that order. Not
    /// cancel-safe: after the future is dropped the put is perhaps stored. Putting
    /// it again is always safe.
    ///
    /// # Errors
    /// See [`PutError`]. Rejected and exhausted puts are certainly not stored.
    pub async fn put(&self, mut put: Put) -> Result<Receipt, PutError> {
        let position = check(&put)?;
        let count = put.count.max(1);
        sdk_failpoints::before!(Put);
        // What grows with the block's bytes happens before the lock.
        let mut blocks = Some(encode_blocks(&self.durable_parts(&put)));
        // Someone waits for an original that then fails: it must look again.
        let mut follower = None;
        loop {
            match self.admit(&mut put, &mut blocks, &position)? {
                Admitted::Written(written) => {
                    let first_offset = written.first;
                    self.settle(written).await?;
                    sdk_failpoints::after!(Put);
                    return Ok(Receipt {
                        lineage: self.lineage,
                        first_offset,
                        count,
                        level: self.level,
                        duplicate: false,
                    });
                }
                Admitted::Duplicate { epoch, end } => {
                    let own = epoch == Some(self.lineage.epoch);
                    if own && self.watermark.get() < end {
                        let follower = follower.get_or_insert_with(|| self.watermark.follow());
                        if follower.look().watermark < end {
                            follower.changed().await;
                        }
                        continue;
                    }
                    self.metrics.duplicates.inc();
                    let level = if epoch.is_some() { self.level } else { Level::Committed };
                    return Ok(Receipt {
                        lineage: Lineage {
                            epoch: epoch.unwrap_or(self.lineage.epoch),
                            ..self.lineage
                        },
                        first_offset: end.saturating_sub(u64::from(count)),
                        count,
                        level,
                        duplicate: true,
                    });
                }
            }
        }
    }

    /// Everything that happens under the lock: short, and nothing is waited for.
    fn admit(
        &self,
        put: &mut Put,
        blocks: &mut Option<Body>,
        position: &Option<SourcePosition>,
    ) -> Result<Admitted, PutError> {
        let mut state = self.lock();
        // Under the lock, so that who finds nothing on its way knows that what comes is put later.
        let now_ms = self.clock.wall_ms();
        Shard::check_open(&state)?;
        if position.is_some() && state.remembered.facts.len() >= FACTS_MAX {
            return Err(content("the flow's sources remember too many positions"));
        }
        if put.count == 0 {
            return self.write_position(&mut state, put, position, now_ms).map(Admitted::Written);
        }
        let id = BlockId {
            producer: put.producer,
            generation: put.generation,
            first_sequence: put.first_sequence,
            count: put.count,
            crc: Some(put.block_crc),
        };
        match self.judge(&mut state, &id, now_ms)? {
            Verdict::Accept => (),
            Verdict::Duplicate { epoch, end } => {
                self.check_not_lost(&mut state, &id)?;
                return Ok(Admitted::Duplicate { epoch, end });
            }
        }
        let room = self.reserve(put, blocks)?;
        let blocks = blocks.take();
        let written = self.write_put(&mut state, put, blocks, &id, now_ms, &room);
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                self.release(&room);
                return Err(error);
            }
        };
        self.metrics.accepted.inc();
        self.metrics.put_records.inc();
        if let Some(position) = position {
            self.remember(&mut state, position.clone());
        }
        self.step_checkpoint(&mut state, now_ms);
        Ok(Admitted::Written(written))
    }

    fn judge(&self, state: &mut State, id: &BlockId, now_ms: i64) -> Result<Verdict, PutError> {
        let now_ms = state.calendar.at(now_ms, &*self.clock);
        state.remembered.table.judge(id, now_ms).map_err(|refusal| {
            if let Refusal::Store(error) = &refusal {
                self.damaged(state, error);
            }
            if matches!(refusal, Refusal::Conflict) {
                tracing::error!(
                    producer = %id.producer,
                    generation = id.generation,
                    sequence = id.first_sequence,
                    "other events came under ids that are taken"
                );
            }
            refused(refusal, &self.metrics)
        })
    }

    /// Refuses a repeat of what was given up.
    fn check_not_lost(&self, state: &mut State, id: &BlockId) -> Result<(), PutError> {
        let losses: Vec<Loss> = state.remembered.facts.losses().collect();
        for loss in &losses {
            match state.remembered.table.is_among(id, loss) {
                Ok(false) => (),
                Ok(true) => return Err(refused(Refusal::Lost, &self.metrics)),
                Err(error) => {
                    self.damaged(state, &error);
                    return Err(refused(Refusal::Store(error), &self.metrics));
                }
            }
        }
        Ok(())
    }

    fn write_put(
        &self,
        state: &mut State,
        put: &mut Put,
        blocks: Option<Body>,
        id: &BlockId,
        now_ms: i64,
        room: &Room,
    ) -> Result<Written, PutError> {
        let before = match state.remembered.table.copy(&id.producer) {
            Ok(before) => before,
            Err(error) => {
                self.damaged(state, &error);
                return Err(super::answer::moving());
            }
        };
        let delta = delta(put);
        state.totals.add(&delta);
        let durable = self.durable_parts(put);
        let blocks = blocks.unwrap_or_else(|| encode_blocks(&durable));
        let foot = PutFoot {
            producer: put.producer,
            generation: put.generation,
            first_sequence: put.first_sequence,
            count: put.count,
            block_crc: put.block_crc,
            parts: &durable,
            dropped: &put.dropped,
            source_position: put.source_position.as_ref(),
            totals: &state.totals,
        };
        let body = encode_put(blocks, &foot);
        let bytes = body.len() as u64;
        // Readers of memory channels go by the watermark, so what it covers must
        // be there before it can move.
        let first_offset = state.next;
        self.queue(put, first_offset, now_ms, room);
        let writing = Writing {
            kind: kind::PUT,
            purpose: Purpose::Ingest,
            count: put.count,
            put_time_ms: now_ms,
            identity: Some(EventId {
                producer: put.producer,
                generation: put.generation,
                sequence: put.first_sequence,
            }),
            body,
            delta,
        };
        let recent = RecentRecord {
            first_offset,
            count: put.count,
            put_time_ms: now_ms,
            quiet: false,
            parts: durable,
            dropped: put.dropped.clone(),
        };
        let delta = writing.delta.clone();
        let written = match self.write(state, writing, recent) {
            Ok(written) => written,
            Err(error) => {
                state.totals.subtract(&delta);
                self.unqueue(first_offset);
                return Err(error);
            }
        };
        let applied =
            state.remembered.table.apply_put(id, self.lineage.epoch, written.first, now_ms);
        if let Err(error) = applied {
            self.damaged(state, &error);
        }
        let grown = room.iter().filter(|(number, _)| self.is_durable(*number)).copied();
        if let Some(undo) = state.undo() {
            undo.producers.push((id.producer, before));
            undo.grown = grown.collect();
            self.backlog.grow(written.end, RECORD_BYTES + bytes, &undo.grown);
        }
        for (number, bytes) in room {
            let Some(slot) = self.slot(*number) else { continue };
            slot.metrics.put_bytes.inc_by(*bytes);
            slot.metrics.used_bytes.set(slot.capacity.used() as i64);
        }
        self.count_events(put);
        Ok(written)
    }

    /// A position without events is a record of its own.
    fn write_position(
        &self,
        state: &mut State,
        put: &Put,
        position: &Option<SourcePosition>,
        now_ms: i64,
    ) -> Result<Written, PutError> {
        let bytes = put.source_position.as_ref().map(encode_position);
        let body: Body = bytes.into_iter().flatten().collect();
        let written =
            self.write_control(state, kind::POSITION, Purpose::Ingest, now_ms, None, body)?;
        if let Some(position) = position {
            self.remember(state, position.clone());
        }
        Ok(written)
    }

    fn remember(&self, state: &mut State, position: SourcePosition) {
        let mut before = Vec::new();
        state.remembered.facts.fold(position, &mut before);
        if let Some(undo) = state.undo() {
            undo.facts.append(&mut before);
        }
    }

    /// Takes room in every channel. A required channel without any refuses the
    /// put; an optional one is left out of it, and that is counted as dropped.
    fn reserve(&self, put: &mut Put, blocks: &mut Option<Body>) -> Result<Room, PutError> {
        let required = put.parts.iter().map(|part| part.channels.without(part.optional));
        let required = required.fold(ChannelSet::EMPTY, ChannelSet::union);
        let all = put.channels();
        let mut room = Room::new();
        // Required channels first: a put that is refused has dropped nothing.
        let optional = all.without(required);
        for number in required.iter().chain(optional.iter()) {
            let Some(slot) = self.slot(number) else {
                self.release(&room);
                return Err(content(format!("the flow has no channel {number}")));
            };
            let parts = put.parts.iter().filter(|part| part.channels.contains(number));
            let bytes = parts.map(|part| slot.bytes(part)).sum();
            if slot.capacity.reserve(bytes) {
                room.push((number, bytes));
            } else if required.contains(number) {
                slot.metrics.refused.inc();
                self.release(&room);
                let name = Arc::clone(slot.capacity.name());
                return Err(exhausted(Exhaustion::Channel(name), CHANNEL_RETRY));
            } else {
                leave_out(put, number);
                *blocks = None;
            }
        }
        Ok(room)
    }

    fn release(&self, room: &Room) {
        for (number, bytes) in room {
            if let Some(slot) = self.slot(*number) {
                slot.capacity.release(*bytes);
            }
        }
    }

    fn is_durable(&self, channel: u8) -> bool {
        self.slot(channel).is_some_and(|slot| slot.queue.is_none())
    }

    /// What of the put goes into the log.
    fn durable_parts(&self, put: &Put) -> SmallVec<[Part; 1]> {
        let memory = self.slots.iter().filter(|slot| slot.queue.is_some());
        let memory: ChannelSet = memory.map(|slot| slot.number).collect();
        if memory.is_empty() {
            return put.parts.clone();
        }
        let parts = put.parts.iter().map(|part| {
            let channels = part.channels.without(memory);
            Part { channels, ..part.clone() }
        });
        parts.filter(|part| !part.channels.is_empty()).collect()
    }

    fn queue(&self, put: &Put, first_offset: u64, put_time_ms: i64, room: &Room) {
        for slot in &self.slots {
            let Some(queue) = &slot.queue else { continue };
            let parts = put.parts.iter().filter(|part| part.channels.contains(slot.number));
            let parts: SmallVec<_> =
                parts.map(|part| (part.positions.clone(), part.block.clone())).collect();
            if parts.is_empty() {
                continue;
            }
            let mine = put.dropped.iter().filter(|drop| drop.channels.contains(slot.number));
            let dropped = mine.map(|drop| (Arc::clone(&drop.rule), drop.events)).collect();
            let bytes = room.iter().find(|(number, _)| *number == slot.number);
            let bytes = bytes.map_or(0, |(_, bytes)| *bytes);
            let count = put.count;
            queue.push(Stored { first_offset, count, put_time_ms, parts, dropped }, bytes);
        }
    }

    /// Takes the put back out of the queues; its room is given back by the caller.
    fn unqueue(&self, first_offset: u64) {
        for queue in self.slots.iter().filter_map(|slot| slot.queue.as_ref()) {
            queue.withdraw(first_offset);
        }
    }

    fn count_events(&self, put: &Put) {
        for part in &put.parts {
            for slot in self.slots.iter().filter(|slot| part.channels.contains(slot.number)) {
                slot.metrics.put_events.inc_by(u64::from(part.block.header().count));
            }
        }
        for dropped in &put.dropped {
            for slot in self.slots.iter().filter(|slot| dropped.channels.contains(slot.number)) {
                self.metrics.dropped(slot.capacity.name(), &dropped.rule, dropped.events);
            }
        }
    }
}

impl Slot {
    /// The room that a part takes here.
    fn bytes(&self, part: &Part) -> u64 {
        match &self.queue {
            Some(_) => part.block.memory_bytes() as u64,
            None => part.block.bytes().len() as u64,
        }
    }
}

/// Refuses a put that contradicts itself, before it is looked at any further.
fn check(put: &Put) -> Result<Option<SourcePosition>, PutError> {
    let position = put.source_position.as_ref().map(SourcePosition::decode).transpose();
    let position = position.map_err(|error| content(error.to_string()))?;
    if put.count == 0 {
        return match position {
            Some(position) if put.parts.is_empty() && put.dropped.is_empty() => Ok(Some(position)),
            _ => Err(content("a put without events is a position and nothing else")),
        };
    }
    if put.parts.len() > PARTS_MAX || put.dropped.len() >= PARTS_MAX {
        return Err(content(format!("a put has at most {PARTS_MAX} parts")));
    }
    for part in &put.parts {
        let count = part.block.header().count;
        let fits = match &part.positions {
            Positions::All => count == put.count,
            Positions::Some(positions) => {
                positions.len() == count as usize
                    && positions.last().is_some_and(|last| *last < put.count)
            }
        };
        if !fits || part.channels.is_empty() {
            return Err(content("a part does not fit its put"));
        }
    }
    Ok(position)
}

fn delta(put: &Put) -> Delta {
    let part =
        |part: &Part| (part.channels, part.block.header().count, part.block.bytes().len() as u64);
    Delta {
        parts: put.parts.iter().map(part).collect(),
        dropped: put.dropped.clone(),
        log_bytes: RECORD_BYTES + put.bytes() as u64,
    }
}

/// Leaves an optional channel out of a put.
fn leave_out(put: &mut Put, channel: u8) {
    let out = ChannelSet::of(channel);
    let mut events = 0;
    for part in put.parts.iter_mut().filter(|part| part.channels.contains(channel)) {
        part.channels = part.channels.without(out);
        events += part.block.header().count;
    }
    put.parts.retain(|part| !part.channels.is_empty());
    put.dropped.push(Dropped { rule: Arc::from(CHANNEL_FULL), channels: out, events });
}
