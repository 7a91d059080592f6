//! What the Raft thread and everybody else share: the applied state and how the node is doing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use server_cluster::{Command, Reply, State};
use tokio::sync::watch;

use crate::changes::Applied;
use crate::error::Fatal;
use crate::status::Status;

/// The applied state, and who is told when it changes.
pub(crate) struct Shared {
    state: RwLock<State>,
    /// The index of the last entry applied, commands or not.
    pub(crate) applied: Applied,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) failure: watch::Sender<Option<Arc<str>>>,
    /// Messages that wait for the node.
    pub(crate) messages: AtomicUsize,
}

impl Shared {
    pub(crate) fn new(state: State, applied: u64) -> Shared {
        Shared {
            state: RwLock::new(state),
            applied: Applied::new(applied),
            status: watch::Sender::default(),
            failure: watch::Sender::new(None),
            messages: AtomicUsize::new(0),
        }
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Applies commands in one go, then tells that everything up to `applied` is.
    pub(crate) fn apply(&self, commands: Vec<(u64, Command)>, applied: u64) -> Vec<(u64, Reply)> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let replies = commands
            .into_iter()
            .map(|(index, command)| (index, state.apply(index, command)))
            .collect();
        drop(state);
        self.applied.tell(applied);
        replies
    }

    /// Puts another state in its place, as a snapshot has it.
    pub(crate) fn replace(&self, state: State, applied: u64) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        self.applied.tell(applied);
    }

    pub(crate) fn failed(&self, fatal: &Fatal) {
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            if first {
                *failure = Some(fatal.to_string().into());
            }
            first
        });
    }

    pub(crate) fn failure(&self) -> Arc<str> {
        self.failure.borrow().clone().unwrap_or_else(|| "it was stopped".into())
    }

    pub(crate) fn taken_message(&self) {
        self.messages.fetch_sub(1, Ordering::Relaxed);
    }
}
