//! Who sends: blocks under ids of its own, again and again until they are acknowledged.

use crate::trace::Trace;
use sdk_event::{Block, BlockBuilder, Codec, ProducerId};
use sdk_flow::{Entropy, PutError, Receipt, Rejection, SeededEntropy};
use server_ingest::{CommitError, OpenSession, Router, ShardHandle};
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const GENERATION: u64 = 1;
/// Blocks made and not acknowledged, at most.
const PENDING_MAX: usize = 3;
/// How long a producer waits for `committed`.
const COMMITTED_WITHIN: Duration = Duration::from_secs(40);

/// A producer, over all lives of the node.
pub(crate) struct Producer {
    number: u8,
    draw: SeededEntropy,
    trace: Trace,
    state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    next: u64,
    /// Not acknowledged, oldest first, and whether it was perhaps sent.
    pending: VecDeque<(Block, bool)>,
    /// What was acknowledged: sequences.
    pub(crate) acked: BTreeSet<u64>,
    /// What was said to be final.
    pub(crate) committed: BTreeSet<u64>,
    /// What must not have happened.
    pub(crate) wrong: Option<String>,
    /// No new blocks any more.
    pub(crate) ends: bool,
    pub(crate) duplicates: u64,
}

impl Producer {
    pub(crate) fn new(number: u8, seed: u64, trace: Trace) -> Arc<Self> {
        let draw = SeededEntropy::new(seed);
        Arc::new(Self { number, draw, trace, state: Mutex::default() })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the lock is held")
    }

    /// How many events it has made.
    pub(crate) fn made(&self) -> u64 {
        self.state().next
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state().pending.is_empty()
    }

    pub(crate) fn number(&self) -> u8 {
        self.number
    }

    fn id(&self) -> ProducerId {
        ProducerId([self.number; 16])
    }

    /// Sends for as long as it is let.
    pub(crate) async fn run(self: Arc<Self>, router: Arc<dyn Router>) {
        loop {
            sleep(Duration::from_millis(self.draw.below(1500))).await;
            self.make();
            if self.is_done() {
                if self.state().ends {
                    return;
                }
                continue;
            }
            let Ok(shard) = router.route("", self.id()) else { continue };
            if self.open(&*shard).await {
                while self.send(&*shard).await {
                    sleep(Duration::from_millis(self.draw.below(900))).await;
                    self.make();
                }
            }
        }
    }

    /// Makes a block, perhaps.
    fn make(&self) {
        let mut state = self.state();
        if state.ends || state.pending.len() >= PENDING_MAX || self.draw.below(4) == 0 {
            return;
        }
        let mut builder = BlockBuilder::new(self.id(), GENERATION, state.next);
        for _ in 0..1 + self.draw.below(6) {
            let app = format!("a{}", self.draw.below(3));
            // Without an application an event has no place, and is a dead letter.
            let headers = [("app", app.as_str())];
            let headers = if self.draw.below(12) == 0 { &headers[..0] } else { &headers[..] };
            let fill = "x".repeat(usize::try_from(self.draw.below(300)).unwrap_or(0));
            let body = format!("{}-{} {fill}", self.number, state.next);
            let pushed = builder.push(None, headers.iter().copied(), body.as_bytes());
            pushed.expect("a small event fits");
            state.next += 1;
        }
        let block = builder.finish(Codec::None);
        state.pending.push_back((block, false));
    }

    async fn open(&self, shard: &dyn ShardHandle) -> bool {
        let (lowest, sent) = {
            let state = self.state();
            let Some((block, sent)) = state.pending.front() else { return false };
            (block.header().first_sequence, *sent)
        };
        let session = OpenSession {
            producer: self.id(),
            generation: GENERATION,
            lowest_sequence: lowest,
            sent,
        };
        match shard.open_session(session).await {
            Ok(session) if session.expected_sequence < lowest => {
                self.wrong(format!(
                    "{} is expected again, {lowest} is next",
                    session.expected_sequence
                ));
                false
            }
            Ok(_) => true,
            // Perhaps sent, and the node has never heard of this producer: then none of its blocks was stored.
            Err(PutError::Rejected { reason }) => {
                self.wrong(format!("session refused: {reason}"));
                false
            }
            Err(_) => false,
        }
    }

    /// Sends what waits, one or two blocks at once. False when the session is over.
    async fn send(&self, shard: &dyn ShardHandle) -> bool {
        let mut blocks = Vec::new();
        {
            let mut state = self.state();
            let count = 1 + usize::from(self.draw.below(3) == 0);
            for (block, sent) in state.pending.iter_mut().take(count) {
                *sent = true;
                blocks.push(block.clone());
            }
        }
        let puts = blocks.iter().map(|block| shard.put(block.clone()));
        let answers = futures::future::join_all(puts).await;
        let mut goes_on = true;
        let mut last = None;
        for (block, answer) in blocks.into_iter().zip(answers) {
            match answer {
                Ok(receipt) if goes_on => {
                    self.acked(&block, &receipt);
                    last = Some((block, receipt));
                }
                // Behind one that failed this one was perhaps stored too; it is sent again.
                Ok(_) => (),
                Err(PutError::Exhausted { retry_after, .. }) => {
                    sleep(retry_after).await;
                    goes_on = false;
                }
                Err(PutError::Rejected { reason: Rejection::Expected(_) }) if !goes_on => (),
                Err(PutError::Rejected { reason }) => {
                    self.wrong(format!("{} refused: {reason}", block.header().first_sequence));
                    return false;
                }
                Err(_) => goes_on = false,
            }
        }
        if let Some((block, receipt)) = last
            && self.draw.below(6) == 0
        {
            self.wait_committed(shard, &block, &receipt).await;
        }
        goes_on
    }

    fn acked(&self, block: &Block, receipt: &Receipt) {
        let header = block.header();
        let (first, end) = (header.first_sequence, header.end_sequence());
        let mut state = self.state();
        state.pending.pop_front();
        state.acked.extend(first..end);
        state.duplicates += u64::from(receipt.duplicate);
        self.trace.say(|| {
            let Receipt { lineage, first_offset, duplicate, .. } = receipt;
            let again = if *duplicate { ", was there already" } else { "" };
            let number = self.number;
            format!("acked: {number}-{first}..{end} at {lineage}:{first_offset}{again}")
        });
    }

    async fn wait_committed(&self, shard: &dyn ShardHandle, block: &Block, receipt: &Receipt) {
        let end = receipt.first_offset + u64::from(receipt.count);
        match timeout(COMMITTED_WITHIN, shard.committed(receipt.lineage, receipt.first_offset, end))
            .await
        {
            Ok(Ok(())) => {
                let header = block.header();
                let (first, end) = (header.first_sequence, header.end_sequence());
                self.state().committed.extend(first..end);
                self.trace.say(|| format!("committed: {}-{first}..{end}", self.number));
            }
            Ok(Err(CommitError::Lost)) => self.wrong("acknowledged, and given up".to_owned()),
            Ok(Err(CommitError::Stopped)) | Err(_) => (),
        }
    }

    fn wrong(&self, what: String) {
        let mut state = self.state();
        state.wrong.get_or_insert(format!("producer {}: {what}", self.number));
    }
}
