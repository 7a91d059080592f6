//! When and how a shard writes down what it remembers.

use std::collections::VecDeque;

use bytes::Bytes;
use sdk_event::ProducerId;
use sdk_flow::PutError;
use sdk_wal::{Body, Purpose};

use super::answer::{BUSY_RETRY, moving};
use super::state::{State, Written};
use super::{Shard, ShardError};
use crate::record::{PartBuilder, Section, kind};

/// A checkpoint is written after so many times its own size, within limits.
const SPARSE: u64 = 64;

/// The most records between two checkpoints, as a multiple of the least.
const INTERVAL_MAX: u64 = 16;

/// Where the shard's checkpoints stand.
pub(super) struct Checkpoints {
    interval_min: u64,
    /// Bytes of records since the last one was begun.
    since: u64,
    /// Bytes of the last one.
    bytes: u64,
    running: Option<Running>,
    /// Those that are complete, oldest first.
    complete: VecDeque<Complete>,
}

/// A checkpoint in the making.
struct Running {
    first: u64,
    index: u32,
    section: Section,
    low: Bytes,
    bytes: u64,
}

struct Complete {
    first: u64,
    end: u64,
}

impl Checkpoints {
    pub(super) fn new(interval_min: u64) -> Checkpoints {
        Checkpoints {
            interval_min: interval_min.max(1),
            since: 0,
            bytes: 0,
            running: None,
            complete: VecDeque::new(),
        }
    }

    pub(super) fn grow(&mut self, record: u64) {
        self.since += record;
    }

    /// Records from `end` on were not written after all.
    pub(super) fn roll_back(&mut self, end: u64) {
        self.running = None;
        self.complete.retain(|complete| complete.end <= end);
    }

    fn is_due(&self) -> bool {
        let most = self.interval_min.saturating_mul(INTERVAL_MAX);
        self.since >= (self.bytes.saturating_mul(SPARSE)).clamp(self.interval_min, most)
    }

    /// From where on the log must be kept: from the last but one checkpoint below
    /// `watermark`, so that one that rots does not take the memory with it.
    fn hold(&mut self, watermark: u64) -> u64 {
        while self.complete.get(2).is_some_and(|third| third.end <= watermark) {
            self.complete.pop_front();
        }
        match self.complete.get(1) {
            Some(second) if second.end <= watermark => self.complete[0].first,
            _ => 0,
        }
    }
}

impl Shard {
    /// Writes one more part of a checkpoint if one is due, so that no put waits
    /// for all of it.
    pub(super) fn step_checkpoint(&self, state: &mut State, now_ms: i64) {
        let due = state.checkpoints.running.is_some()
            || state.checkpoints.is_due()
            || state.calendar.has_jumped(now_ms, &*self.clock);
        if !due || self.log.is_none() {
            return;
        }
        // The log has no room: the next put tries again.
        if let Ok((written, _)) = self.write_part(state, Purpose::Upkeep, now_ms) {
            self.leave(state, written);
        }
        self.backlog.hold_from(state.checkpoints.hold(self.watermark.get()));
    }

    /// Lets the log go up to where the latest checkpoints are.
    pub(super) fn hold(&self) {
        let hold = self.lock().checkpoints.hold(self.watermark.get());
        self.backlog.hold_from(hold);
    }

    /// Writes the checkpoint that a lineage begins with and returns when it is durable.
    ///
    /// Above every mark: a log that is too full for it would never open again, and without its
    /// successor the lineage before may not let go of what it has delivered.
    pub(crate) async fn begin(&self) -> Result<(), ShardError> {
        if self.log.is_none() {
            return Ok(());
        }
        let now_ms = self.clock.wall_ms();
        loop {
            let written = {
                let mut state = self.lock();
                match self.write_part(&mut state, Purpose::Drain, now_ms) {
                    Ok((_, false)) => continue,
                    Ok((written, true)) => Ok(written),
                    Err(error) => Err(error),
                }
            };
            let settled = match written {
                Ok(written) => self.settle(written).await,
                Err(error) => Err(error),
            };
            match settled {
                Ok(()) => return Ok(()),
                Err(PutError::Exhausted { retry_after, .. }) if retry_after <= BUSY_RETRY => {
                    tokio::time::sleep(retry_after).await;
                }
                Err(error) => return Err(ShardError::Checkpoint(error)),
            }
        }
    }

    /// Writes the next part; the first of another checkpoint if none is running.
    /// Says whether it was the last.
    fn write_part(
        &self,
        state: &mut State,
        purpose: Purpose,
        now_ms: i64,
    ) -> Result<(Written, bool), PutError> {
        let running = state.checkpoints.running.take().unwrap_or_else(|| Running {
            first: state.next,
            index: 0,
            section: Section::Producers,
            low: Bytes::from_static(&[0; 16]),
            bytes: 0,
        });
        let Running { first, index, section, low, bytes } = running;
        let ahead_ms = state.calendar.ahead_ms(now_ms, &*self.clock);
        let mut part = PartBuilder::new(first, index, section, &low);
        let next = match section {
            Section::Producers => {
                let low = ProducerId(low.as_ref().try_into().expect("a producer id has 16 bytes"));
                let at_ms = state.calendar.at(now_ms, &*self.clock);
                let filled = state.remembered.table.fill_part(&low, at_ms, &mut part);
                let next = filled.map_err(|error| {
                    self.damaged(state, &error);
                    moving()
                })?;
                next.map(|next| Bytes::copy_from_slice(&next.0))
            }
            Section::Facts => {
                state.remembered.facts.set_ahead_ms(ahead_ms);
                state.remembered.facts.fill_part(&low, &mut part)
            }
        };
        let last = section == Section::Facts && next.is_none();
        let bytes = bytes + part.len() as u64;
        let body = Body::from(part.finish(next.as_deref(), last, &state.totals));
        let written = self.write_control(state, kind::CHECKPOINT, purpose, now_ms, None, body)?;
        let checkpoints = &mut state.checkpoints;
        if index == 0 {
            checkpoints.since = 0;
        }
        match last {
            true => {
                state.calendar.wrote(ahead_ms);
                checkpoints.bytes = bytes;
                checkpoints.complete.push_back(Complete { first, end: written.end });
                self.metrics.checkpoints.inc();
            }
            false => {
                let (section, low) = match next {
                    Some(next) => (section, next),
                    None => (Section::Facts, Bytes::new()),
                };
                let index = index + 1;
                checkpoints.running = Some(Running { first, index, section, low, bytes });
            }
        }
        Ok((written, last))
    }
}
