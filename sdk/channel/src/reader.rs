//! Follows a lineage of one channel.

mod log;
mod trim;

pub(crate) use log::LogSupply;
pub(crate) use trim::trim;

use std::time::Duration;

use async_trait::async_trait;
use sdk_event::Lineage;
use sdk_flow::{Batch, ChannelReader, ReadError, Stored};
use tokio::time::{Instant, sleep_until};

use crate::watermark::{Follower, Watermark};

/// How long a reader waits for something of its own before it hands out a batch
/// of offsets that hold nothing for it.
const SKIP_LINGER: Duration = Duration::from_secs(1);

/// A reader hands out so many offsets with nothing for it at most.
const SKIP_OFFSETS_MAX: u64 = 1 << 20;

/// Where a reader's puts come from.
#[async_trait]
pub(crate) trait Supply: Send {
    /// What there is in `[from, limit)`, at least one record of it, and then no
    /// more once `bytes_max` is passed. Cancel-safe.
    async fn read(&mut self, from: u64, limit: u64, bytes_max: usize) -> Result<Found, ReadError>;
}

/// What a supply has of a range.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The channel's puts.
    pub(crate) stored: Vec<Stored>,
    /// The end of the range covered.
    pub(crate) to: u64,
    /// Nothing was covered but cursors' commits: to follow those with another
    /// commit would never end.
    pub(crate) quiet: bool,
}

/// The reader of every channel: what differs is the supply.
pub(crate) struct LineageReader<S> {
    lineage: Lineage,
    follower: Follower,
    supply: S,
    cursor: u64,
    /// `[cursor, scanned)` holds nothing for this channel.
    scanned: u64,
    /// Of that, something that a cursor should pass.
    worth: bool,
    /// When that is handed out although nothing else came.
    linger: Option<Instant>,
}

impl<S: Supply> LineageReader<S> {
    pub(crate) fn new(lineage: Lineage, watermark: &Watermark, supply: S, from: u64) -> Self {
        LineageReader {
            lineage,
            follower: watermark.follow(),
            supply,
            cursor: from,
            scanned: from,
            worth: false,
            linger: None,
        }
    }

    /// Moves to `scanned` and hands out what was found on the way.
    fn batch(&mut self, stored: Vec<Stored>) -> Batch {
        let batch = Batch { lineage: self.lineage, from: self.cursor, to: self.scanned, stored };
        self.seek(self.scanned);
        batch
    }
}

#[async_trait]
impl<S: Supply> ChannelReader for LineageReader<S> {
    async fn next(&mut self, bytes_max: usize) -> Result<Option<Batch>, ReadError> {
        loop {
            let standing = self.follower.look();
            if standing.closed {
                // A lineage is closed as soon as nobody needs it: who has read all of it is told so.
                let at_end = standing.end.is_some_and(|end| self.cursor >= end);
                return if at_end { Ok(None) } else { Err(ReadError::Closed) };
            }
            let limit = standing.watermark;
            if self.scanned < limit {
                let found = match self.supply.read(self.scanned, limit, bytes_max).await {
                    // Whoever passes what is lost commits from there: first what lies before it.
                    Err(ReadError::Lost { .. }) if self.scanned > self.cursor => {
                        return Ok(Some(self.batch(Vec::new())));
                    }
                    read => read?,
                };
                if found.to <= self.scanned || found.to > limit {
                    let reason =
                        format!("reading from {} to {limit} ended at {}", self.scanned, found.to);
                    return Err(ReadError::Storage(reason.into()));
                }
                self.scanned = found.to;
                self.worth |= !found.quiet;
                if !found.stored.is_empty() || self.scanned - self.cursor >= SKIP_OFFSETS_MAX {
                    return Ok(Some(self.batch(found.stored)));
                }
                continue;
            }
            if standing.end.is_some_and(|end| self.scanned >= end) {
                let rest = self.scanned > self.cursor;
                return Ok(rest.then(|| self.batch(Vec::new())));
            }
            if !self.worth || self.scanned == self.cursor {
                self.follower.changed().await;
                continue;
            }
            let until = *self.linger.get_or_insert_with(|| Instant::now() + SKIP_LINGER);
            tokio::select! {
                biased;
                () = sleep_until(until) => return Ok(Some(self.batch(Vec::new()))),
                () = self.follower.changed() => (),
            }
        }
    }

    fn cursor(&self) -> u64 {
        self.cursor
    }

    fn seek(&mut self, offset: u64) {
        self.cursor = offset;
        self.scanned = offset;
        self.worth = false;
        self.linger = None;
    }
}
