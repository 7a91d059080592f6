//! Records that wait for the writer.

use crate::core::{Core, Limits};
use crate::entry::{Answer, Entry};
use crate::error::AppendError;
use crate::record::RECORD_HEADER_BYTES;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A record on its way to the disk.
pub(crate) struct Pending {
    pub(crate) entry: Entry,
    /// The CRC of its body, computed by whoever handed it over: the writer has enough to do.
    pub(crate) body_crc: u32,
    /// It is in the log already and only changes its place, or replaces one that cannot be read.
    pub(crate) copied: bool,
    pub(crate) answer: Answer,
}

impl Pending {
    pub(crate) fn new(entry: Entry, copied: bool, answer: Answer) -> Self {
        let body_crc = entry.body.crc();
        Self { entry, body_crc, copied, answer }
    }

    /// The bytes that it takes on the disk.
    pub(crate) fn bytes(&self) -> u64 {
        (RECORD_HEADER_BYTES + self.entry.body.len()) as u64
    }

    /// Answers, and no longer counts as waiting.
    pub(crate) fn answer(self, core: &Core, answer: Result<crate::Position, AppendError>) {
        core.in_flight_bytes.fetch_sub(self.bytes(), Ordering::Relaxed);
        if matches!(answer, Err(ref error) if !matches!(error, AppendError::Dead { .. })) {
            core.metrics.refused.inc();
        }
        self.answer.send(answer);
    }
}

/// What the writer does next.
pub(crate) enum Work {
    /// Write these.
    Write(VecDeque<Pending>),
    /// Nothing came for a while.
    Idle,
    /// Nothing will come any more.
    Stop,
}

/// The queue of a log, in the order in which records were handed over.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Pending>,
    writer_sleeps: bool,
    stopped: bool,
}

impl Queue {
    /// Adds a record, or gives it back once stopped. A system call is made only if the writer sleeps.
    pub(crate) fn push(&self, pending: Pending) -> Option<Pending> {
        let mut state = self.lock();
        if state.stopped {
            return Some(pending);
        }
        state.waiting.push_back(pending);
        if std::mem::take(&mut state.writer_sleeps) {
            drop(state);
            self.wake.notify_one();
        }
        None
    }

    /// Waits for something to do; `Idle` after `patience` without.
    pub(crate) fn next(&self, limits: &Limits, patience: Option<Duration>) -> Work {
        let mut state = self.lock();
        loop {
            if !state.waiting.is_empty() {
                return Work::Write(state.take(limits));
            }
            if state.stopped {
                return Work::Stop;
            }
            state.writer_sleeps = true;
            let Some(patience) = patience else {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let slept = self.wake.wait_timeout(state, patience);
            let timeout;
            (state, timeout) = slept.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() && state.waiting.is_empty() && !state.stopped {
                state.writer_sleeps = false;
                return Work::Idle;
            }
        }
    }

    /// What there is to write, without waiting.
    pub(crate) fn take(&self, limits: &Limits) -> VecDeque<Pending> {
        self.lock().take(limits)
    }

    /// Everything there is.
    pub(crate) fn take_all(&self) -> VecDeque<Pending> {
        std::mem::take(&mut self.lock().waiting)
    }

    /// Refuses everything from now on, and wakes the writer to finish what waits.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.wake.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// One flush's worth, at least one record if any waits.
    fn take(&mut self, limits: &Limits) -> VecDeque<Pending> {
        let (mut bytes, mut count) = (0, 0);
        for pending in self.waiting.iter().take(limits.flush_records_max) {
            bytes += pending.bytes();
            if count > 0 && bytes > limits.flush_bytes_max {
                break;
            }
            count += 1;
        }
        if count == self.waiting.len() {
            return std::mem::take(&mut self.waiting);
        }
        self.waiting.drain(..count).collect()
    }
}
