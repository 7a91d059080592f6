//! Putting until there is an answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sdk_event::{Block, Event};
use sdk_flow::{Intake, PutError, Rejection, SourceError};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// What became of a put.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// It is stored.
    Stored,
    /// The source was told to stop before there was an answer.
    Stopped,
    /// It is not stored and never will be, because of what is in it.
    Refused(Arc<str>),
}

/// Puts blocks of one source, each again until there is an answer.
pub(crate) struct Putter {
    source: String,
    intake: Arc<dyn Intake>,
    stop: CancellationToken,
}

impl Putter {
    pub(crate) fn new(source: String, intake: Arc<dyn Intake>, stop: CancellationToken) -> Putter {
        Putter { source, intake, stop }
    }

    pub(crate) async fn put(&self, block: &Block, position: Bytes) -> Result<Done, SourceError> {
        let put = || async {
            self.intake.put(block.clone(), Some(position.clone())).await.map(|_receipt| ())
        };
        self.repeat(put).await
    }

    pub(crate) async fn remember(&self, position: &Bytes) -> Result<Done, SourceError> {
        self.repeat(|| self.intake.remember(position.clone())).await
    }

    pub(crate) async fn dead_letter(
        &self,
        event: &Event,
        reason: &str,
    ) -> Result<Done, SourceError> {
        warn!(source = self.source, reason, "an event goes to the dead letters");
        self.repeat(|| self.intake.dead_letter(event.clone(), reason)).await
    }

    async fn repeat<F>(&self, put: impl Fn() -> F) -> Result<Done, SourceError>
    where
        F: Future<Output = Result<(), PutError>>,
    {
        let mut unknown: u32 = 0;
        let mut waiting = false;
        loop {
            let pause = match put().await {
                Ok(()) => return Ok(Done::Stored),
                Err(PutError::Exhausted { reason, retry_after }) => {
                    if !waiting {
                        debug!(source = self.source, %reason, "the flow has no room, waiting");
                    }
                    waiting = true;
                    retry_after.clamp(PAUSE_MIN, PAUSE_MAX)
                }
                Err(PutError::Unknown(error)) => {
                    warn!(
                        source = self.source,
                        error = &*error as &dyn std::error::Error,
                        "no answer to a put, repeating it"
                    );
                    unknown = unknown.saturating_add(1);
                    PAUSE_MIN.saturating_mul(1 << unknown.min(16)).min(UNKNOWN_PAUSE_MAX)
                }
                Err(PutError::Rejected { reason: Rejection::Content(reason) }) => {
                    return Ok(Done::Refused(reason));
                }
                Err(PutError::Stopped) if self.stop.is_cancelled() => return Ok(Done::Stopped),
                Err(error) => return Err(SourceError::Put(error)),
            };
            if self.stop.run_until_cancelled(sleep(pause)).await.is_none() {
                return Ok(Done::Stopped);
            }
        }
    }
}

/// A shorter wait would be a busy loop.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// A longer one would leave room unused.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Between two repeats of a put without an answer.
const UNKNOWN_PAUSE_MAX: Duration = Duration::from_secs(5);
