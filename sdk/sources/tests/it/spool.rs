//! An intake that keeps what it is given, and fails as told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sdk_event::{Block, Event, Level, Lineage, ProducerId};
use sdk_flow::{
    Exhaustion, FoldedPositions, Intake, PutError, Receipt, Rejection, SourcePosition, SourceStart,
};
use tokio::sync::Notify;

pub(crate) const SOURCE: &str = "source";
const PRODUCER: ProducerId = ProducerId([9; 16]);

/// What the next put meets.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// There is no room, for a second.
    Exhausted,
    /// There is no answer, though it is stored.
    UnknownStored,
    /// There is no answer, and it is not stored.
    UnknownLost,
    /// The process dies: nothing is ever answered again.
    Death {
        /// Whether the put was stored before that.
        stored: bool,
    },
    /// Its sequence number is said to be wrong.
    Expected,
}

/// An event as it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) lines: Vec<Line>,
    pub(crate) letters: Vec<(Line, String)>,
    pub(crate) puts: u64,
    pub(crate) largest_put: usize,
    pub(crate) remembered: u64,
    pub(crate) refused: u64,
    pub(crate) positions: FoldedPositions,
    pub(crate) faults: VecDeque<Option<Fault>>,
    /// Blocks with an event that has this in its body are refused.
    pub(crate) poison: Option<&'static str>,
    next_sequence: u64,
    pub(crate) dead: bool,
}

/// Stores puts in memory, as a channel would: dense by sequence, a repeat of
/// what is stored answered as the original was.
#[derive(Default)]
pub(crate) struct Spool {
    kept: Mutex<Kept>,
    changed: Notify,
}

impl Spool {
    pub(crate) fn new() -> Arc<Spool> {
        Arc::default()
    }

    pub(crate) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap()
    }

    /// What a source begins with now; the process lives again.
    pub(crate) fn start(&self) -> SourceStart {
        let mut kept = self.kept();
        kept.dead = false;
        SourceStart {
            name: SOURCE.to_owned(),
            producer: PRODUCER,
            generation: 1,
            next_sequence: kept.next_sequence,
            positions: kept.positions.get(SOURCE).cloned(),
        }
    }

    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.kept().faults.extend(faults.into_iter().map(Some));
    }

    pub(crate) fn bodies(&self) -> Vec<String> {
        self.kept().lines.iter().map(|line| line.body.clone()).collect()
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.kept().dead
    }

    /// Waits until `reached` holds; time is paused, so a minute is nothing.
    pub(crate) async fn until(&self, what: &str, reached: impl Fn(&Kept) -> bool) {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                if reached(&self.kept()) {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(600), waiting).await.is_err() {
            let kept = self.kept();
            let last: Vec<&Line> = kept.lines.iter().rev().take(5).collect();
            panic!("never saw {what}: {} lines, last {last:?}", kept.lines.len());
        }
    }

    /// Waits for so many lines in all.
    pub(crate) async fn lines(&self, count: usize) -> Vec<String> {
        self.until(&format!("{count} lines"), |kept| kept.lines.len() >= count).await;
        self.bodies()
    }

    fn accept(&self, block: &Block, position: Option<&Bytes>) -> Result<Receipt, PutError> {
        let mut kept = self.kept();
        let header = block.header();
        let receipt = Receipt {
            lineage: Lineage { flow: 1, shard: 0, epoch: 1 },
            first_offset: header.first_sequence,
            count: header.count,
            level: Level::Local,
            duplicate: header.first_sequence < kept.next_sequence,
        };
        if receipt.duplicate {
            assert_eq!(
                header.last_sequence + 1,
                kept.next_sequence,
                "only the last put is repeated"
            );
            return Ok(receipt);
        }
        assert_eq!(header.first_sequence, kept.next_sequence, "puts are dense");
        let poison = kept.poison;
        let is_poison = |body: &[u8]| {
            poison.is_some_and(|poison| String::from_utf8_lossy(body).contains(poison))
        };
        if block.events().any(|event| is_poison(event.body())) {
            kept.refused += 1;
            return Err(PutError::Rejected { reason: Rejection::Content("poison".into()) });
        }
        kept.lines.extend(block.events().map(|event| line(&event.to_event())));
        kept.next_sequence += u64::from(header.count);
        kept.puts += 1;
        kept.largest_put = kept.largest_put.max(header.count as usize);
        fold(&mut kept, position);
        Ok(receipt)
    }
}

fn line(event: &Event) -> Line {
    let headers = event.headers.iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    let body = String::from_utf8_lossy(&event.body).into_owned();
    Line { headers: headers.collect(), body }
}

fn fold(kept: &mut Kept, position: Option<&Bytes>) {
    if let Some(position) = position {
        SourcePosition::decode(position).unwrap().fold(&mut kept.positions);
    }
}

#[async_trait]
impl Intake for Spool {
    async fn put(&self, block: Block, position: Option<Bytes>) -> Result<Receipt, PutError> {
        // As long as a flush.
        tokio::time::sleep(Duration::from_millis(2)).await;
        let fault = {
            let mut kept = self.kept();
            match kept.dead {
                true => Some(Fault::Death { stored: false }),
                false => kept.faults.pop_front().flatten(),
            }
        };
        let answer = match fault {
            None => self.accept(&block, position.as_ref()),
            Some(Fault::Exhausted) => {
                let retry_after = Duration::from_secs(1);
                Err(PutError::Exhausted { reason: Exhaustion::Disk, retry_after })
            }
            Some(Fault::UnknownLost) => Err(PutError::Unknown("no answer".into())),
            Some(Fault::UnknownStored) => {
                self.accept(&block, position.as_ref())?;
                Err(PutError::Unknown("no answer".into()))
            }
            Some(Fault::Expected) => {
                Err(PutError::Rejected { reason: Rejection::Expected(1_000_000) })
            }
            Some(Fault::Death { stored }) => {
                if stored {
                    self.accept(&block, position.as_ref())?;
                }
                self.kept().dead = true;
                self.changed.notify_waiters();
                std::future::pending().await
            }
        };
        self.changed.notify_waiters();
        answer
    }

    async fn remember(&self, position: Bytes) -> Result<(), PutError> {
        let mut kept = self.kept();
        kept.remembered += 1;
        fold(&mut kept, Some(&position));
        self.changed.notify_waiters();
        Ok(())
    }

    async fn dead_letter(&self, event: Event, reason: &str) -> Result<(), PutError> {
        self.kept().letters.push((line(&event), reason.to_owned()));
        self.changed.notify_waiters();
        Ok(())
    }
}
