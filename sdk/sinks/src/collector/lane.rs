//! The stream of one producer, and what of the batch in hand it has seen.

use std::collections::BTreeMap;
use std::time::Duration;

use sdk_event::{Block, BlockHeader};
use sdk_flow::{SinkError, Tasks};
use sdk_producer::{
    BlockAnswer, BlockStream, DeliveryError, ProducerMetrics, SendError, StreamOptions,
};
use tokio::time::timeout;

use super::is_final;

/// One producer's way to the nodes.
pub(super) struct Lane {
    stream: BlockStream,
    /// The sequence behind the last block that was sent.
    next: u64,
    /// The stream stands elsewhere than `next`: the next block says where.
    astray: bool,
    /// Blocks that have no answer, by first sequence, with the one behind the last.
    pending: BTreeMap<u64, (u64, BlockAnswer)>,
    /// Blocks of the batch in hand that are dealt with.
    done: BTreeMap<u64, u64>,
    /// When it was last asked for.
    pub(super) used: u64,
}

/// What came of a block.
pub(super) enum Answer {
    /// A node has it.
    Stored,
    /// A block before it was refused: send it again.
    Again,
    /// No node will ever take it.
    Refused(DeliveryError),
}

impl Lane {
    pub(super) fn open(options: &StreamOptions, first: &BlockHeader, tasks: &Tasks) -> Lane {
        let options = StreamOptions {
            producer: first.producer,
            generation: first.generation,
            next_sequence: first.first_sequence,
            // A process before this one may have sent it and not lived to see the answer. Only with
            // its very first block is a producer new for sure, and a node must not look for it.
            sent: first.first_sequence > 0,
            ..options.clone()
        };
        Lane {
            stream: BlockStream::open(options, tasks),
            next: first.first_sequence,
            astray: false,
            pending: BTreeMap::new(),
            done: BTreeMap::new(),
            used: 0,
        }
    }

    pub(super) fn metrics(&self) -> ProducerMetrics {
        self.stream.metrics()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// Sends the block, unless it is under way. True if it is dealt with already.
    pub(super) async fn submit(
        &mut self,
        block: &Block,
        within: Duration,
    ) -> Result<bool, SinkError> {
        let (first, end) = (block.header().first_sequence, block.header().end_sequence());
        if self.done.get(&first) == Some(&end) {
            return Ok(true);
        }
        if self.pending.get(&first).is_some_and(|(pending, _)| *pending == end) {
            return Ok(false);
        }
        if self.astray || first < self.next {
            self.pending.clear();
            self.stream.restart(first).map_err(ended)?;
            self.astray = false;
        } else if first > self.next {
            self.stream.gap(self.next, first).map_err(ended)?;
        }
        self.next = first;
        let Ok(sent) = timeout(within, self.stream.send(block.clone())).await else {
            return Err(SinkError::Unavailable(silent(within).into()));
        };
        self.pending.insert(first, (end, sent.map_err(ended)?));
        self.next = end;
        Ok(false)
    }

    /// Waits for the answer to a submitted block. After an error the answer can be waited for again.
    ///
    /// A `patient` caller waits for as long as a node is there: for files, which take their time.
    pub(super) async fn answer(
        &mut self,
        block: &Block,
        within: Duration,
        patient: bool,
    ) -> Result<Answer, SinkError> {
        let first = block.header().first_sequence;
        let Some((end, answer)) = self.pending.get_mut(&first) else {
            // A block before it has led the stream astray.
            return Ok(Answer::Again);
        };
        let end = *end;
        let result = loop {
            match timeout(within, &mut *answer).await {
                Ok(result) => break result,
                Err(_) if patient && self.stream.metrics().connected_to.is_some() => {}
                Err(_) => return Err(SinkError::Unavailable(silent(within).into())),
            }
        };
        self.pending.remove(&first);
        match result {
            Ok(_) => {
                self.done.insert(first, end);
                Ok(Answer::Stored)
            }
            Err(DeliveryError::Behind) => {
                self.astray = true;
                Ok(Answer::Again)
            }
            Err(error) => {
                self.astray = true;
                if is_final(&error) {
                    return Ok(Answer::Refused(error));
                }
                Err(SinkError::Unavailable(error.into()))
            }
        }
    }

    /// The block is kept elsewhere.
    pub(super) fn pass(&mut self, block: &Block) {
        self.done.insert(block.header().first_sequence, block.header().end_sequence());
    }

    /// The batch is delivered: the next one is another. What is pending still belongs to one that
    /// another sink of the group took over.
    pub(super) fn forget_done(&mut self) {
        self.done.clear();
        self.pending.clear();
    }
}

fn ended(error: SendError) -> SinkError {
    SinkError::Unavailable(error.into())
}

fn silent(within: Duration) -> String {
    format!("no node answered within {within:?}")
}
