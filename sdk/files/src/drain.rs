//! Draining one lineage into files.
//!
//! ```text
//!  reader ─▶ bucket ─▶ segment: Streaming ─roll▶ Closing ─▶ Staged ─Intent▶ Announced ─rename▶ Placed ─Commit▶ floor
//!                         │  ▲                                │ (absent, lost, failed)
//!                         ▼  │                                ▼
//!                        Cold ◀──────────────────────────────Cold ─build from the log─▶ Staged
//! ```
//!
//! A file is a list of offset ranges of one bucket; building it from the log is the basic operation,
//! writing it while its events come in is the optimisation. Everything between two tokens lives in a
//! [`session`]; whenever it is in doubt what holds, a session ends and the next begins with what the
//! ledger says under a fresh token.

mod advance;
mod bucket;
mod build;
#[cfg(failpoints)]
mod early;
mod failure;
mod ledger;
mod look;
mod member;
mod memory;
mod outcome;
mod peek;
mod place;
mod read;
mod recover;
mod report;
mod session;
mod shared;
mod spans;
mod stream;
mod stretches;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sdk_config::ledger::Refusal;
use sdk_flow::{Ended, ReadError};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use look::InHand;
pub use memory::DrainMemory;
pub use peek::put_ms;
pub use shared::{ChannelReaders, DrainLimits, DrainOptions, Preference, Readers};

use crate::ledger::LedgerError;
use crate::status::{DrainStatus, DrainTotals};
use look::Looks;
use session::{End, Session};

/// Drains one lineage for one sink group.
///
/// Dropping the future of [`Drain::run`] anywhere is a crash: what it left is resolved by the next
/// drain under a fresh token, nothing is lost and nothing is twice in final files.
pub struct Drain {
    options: DrainOptions,
    control: Arc<Control>,
    status: watch::Sender<DrainStatus>,
}

/// What others may do with a running drain. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DrainHandle {
    control: Arc<Control>,
    status: watch::Receiver<DrainStatus>,
}

/// Why a drain could not go on.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// The log cannot be read: stop and tell the operator.
    #[error("cannot read the channel")]
    Read(#[source] ReadError),
}

#[derive(Debug, Default)]
struct Control {
    wake: Notify,
    roll: AtomicBool,
    refresh: AtomicBool,
    looks: Looks,
}

impl DrainHandle {
    /// Finishes all files now, whatever their age, and goes on. Returns at once.
    pub fn roll_now(&self) {
        self.control.roll.store(true, Ordering::Relaxed);
        self.control.wake.notify_one();
    }

    /// Reads the ledger again, under a fresh token: somebody else has changed it.
    pub fn refresh(&self) {
        self.control.refresh.store(true, Ordering::Relaxed);
        self.control.wake.notify_one();
    }

    /// Counts what it has in hand, as soon as no call to the ledger is under way. `None` when it has
    /// no token at the moment and none soon, or when too many ask. Cancel-safe.
    pub async fn in_hand(&self) -> Option<InHand> {
        let answer = self.control.looks.ask()?;
        self.control.wake.notify_one();
        timeout(LOOK_WITHIN, answer).await.ok()?.ok()
    }

    /// How it is doing.
    pub fn status(&self) -> DrainStatus {
        self.status.borrow().clone()
    }

    /// To wait for a change of that.
    pub fn watch(&self) -> watch::Receiver<DrainStatus> {
        self.status.clone()
    }
}

impl Drain {
    /// A drain that has not begun.
    ///
    /// # Panics
    /// If there is no member; a flow's spec is checked for that.
    pub fn new(options: DrainOptions) -> (Drain, DrainHandle) {
        assert!(!options.members.is_empty(), "a group has at least one sink");
        let lineage = options.names.lineage;
        let initial = DrainStatus::new(Arc::clone(&options.group), lineage);
        let (status, watch) = watch::channel(initial);
        let control = Arc::new(Control::default());
        let handle = DrainHandle { control: Arc::clone(&control), status: watch };
        (Drain { options, control, status }, handle)
    }

    /// Runs until the lineage is drained, another process holds it, or `stop`. After `stop` nothing
    /// more is read; what was read is finished, for no longer than
    /// [`stop_grace`](DrainLimits::stop_grace).
    pub async fn run(self, stop: CancellationToken) -> Result<Ended, DrainError> {
        let mut totals = DrainTotals::default();
        let mut failures = 0;
        loop {
            if stop.is_cancelled() {
                return Ok(Ended::Stopped);
            }
            let (end, worked) = self.one_token(&mut totals, &stop).await;
            let group = &*self.options.group;
            let lineage = self.options.names.lineage;
            let reason = match end {
                End::Drained => {
                    info!(group, %lineage, "lineage drained");
                    return Ok(Ended::Drained);
                }
                End::Stopped => return Ok(Ended::Stopped),
                End::NotOurs(refusal) => {
                    info!(group, %lineage, %refusal, "lineage is no longer ours to drain");
                    return Ok(Ended::Fenced);
                }
                End::Failed(error) => return Err(DrainError::Read(error)),
                End::Fresh(reason) => reason,
            };
            failures = if worked { 0 } else { failures + 1 };
            warn!(group, %lineage, reason, failures, "taking a fresh token");
            self.status.send_modify(|status| {
                status.active = None;
                status.degraded = Some(reason);
            });
            let pause = failure::pause(failures, self.options.limits.pause_max);
            let _ = stop.run_until_cancelled(sleep(pause)).await;
        }
    }

    /// Acquires a token and works under it to its end. The flag says whether it got anything done.
    async fn one_token(&self, totals: &mut DrainTotals, stop: &CancellationToken) -> (End, bool) {
        let mut unseen = None;
        let acquired = stop.run_until_cancelled(self.acquire(&mut unseen)).await;
        let grant = match acquired {
            None => return (End::Stopped, false),
            Some(Ok(grant)) => grant,
            Some(Err(LedgerError::Closed)) => return (End::Stopped, false),
            Some(Err(LedgerError::Unavailable(error))) => {
                return (End::Fresh(format!("the ledger cannot be reached: {error}")), false);
            }
            Some(Err(LedgerError::Refused(refusal))) => {
                return (
                    match refusal {
                        Refusal::Gone | Refusal::NotAssigned { .. } | Refusal::Invalid(_) => {
                            End::NotOurs(refusal)
                        }
                        // Why none was seen says more than that none was.
                        Refusal::NoMarker { .. } if unseen.is_some() => {
                            End::Fresh(unseen.unwrap_or_default())
                        }
                        _ => End::Fresh(format!("no token is granted: {refusal}")),
                    },
                    false,
                );
            }
        };
        totals.tokens += 1;
        let floor = grant.floor;
        let mut session = match Session::new(self, grant, *totals) {
            Ok(session) => session,
            Err(ReadError::Closed) => return (End::Stopped, false),
            Err(error) => return (End::Failed(error), false),
        };
        let end = session.run(stop).await;
        let worked = session.totals.files > totals.files || session.floor > floor;
        *totals = session.totals;
        (end, worked)
    }

    /// `unseen`: why the first root could not be looked at, if it could not.
    async fn acquire(
        &self,
        unseen: &mut Option<String>,
    ) -> Result<sdk_config::ledger::Grant, LedgerError> {
        let (claims, troubles): (Vec<_>, Vec<_>) =
            member::claims(&self.options).await.into_iter().unzip();
        *unseen = troubles.into_iter().next().flatten();
        sdk_failpoints::before!(Acquire);
        let grant = self.options.ledger.acquire(&claims).await;
        sdk_failpoints::after!(Acquire);
        grant
    }
}

/// How long a look at what a drain has in hand may take.
const LOOK_WITHIN: Duration = Duration::from_millis(500);

/// How long a drain with nothing to do sleeps at most.
const NAP: Duration = Duration::from_secs(1);

/// What is in the log is read within this, also from a disk: with nothing for so long a drain has caught up.
/// Were that sooner, files of a backlog, long due by the clock, would be finished after every read.
const READS_WITHIN: Duration = Duration::from_millis(250);
