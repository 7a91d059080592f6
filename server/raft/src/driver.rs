//! Waits for something to happen to the node, then lets it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use sdk_flow::Clock;

use crate::error::Fatal;
use crate::limits::EVENTS_PER_TURN;
use crate::node::{Event, Node};

/// Owns the Raft node. [`crate::Raft::start`] gives it a thread; without threads, whoever has it turns
/// it.
pub struct Driver {
    node: Node,
    events: Receiver<Event>,
    clock: Arc<dyn Clock>,
    tick: Duration,
    next_tick: Duration,
}

impl Driver {
    pub(crate) fn new(
        node: Node,
        events: Receiver<Event>,
        clock: Arc<dyn Clock>,
        tick: Duration,
    ) -> Driver {
        let next_tick = clock.monotonic() + tick;
        Driver { node, events, clock, tick, next_tick }
    }

    /// Waits up to `wait`, or until the next tick, for something to happen; applies everything that
    /// has, and hands on what follows. False once it was told to stop; an error is the end as well.
    pub fn turn(&mut self, wait: Duration) -> Result<bool, Fatal> {
        let turned = self.try_turn(wait);
        if let Err(fatal) = &turned {
            self.node.shared().failed(fatal);
        }
        turned
    }

    fn try_turn(&mut self, wait: Duration) -> Result<bool, Fatal> {
        let until_tick = self.next_tick.saturating_sub(self.clock.monotonic());
        let first = match self.events.recv_timeout(wait.min(until_tick)) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            // The last handle is gone.
            Err(RecvTimeoutError::Disconnected) => Some(Event::Stop),
        };
        let now = self.clock.monotonic();
        if now >= self.next_tick {
            // A stall is one tick late, not many ticks at once: those would be an election.
            self.next_tick = (self.next_tick + self.tick).max(now);
            self.node.tick()?;
        }
        let more = std::iter::from_fn(|| self.events.try_recv().ok());
        for event in first.into_iter().chain(more.take(EVENTS_PER_TURN)) {
            if matches!(event, Event::Stop) {
                return Ok(false);
            }
            self.node.apply(event)?;
        }
        self.node.on_ready()?;
        while self.node.waits_for_disk() && !self.node.journal().has_threads() {
            self.node.journal().drive();
            self.node.on_ready()?;
            self.take_snapshots()?;
        }
        self.node.publish();
        Ok(true)
    }

    /// Without threads, snapshots are written at once and tell so here.
    fn take_snapshots(&mut self) -> Result<(), Fatal> {
        while let Ok(event) = self.events.try_recv() {
            self.node.apply(event)?;
        }
        Ok(())
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }
}
