//! Makes the blocks of one producer.

use crate::arguments::RunArguments;
use crate::payload::Payload;
use anyhow::{Context, Result};
use sdk_event::limits::BLOCK_BYTES_MAX;
use sdk_event::{Block, BlockBuilder, Codec, ProducerId};

/// What all events of a run have in common, as attributes of a web farm's events would be.
const HEADERS: [(&str, &str); 3] = [("host", "web-1"), ("app", "shop"), ("level", "info")];
/// What a block needs beside the bodies: its header, the shared headers.
const BLOCK_OVERHEAD_BYTES: usize = 256;
/// What an event needs beside its body at most.
const EVENT_OVERHEAD_BYTES: usize = 16;

/// Blocks without gaps, from sequence 0.
pub(super) struct Generator {
    builder: BlockBuilder,
    payload: Payload,
    events: u32,
}

/// An error unless blocks of this shape are within the limits.
pub(super) fn check(arguments: &RunArguments) -> Result<(), String> {
    let (events, body) = (arguments.batch_events as usize, arguments.body_bytes as usize);
    let bytes = events * (body + EVENT_OVERHEAD_BYTES) + BLOCK_OVERHEAD_BYTES;
    if bytes <= BLOCK_BYTES_MAX {
        return Ok(());
    }
    let fits = (BLOCK_BYTES_MAX - BLOCK_OVERHEAD_BYTES) / (body + EVENT_OVERHEAD_BYTES);
    Err(format!(
        "--batch-events {events} of --body-bytes {body} is more than a block may have \
         ({BLOCK_BYTES_MAX} bytes): at most {fits}"
    ))
}

impl Generator {
    pub(super) fn new(producer: ProducerId, arguments: &RunArguments) -> Result<Self> {
        let mut builder = BlockBuilder::new(producer, 1, 0);
        for (key, value) in HEADERS {
            builder.shared_header(key, value).context("set a shared header")?;
        }
        let payload = Payload::new(producer, arguments.body_bytes as usize);
        Ok(Self { builder, payload, events: arguments.batch_events })
    }

    /// Events of a block.
    pub(super) fn events(&self) -> u64 {
        self.events.into()
    }

    /// The sequence of the next block's first event.
    pub(super) fn next_sequence(&self) -> u64 {
        self.builder.next_sequence()
    }

    /// The next block; its events happen at `now_ms`.
    pub(super) fn block(&mut self, now_ms: i64) -> Result<Block> {
        for _ in 0..self.events {
            let body = self.payload.body(self.builder.next_sequence());
            self.builder.push(Some(now_ms), [], body).context("build a block")?;
        }
        Ok(self.builder.finish(Codec::None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::{Identity, Line, recognise};

    #[test]
    fn blocks_follow_each_other_and_their_bodies_say_which_events_they_are() {
        let id = ProducerId([3; 16]);
        let arguments = RunArguments { batch_events: 3, ..crate::run::tests::arguments() };
        let mut generator = Generator::new(id, &arguments).unwrap();
        for first in [0, 3] {
            assert_eq!(generator.next_sequence(), first);
            let block = generator.block(1_000).unwrap();
            assert_eq!(block.shared_header("host"), Some("web-1"));
            for (event, sequence) in block.events().zip(first..) {
                assert_eq!((event.sequence(), event.timestamp_ms()), (sequence, Some(1_000)));
                let identity = Identity { producer: 0x0303_0303, sequence };
                assert_eq!(recognise(event.body()), Line::Body(identity));
            }
        }
    }

    #[test]
    fn the_largest_block_that_passes_the_check_can_be_built() {
        let mut arguments = RunArguments { body_bytes: 1_000, ..crate::run::tests::arguments() };
        let fits = ((BLOCK_BYTES_MAX - BLOCK_OVERHEAD_BYTES) / 1_016) as u32;
        arguments.batch_events = fits + 1;
        let error = check(&arguments).expect_err("too large");
        assert!(error.ends_with(&format!("at most {fits}")), "{error}");
        arguments.batch_events = fits;
        check(&arguments).unwrap();
        Generator::new(ProducerId([1; 16]), &arguments).unwrap().block(i64::MAX / 2).unwrap();
    }
}
