//! Who owns the background work, and how it ends.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::BoxError;

/// Every task a program starts, by name. Cheap to clone; all clones are one.
///
/// A task that returns an error or panics is recorded, and [`Tasks::failed`]
/// wakes up; whether that stops the rest is for the owner to decide.
#[derive(Clone, Default)]
pub struct Tasks {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    tracker: TaskTracker,
    shutdown: CancellationToken,
    failed: CancellationToken,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    running: BTreeMap<u64, Running>,
    first_error: Option<Arc<TaskError>>,
}

struct Running {
    name: Cow<'static, str>,
    /// Absent only between the entry being made and the task being spawned.
    abort: Option<AbortHandle>,
}

/// A task that ended badly.
#[derive(Debug, thiserror::Error)]
#[error("task {task} failed")]
pub struct TaskError {
    /// The name it was started under.
    pub task: Cow<'static, str>,
    /// What it returned, or what it panicked with.
    #[source]
    pub error: BoxError,
}

/// How the work ended.
#[derive(Debug, Default)]
pub struct Stopped {
    /// Names of the tasks that outlived the grace period and were aborted.
    pub aborted: Vec<Cow<'static, str>>,
    /// The first task that failed, at any time.
    pub first_error: Option<Arc<TaskError>>,
}

/// What a task may return: nothing, or a result whose error counts as failure.
pub trait Outcome {
    /// The failure, if this is one.
    fn into_error(self) -> Option<BoxError>;
}

impl Outcome for () {
    fn into_error(self) -> Option<BoxError> {
        None
    }
}

impl<E: Into<BoxError>> Outcome for Result<(), E> {
    fn into_error(self) -> Option<BoxError> {
        self.err().map(Into::into)
    }
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Tasks {
        Tasks::default()
    }

    /// Starts a task that must end soon after the token it is given is
    /// cancelled. One that is started after [`Tasks::stop`] finds it cancelled.
    pub fn start<F>(
        &self,
        name: impl Into<Cow<'static, str>>,
        task: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output: Outcome> + Send + 'static,
    {
        let future = task(self.inner.shutdown.child_token());
        let name = name.into();
        let id = self.enter(name.clone());
        let entry = Entry { inner: Arc::clone(&self.inner), id };
        let abort = self.inner.tracker.spawn(async move {
            let error = match AssertUnwindSafe(future).catch_unwind().await {
                Ok(outcome) => outcome.into_error(),
                Err(panic) => Some(panic_text(panic.as_ref()).into()),
            };
            if let Some(error) = error {
                entry.inner.record(TaskError { task: name, error });
            }
        });
        // The task may be over already; then there is no entry to complete.
        if let Some(running) = self.inner.lock().running.get_mut(&id) {
            running.abort = Some(abort.abort_handle());
        }
    }

    /// The token that every task's token is a child of.
    #[must_use]
    pub fn shutdown(&self) -> &CancellationToken {
        &self.inner.shutdown
    }

    /// Waits until a task has failed; at once if one has. Cancel-safe.
    pub async fn failed(&self) -> Arc<TaskError> {
        self.inner.failed.cancelled().await;
        self.inner.lock().first_error.clone().expect("recorded before the wake-up")
    }

    /// Names of the tasks that have not ended, oldest first.
    #[must_use]
    pub fn running(&self) -> Vec<Cow<'static, str>> {
        self.inner.lock().running.values().map(|running| running.name.clone()).collect()
    }

    /// Asks every task to end, waits up to `grace`, and aborts what is left.
    ///
    /// Calling it again is harmless.
    pub async fn stop(&self, grace: Duration) -> Stopped {
        self.inner.shutdown.cancel();
        self.inner.tracker.close();
        let in_time = tokio::time::timeout(grace, self.inner.tracker.wait()).await;
        let mut aborted = Vec::new();
        if in_time.is_err() {
            for running in self.inner.lock().running.values() {
                aborted.push(running.name.clone());
                if let Some(abort) = &running.abort {
                    abort.abort();
                }
            }
        }
        Stopped { aborted, first_error: self.inner.lock().first_error.clone() }
    }

    fn enter(&self, name: Cow<'static, str>) -> u64 {
        let mut state = self.inner.lock();
        let id = state.next;
        state.next += 1;
        state.running.insert(id, Running { name, abort: None });
        id
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the lock is held")
    }

    fn record(&self, error: TaskError) {
        self.lock().first_error.get_or_insert_with(|| Arc::new(error));
        self.failed.cancel();
    }
}

/// Takes a task off the list however it ends, an abort included.
struct Entry {
    inner: Arc<Inner>,
    id: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.inner.lock().running.remove(&self.id);
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    format!("panicked: {text}")
}
