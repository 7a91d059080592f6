//! When events were put that this token has not read: they wait all the same.

use std::sync::Arc;
use std::time::Duration;

use sdk_flow::ReadError;
use tracing::warn;

use super::outcome::Done;
use super::session::Session;
use super::shared::Readers;

/// How long a log that could not be read is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct Peek {
    /// An offset, and when what is there was put; `i64::MAX` if nothing is. Later ones were put no
    /// earlier.
    found: Option<(u64, i64)>,
    looking: bool,
    not_before: Duration,
}

impl Peek {
    /// A time before which nothing from `offset` on was put.
    fn bound(&self, offset: u64) -> Option<i64> {
        self.found.filter(|(at, _)| *at <= offset).map(|(_, put_ms)| put_ms)
    }
}

impl Session {
    /// The lowest offset that has something of an unknown put time: in a file that an earlier token
    /// has announced, in a hole, or where nothing was read yet.
    fn lowest_unread(&self) -> Option<u64> {
        let segments = self.table.iter().flat_map(|(_, bucket)| bucket.segments());
        let recovered = segments.filter(|segment| segment.first_put_ms == i64::MAX);
        let nothing_read = self.newest_put_ms.is_none() && !self.caught_up && !self.ended;
        let lowest = recovered.map(|segment| segment.first).min();
        lowest.into_iter().chain(nothing_read.then_some(self.cursor)).min()
    }

    /// A time before which nothing was put that is waiting and unread; `i64::MAX` if nothing is.
    /// `None`: not known yet.
    pub(super) fn unread_put_ms(&self) -> Option<i64> {
        self.lowest_unread().map_or(Some(i64::MAX), |offset| self.peek.bound(offset))
    }

    /// Looks it up in the log, unless that was done: one record for all of it.
    pub(super) fn peek(&mut self) {
        let Some(offset) = self.lowest_unread() else { return };
        let known = self.peek.found.is_some_and(|(at, _)| at == offset);
        if known || self.peek.looking || self.now() < self.peek.not_before {
            return;
        }
        self.peek.looking = true;
        let readers = Arc::clone(&self.shared.options.readers);
        self.jobs.push(Box::pin(async move {
            Done::Peeked { offset, put_ms: put_ms(&*readers, offset).await }
        }));
    }

    pub(super) fn peeked(&mut self, offset: u64, put_ms: Result<Option<i64>, ReadError>) {
        self.peek.looking = false;
        match put_ms {
            Ok(put_ms) => {
                self.peek.found = Some((offset, put_ms.unwrap_or(i64::MAX)));
                self.published_at = None;
            }
            Err(ReadError::Closed) => self.peek.not_before = self.now() + PAUSE,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(offset, error, "cannot see when an event was put, will retry");
                self.peek.not_before = self.now() + PAUSE;
            }
        }
    }
}

/// When the first put at or behind `offset` was stored. Waits while there is none; `None` if there
/// will be none. Cancel-safe.
pub async fn put_ms(readers: &dyn Readers, offset: u64) -> Result<Option<i64>, ReadError> {
    let mut reader = readers.reader(offset)?;
    loop {
        match reader.next(1).await {
            Ok(Some(batch)) => {
                if let Some(stored) = batch.stored.first() {
                    return Ok(Some(stored.put_time_ms));
                }
            }
            Ok(None) => return Ok(None),
            Err(ReadError::Lost { to, .. }) => reader.seek(to),
            Err(error) => return Err(error),
        }
    }
}
