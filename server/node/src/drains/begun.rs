//! A drain that was begun, and why it gets nowhere.

use super::Running;
use std::time::Duration;

/// A drain begins, and has its token, within milliseconds; after this it is said that it has not.
pub(crate) const BEGINS_WITHIN: Duration = Duration::from_secs(5);

/// A drain that was begun: it may wait for its token still.
pub(super) struct Begun {
    /// When it began, or began again, or ended.
    at: Duration,
    running: Option<Running>,
    /// When it failed last, and why.
    failed: Option<(Duration, String)>,
}

/// Why a drain gets nowhere.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(crate) enum Idle {
    /// It was not begun.
    #[error("nothing drains them; a restart begins all drains again")]
    Unbegun,
    /// It has had no token for a while.
    #[error("the control plane has not given their drains a token, which are waiting for it")]
    Waits,
    /// It has failed, and is begun again and again.
    #[error("their drains fail and are begun again: {0}")]
    Fails(String),
}

impl Begun {
    /// All times are of the monotonic clock.
    pub(super) fn new(now: Duration) -> Self {
        Self { at: now, running: None, failed: None }
    }

    pub(super) fn running(&self) -> Option<&Running> {
        self.running.as_ref()
    }

    /// It has its token.
    pub(super) fn runs(&mut self, running: Running) {
        self.running = Some(running);
    }

    /// It has failed, and begins again in a moment.
    pub(super) fn fails(&mut self, now: Duration, why: String) {
        (self.at, self.running, self.failed) = (now, None, Some((now, why)));
    }

    /// It has nothing left to drain, or is no longer the holder.
    pub(super) fn ends(&mut self, now: Duration) {
        (self.at, self.running) = (now, None);
    }

    /// Why it gets nowhere, if that is so. It needs no request in between to notice.
    pub(super) fn idle(&self, now: Duration) -> Option<Idle> {
        let lately = |at: Duration| now.saturating_sub(at) < BEGINS_WITHIN;
        match (&self.running, &self.failed) {
            (None, Some((_, why))) => Some(Idle::Fails(why.clone())),
            (Some(_), Some((at, why))) if lately(*at) => Some(Idle::Fails(why.clone())),
            (None, None) if !lately(self.at) => Some(Idle::Waits),
            _ => None,
        }
    }
}
