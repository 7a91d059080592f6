//! `taildir`: lines of files as they grow.
//!
//! A file is known by its inode and the CRC of its first KiB, so it may be
//! renamed at will. One that shrinks, or begins with other bytes than it did, was
//! truncated and is read again from its first byte. What was in it and not read
//! by then is lost, so rotation by `copytruncate` is exact only while the source
//! has caught up and nothing is written between the copy and the cut; rotation by
//! rename always is, as long as each file can be found under some path that a
//! group means, or in its old directory, when the source next looks.
//!
//! Where reading stands goes into the record of the put that has the lines, for
//! each file the block touched. Whoever is killed between reading and storing
//! reads again; whoever is killed behind storing does not.

mod assembly;
mod disk;
mod file;
mod glob;
mod hints;
mod mark;
mod memory;
mod read;
mod scan;
mod settings;
mod split;
mod stats;
mod tail;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use sdk_config::TaildirSource;
use sdk_event::limits::LINGER;
use sdk_event::{Block, BlockBuilder, Codec, ProducerId};
use sdk_flow::{Clock, Intake, Source, SourceError, SourceStart};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::assembly::Prepared;
use self::hints::Hints;
use self::settings::Settings;
use self::stats::add;
pub use self::stats::{FileLag, TaildirCounts, TaildirStats};
use self::tail::{Next, Tail};
use crate::putter::{Done, Putter};

/// Follows files and puts their lines.
pub struct Taildir {
    settings: Settings,
    start: SourceStart,
    clock: Arc<dyn Clock>,
    stats: Arc<TaildirStats>,
    hints: bool,
}

/// Why a `taildir` cannot be built. (Reading a spec finds all of these.)
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Files are looked for from the root.
    #[error("file group {group} is not an absolute path")]
    Relative {
        /// The group.
        group: String,
    },
    /// A glob of a group that is none.
    #[error("file group {group} is not a valid glob")]
    Glob {
        /// The group.
        group: String,
        /// What is wrong.
        #[source]
        error: globset::Error,
    },
    /// A glob of `exclude` that is none.
    #[error("exclude is not a valid glob")]
    Exclude(#[source] globset::Error),
    /// A pattern of `multiline` that is none.
    #[error("the multiline pattern is not a valid regular expression")]
    Pattern(#[source] regex::Error),
}

impl Taildir {
    /// So many files are open at once unless told otherwise; further ones take
    /// turns.
    pub const OPEN_FILES_MAX: usize = 256;

    /// A source that goes on where `start` says.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn build(
        spec: &TaildirSource,
        start: SourceStart,
        clock: Arc<dyn Clock>,
    ) -> Result<Taildir, BuildError> {
        let settings = Settings::new(spec, &start)?;
        Ok(Taildir { settings, start, clock, stats: Arc::default(), hints: true })
    }

    /// Keeps at most so many files open.
    #[must_use]
    pub fn with_open_files_max(mut self, open_files_max: usize) -> Taildir {
        self.settings.open_files_max = open_files_max.max(1);
        self
    }

    /// Finds growth and new files by polling alone.
    #[must_use]
    pub fn without_hints(mut self) -> Taildir {
        self.hints = false;
        self
    }

    /// Its figures; stay readable while it runs.
    #[must_use]
    pub fn stats(&self) -> Arc<TaildirStats> {
        Arc::clone(&self.stats)
    }
}

#[async_trait]
impl Source for Taildir {
    async fn run(
        self: Box<Self>,
        intake: Arc<dyn Intake>,
        stop: CancellationToken,
    ) -> Result<(), SourceError> {
        let hints = Hints::new(self.hints);
        let waker = hints.waker();
        let stats = Arc::clone(&self.stats);
        let mut following = Following {
            putter: Putter::new(self.start.name.clone(), intake, stop.clone()),
            ids: (self.start.producer, self.start.generation),
            next_sequence: self.start.next_sequence,
            stats: Arc::clone(&self.stats),
        };
        let tail = Tail::new(self.settings, &self.start, self.clock, stats, hints);
        let (mut tail, mut next) = look(Box::new(tail)).await?;
        loop {
            let done = match next {
                Next::Put(prepared) => {
                    // The next block is read while this one is being stored.
                    let (done, ahead) = tokio::join!(following.put(&prepared), look(tail));
                    (tail, next) = ahead?;
                    done?
                }
                Next::Remember(positions) => {
                    let mut done = Done::Stored;
                    for position in &positions {
                        if done == Done::Stored {
                            done = following.putter.remember(position).await?;
                        }
                    }
                    (tail, next) = look(tail).await?;
                    done
                }
                Next::Wait(pause) => {
                    tokio::select! {
                        () = stop.cancelled() => (),
                        () = sleep(pause) => (),
                        // A writer that has begun goes on: see what it has to say.
                        () = waker.woken() => sleep(LINGER).await,
                    }
                    (tail, next) = look(tail).await?;
                    Done::Stored
                }
            };
            if done == Done::Stopped || stop.is_cancelled() {
                return Ok(());
            }
        }
    }
}

/// Lets the tail look and read, where that may block.
async fn look(mut tail: Box<Tail>) -> Result<(Box<Tail>, Next), SourceError> {
    let looked = tokio::task::spawn_blocking(move || {
        let next = tail.next();
        (tail, next)
    });
    looked.await.map_err(|error| SourceError::Failed(error.into()))
}

/// The side that puts.
struct Following {
    putter: Putter,
    ids: (ProducerId, u64),
    /// The sequence number of the next event that is stored.
    next_sequence: u64,
    stats: Arc<TaildirStats>,
}

impl Following {
    async fn put(&mut self, prepared: &Prepared) -> Result<Done, SourceError> {
        for (event, reason) in &prepared.letters {
            if self.putter.dead_letter(event, reason).await? == Done::Stopped {
                return Ok(Done::Stopped);
            }
            add(&self.stats.dead_letters, 1);
        }
        let done = match &prepared.block {
            Some(block) => self.put_block(prepared, block).await?,
            None => self.putter.remember(&prepared.position(0..0)).await?,
        };
        if done == Done::Stored {
            add(&self.stats.bytes, prepared.stored());
        }
        Ok(done)
    }

    /// Puts a block, and if something in it is refused, what is left of it in
    /// smaller ones.
    async fn put_block(&mut self, prepared: &Prepared, block: &Block) -> Result<Done, SourceError> {
        let whole = 0..prepared.len();
        let mut ranges = Vec::from([whole]);
        while let Some(range) = ranges.pop() {
            let part = self.part(block, range.clone());
            let position = prepared.position(range.clone());
            match self.putter.put(&part, position.clone()).await? {
                Done::Stopped => return Ok(Done::Stopped),
                Done::Stored => {
                    self.next_sequence += range.len() as u64;
                    add(&self.stats.events, range.len() as u64);
                    add(&self.stats.puts, 1);
                }
                Done::Refused(reason) if range.len() == 1 => {
                    let event = part.events().next().map(|event| event.to_event());
                    let event = event.unwrap_or_default();
                    if self.putter.dead_letter(&event, &reason).await? == Done::Stopped
                        || self.putter.remember(&position).await? == Done::Stopped
                    {
                        return Ok(Done::Stopped);
                    }
                    add(&self.stats.dead_letters, 1);
                }
                Done::Refused(_) => {
                    let middle = range.start + range.len() / 2;
                    ranges.push(middle..range.end);
                    ranges.push(range.start..middle);
                }
            }
        }
        Ok(Done::Stored)
    }

    /// The events in `range` under the sequence numbers that come next. They
    /// are others than those they were read under after something was refused.
    fn part(&self, block: &Block, range: Range<usize>) -> Block {
        let whole = range.len() == block.header().count as usize;
        if whole && block.header().first_sequence == self.next_sequence {
            return block.clone();
        }
        let mut builder = BlockBuilder::new(self.ids.0, self.ids.1, self.next_sequence);
        for (key, value) in block.shared_headers() {
            builder.shared_header(key, value).expect("it was in a block");
        }
        for event in block.events().skip(range.start).take(range.len()) {
            let pushed = builder.push(event.timestamp_ms(), event.own_headers(), event.body());
            pushed.expect("part of a block fits in a block");
        }
        builder.finish(Codec::None)
    }
}
