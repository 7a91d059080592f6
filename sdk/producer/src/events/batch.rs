//! The block that is being filled.

use std::time::Duration;

use futures::FutureExt as _;
use futures::channel::oneshot;
use futures::future::Shared;
use sdk_event::{Block, BlockBuilder, Codec, Event, Headers, PushError};
use tokio::time::Instant;

use super::delivery::{Delivery, Outcome};

/// Events that become one block.
pub(super) struct Batch {
    builder: BlockBuilder,
    /// What every block begins with.
    headers: Headers,
    generation: u64,
    codec: Codec,
    /// `None` while there is no event.
    filling: Option<Filling>,
}

struct Filling {
    outcome: oneshot::Sender<Outcome>,
    answer: Shared<oneshot::Receiver<Outcome>>,
    since: Instant,
    deadline: Instant,
    events: u32,
    weight: usize,
}

/// A full block with whom to tell.
pub(super) struct Sealed {
    pub(super) block: Block,
    pub(super) outcome: oneshot::Sender<Outcome>,
    pub(super) deadline: Instant,
    /// What its events hold of the window.
    pub(super) weight: usize,
}

impl Batch {
    /// Blocks of `builder`'s producer, which has its `headers` and no event yet.
    pub(super) fn new(
        builder: BlockBuilder,
        headers: Headers,
        generation: u64,
        codec: Codec,
    ) -> Batch {
        Batch { builder, headers, generation, codec, filling: None }
    }

    /// Adds an event that holds `weight` of the window until the block is answered.
    ///
    /// `deadline` is when to give up; `own` says that it is not the usual one, so that the event's
    /// delivery must watch it: the block lives as long as the latest of its events.
    ///
    /// # Errors
    /// [`PushError::Full`]: seal and try again. Others: never.
    pub(super) fn push(
        &mut self,
        event: &Event,
        weight: usize,
        deadline: Instant,
        own: bool,
    ) -> Result<Delivery, PushError> {
        let headers = event.headers.iter();
        self.builder.push(event.timestamp_ms, headers, &event.body)?;
        let filling = self.filling.get_or_insert_with(|| {
            let (outcome, answer) = oneshot::channel();
            let (answer, since) = (answer.shared(), Instant::now());
            Filling { outcome, answer, since, deadline, events: 0, weight: 0 }
        });
        let index = filling.events;
        filling.events += 1;
        filling.weight += weight;
        filling.deadline = filling.deadline.max(deadline);
        Ok(Delivery::waiting(filling.answer.clone(), index, own.then_some(deadline)))
    }

    /// Bytes that the block has so far.
    pub(super) fn bytes(&self) -> usize {
        self.builder.encoded_bytes()
    }

    /// When the first event has waited for `linger`.
    pub(super) fn due(&self, linger: Duration) -> Option<Instant> {
        self.filling.as_ref().map(|filling| filling.since + linger)
    }

    /// Ends the block, if there is one, and begins the next, in `generation`.
    pub(super) fn seal(&mut self, generation: u64) -> Option<Sealed> {
        let Filling { outcome, deadline, weight, .. } = self.filling.take()?;
        let block = self.builder.finish(self.codec);
        if generation != self.generation {
            self.generation = generation;
            let header = block.header();
            self.builder.reset(header.producer, generation, header.end_sequence());
            for (key, value) in &self.headers {
                self.builder.shared_header(key, value).expect("it was one before");
            }
        }
        Some(Sealed { block, outcome, deadline, weight })
    }
}
