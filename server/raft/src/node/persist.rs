//! What has to get to the disk, in order, without waiting for it.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use raft::eraftpb::{HardState, Message};
use sdk_wal::AppendError;
use tracing::warn;

use super::Node;
use crate::error::Fatal;
use crate::journal::{Pending, Record, last_index};
use crate::snapshots::SnapshotFile;

/// Time between two warnings that the disk is slow.
const SLOW_PAUSE: Duration = Duration::from_secs(60);

/// One thing to do before what follows counts.
pub(super) enum Step {
    /// Write a record.
    Record {
        body: Bytes,
        last_index: u64,
        hard_state: HardState,
        /// On its way since then.
        pending: Option<(Pending, Duration)>,
    },
    /// Write a snapshot that was received. `None` while it is being written.
    Snapshot { file: Option<Box<SnapshotFile>> },
    /// Everything of this Ready is on the disk.
    Done { number: u64, messages: Vec<Message> },
}

impl Step {
    pub(super) fn record(record: Record) -> Step {
        Step::Record {
            body: record.encode().into(),
            last_index: last_index(&record),
            hard_state: record.hard_state,
            pending: None,
        }
    }
}

impl Node {
    /// Starts what can be started, and takes note of what is done.
    pub(super) fn persist(&mut self) -> Result<(), Fatal> {
        self.start_steps()?;
        while self.first_is_done()? {
            match self.steps.pop_front() {
                Some(Step::Done { number, messages }) => {
                    self.raw.on_persist_ready(number);
                    // After a snapshot: what it has is applied now that it is on the disk.
                    let applied = self.entries().applied.index;
                    if self.raw.raft.raft_log.applied < applied {
                        self.raw.advance_apply_to(applied);
                    }
                    self.send(messages);
                }
                Some(Step::Record { pending: Some((pending, since)), hard_state, .. }) => {
                    self.journal.durable(pending.offset, &hard_state);
                    self.blocked = false;
                    self.note_pace(since);
                }
                _ => (),
            }
            self.start_steps()?;
        }
        Ok(())
    }

    /// Hands records to the log, up to a snapshot that must be on the disk before them.
    fn start_steps(&mut self) -> Result<(), Fatal> {
        if self.ticks < self.retry_tick {
            return Ok(());
        }
        for (at, step) in self.steps.iter_mut().enumerate() {
            match step {
                Step::Record { body, last_index, pending: pending @ None, .. } => {
                    match self.journal.append(body.clone(), *last_index) {
                        Ok(appended) => *pending = Some((appended, self.clock.monotonic())),
                        Err(AppendError::Full { .. }) => {
                            self.blocked = true;
                            self.retry_tick = self.ticks + 1;
                            break;
                        }
                        Err(error) => return Err(dead(&error)),
                    }
                }
                Step::Snapshot { file } => {
                    // Records before it come first, so that it can say where the log goes on.
                    if at == 0
                        && let Some(mut file) = file.take()
                    {
                        file.log_from = self.journal.needed_after(file.place.index);
                        file.hard_state = self.journal.durable_state().clone();
                        self.snapshots.write(*file);
                    }
                    break;
                }
                Step::Record { .. } | Step::Done { .. } => (),
            }
        }
        Ok(())
    }

    fn first_is_done(&mut self) -> Result<bool, Fatal> {
        match self.steps.front_mut() {
            Some(Step::Done { .. }) => Ok(true),
            Some(Step::Record { pending: Some((pending, _)), .. }) => {
                let mut context = Context::from_waker(&self.waker);
                match Pin::new(&mut pending.appended).poll(&mut context) {
                    Poll::Pending => Ok(false),
                    Poll::Ready(Ok(_)) => Ok(true),
                    Poll::Ready(Err(AppendError::Full { .. })) => {
                        let offset = pending.offset;
                        self.start_again(offset);
                        Ok(false)
                    }
                    Poll::Ready(Err(error)) => Err(dead(&error)),
                }
            }
            _ => Ok(false),
        }
    }

    /// The disk was full: nothing from this record on was written. The next tick tries again.
    fn start_again(&mut self, offset: u64) {
        self.journal.refused(offset);
        self.blocked = true;
        self.retry_tick = self.ticks + 1;
        for step in &mut self.steps {
            if let Step::Record { pending, .. } = step {
                *pending = None;
            }
        }
    }

    /// A received snapshot is on the disk: what follows it may be written.
    pub(super) fn received_is_written(&mut self) {
        if matches!(self.steps.front(), Some(Step::Snapshot { file: None })) {
            self.steps.pop_front();
        }
    }

    pub(crate) fn waits_for_disk(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Record { pending: Some(_), .. }))
    }

    fn note_pace(&mut self, since: Duration) {
        let now = self.clock.monotonic();
        let took = now.saturating_sub(since);
        let said = self.slow_said.is_some_and(|said| now.saturating_sub(said) < SLOW_PAUSE);
        if took > self.slow && !said {
            self.slow_said = Some(now);
            warn!(?took, bearable = ?self.slow, "the disk of the raft log is slow");
        }
    }
}

fn dead(error: &AppendError) -> Fatal {
    Fatal::Disk { reason: error.to_string().into() }
}
