//! From an accepted block to a put: the interceptors and the selector of one source.

mod build;
mod rework;
mod router;

use std::sync::Arc;

use bytes::Bytes;
use sdk_event::Block;
use smallvec::{SmallVec, smallvec};

pub use self::build::{BuildError, Environment};
use self::rework::Rework;
use self::router::Router;
use crate::{ChannelSet, Clock, Dropped, Interceptor, Part, Positions, Put, Rejection};

/// The interceptors and the channel selector of one source.
///
/// Shared by all that receive for the source; a call touches nothing but its own
/// block. With no interceptor and a replicating selector the block goes through
/// as it is, and nobody looks at an event.
pub struct ChannelProcessor {
    steps: Vec<Step>,
    router: Router,
    /// Every channel of the source.
    channels: ChannelSet,
    clock: Arc<dyn Clock>,
}

struct Step {
    /// What its drops are booked under.
    rule: Arc<str>,
    interceptor: Box<dyn Interceptor>,
}

impl ChannelProcessor {
    /// Whether blocks go through as they are.
    #[must_use]
    pub fn is_opaque(&self) -> bool {
        self.steps.is_empty() && self.router.only_target().is_some()
    }

    /// What is to be stored of `block`, and where.
    ///
    /// Events keep their ids. `source_position` travels along unseen.
    ///
    /// # Errors
    /// [`Rejection::Content`] when an interceptor would bring an event above a
    /// limit: the block is refused whole, before it has an offset.
    pub fn process(&self, block: Block, source_position: Option<Bytes>) -> Result<Put, Rejection> {
        let header = *block.header();
        let (parts, dropped): (SmallVec<[Part; 1]>, Vec<Dropped>) = match self.router.only_target()
        {
            Some(target) if self.steps.is_empty() => {
                let positions = Positions::All;
                let (channels, optional) = (target.channels, target.optional);
                (smallvec![Part { channels, optional, positions, block }], Vec::new())
            }
            _ => Rework::new(self, &block).run()?,
        };
        Ok(Put {
            producer: header.producer,
            generation: header.generation,
            first_sequence: header.first_sequence,
            count: header.count,
            block_crc: header.crc,
            parts,
            dropped,
            source_position,
        })
    }
}
