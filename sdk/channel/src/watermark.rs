//! How far a lineage's promise reaches, and where the lineage ends.

use std::sync::Arc;

use sdk_event::Lineage;
use sdk_wal::Log;
use tokio::sync::watch;

/// The offset below which everything is durable on every replica of a lineage.
///
/// Readers follow it and never pass it. It only rises, until it is sealed; from
/// then on it stands, whatever becomes durable later.
#[derive(Clone)]
pub struct Watermark {
    state: Arc<watch::Sender<State>>,
    /// What our own log has on disk; absent when there is no log.
    log: Option<watch::Receiver<u64>>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// As far as our own appends were answered. The log may say it a little later.
    stored: u64,
    /// As far as every other replica has it.
    replicas: u64,
    /// Where the watermark was stopped.
    sealed: Option<u64>,
    /// The lineage's length, once that is decided.
    end: Option<u64>,
    /// Nobody reads here any more.
    closed: bool,
}

/// Waits for a watermark to move.
pub(crate) struct Follower {
    watermark: Watermark,
    state: watch::Receiver<State>,
    log: Option<watch::Receiver<u64>>,
}

/// What a reader finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) watermark: u64,
    pub(crate) end: Option<u64>,
    pub(crate) closed: bool,
}

impl Watermark {
    /// The watermark of a lineage that is being written. With `replicated` it
    /// waits for [`Watermark::replicated`] too.
    pub(crate) fn open(log: Option<(&Log, Lineage)>, replicated: bool) -> Watermark {
        let replicas = if replicated { 0 } else { u64::MAX };
        let state = State { stored: 0, replicas, sealed: None, end: None, closed: false };
        let log = log.map(|(log, lineage)| log.watch(lineage));
        Watermark { state: Arc::new(watch::Sender::new(state)), log }
    }

    /// The watermark of a lineage that was sealed at `end`, all of which is here.
    pub(crate) fn sealed(end: u64) -> Watermark {
        let state = State {
            stored: end,
            replicas: u64::MAX,
            sealed: Some(end),
            end: Some(end),
            closed: false,
        };
        Watermark { state: Arc::new(watch::Sender::new(state)), log: None }
    }

    /// Where it stands.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.of(&self.state.borrow())
    }

    fn of(&self, state: &State) -> u64 {
        let log = self.log.as_ref().map_or(0, |log| *log.borrow());
        let durable = state.stored.max(log).min(state.replicas);
        state.sealed.map_or(durable, |sealed| sealed.min(durable))
    }

    /// Our own append up to `end` is durable. Whether it counts: a sealed
    /// watermark does not rise.
    pub(crate) fn stored(&self, end: u64) -> bool {
        let wakes = self.log.is_none();
        let mut counts = false;
        self.state.send_if_modified(|state| {
            counts = state.sealed.is_none_or(|sealed| end <= sealed);
            if counts {
                state.stored = state.stored.max(end);
            }
            counts && wakes
        });
        counts
    }

    /// Every other replica has everything below `end`.
    pub(crate) fn replicated(&self, end: u64) {
        self.state.send_if_modified(|state| {
            let rises = end > state.replicas;
            state.replicas = state.replicas.max(end);
            rises
        });
    }

    /// Stops it for good and says where.
    pub(crate) fn seal(&self) -> u64 {
        let mut at = 0;
        self.state.send_modify(|state| {
            at = self.of(state);
            state.sealed = Some(at);
        });
        at
    }

    /// The lineage's length is decided: readers end there.
    pub(crate) fn end(&self, end: u64) {
        self.state.send_modify(|state| {
            state.sealed = Some(end);
            state.end = Some(end);
        });
    }

    /// Readers end now, wherever they are.
    pub(crate) fn close(&self) {
        self.state.send_modify(|state| state.closed = true);
    }

    /// Wakes everyone who waits, to look again.
    pub(crate) fn touch(&self) {
        self.state.send_modify(|_| ());
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.state.borrow().sealed.is_some()
    }

    pub(crate) fn follow(&self) -> Follower {
        Follower { watermark: self.clone(), state: self.state.subscribe(), log: self.log.clone() }
    }
}

impl Follower {
    /// Where it stands; [`Follower::changed`] waits for something newer.
    pub(crate) fn look(&mut self) -> Standing {
        if let Some(log) = &mut self.log {
            log.mark_unchanged();
        }
        let state = *self.state.borrow_and_update();
        let watermark = self.watermark.of(&state);
        Standing { watermark, end: state.end, closed: state.closed }
    }

    /// Waits until there may be something new since [`Follower::look`]. Cancel-safe.
    pub(crate) async fn changed(&mut self) {
        let state = self.state.changed();
        match &mut self.log {
            None => {
                // The sender is ours, so it is there.
                let _ = state.await;
            }
            Some(log) => tokio::select! {
                biased;
                _ = state => (),
                moved = log.changed() => if moved.is_err() {
                    // The log is gone; only a seal can still tell something.
                    self.log = None;
                },
            },
        }
    }
}
