//! Work that waits for the disk, off the threads that serve.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::JoinError;

/// Runs work where it may wait.
///
/// On a runtime of one thread it is done at once: such a runtime is a simulation's, whose disk makes
/// nobody wait and whose order must be the same each time.
pub(crate) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    if is_inline() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await
}

/// Whether everything runs on the one thread there is.
pub(crate) fn is_inline() -> bool {
    Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread
}
