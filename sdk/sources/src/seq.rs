//! `seq`: numbers counting up, for tries.

use std::fmt::Write as _;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use sdk_config::SeqSource;
use sdk_event::limits::{BLOCK_TARGET_BYTES, EVENTS_MAX};
use sdk_event::{Block, BlockBuilder, Codec};
use sdk_flow::{Intake, Source, SourceError, SourcePosition, SourceStart};
use tokio_util::sync::CancellationToken;

use crate::putter::{Done, Putter};

/// Puts `0`, `1`, `2`, … as bodies without headers. After a refused put the
/// same numbers come again; after a restart it counts on.
pub struct Seq {
    start: SourceStart,
    batch_size: usize,
    /// Counts to here; `None` counts on for ever.
    end: Option<u64>,
}

impl Seq {
    /// A source that counts from 0, or on from where `start` says.
    #[must_use]
    pub fn new(spec: &SeqSource, start: SourceStart) -> Seq {
        let batch_size = (spec.batch_size as usize).clamp(1, EVENTS_MAX);
        let end = (spec.total_events > 0).then_some(spec.total_events);
        Seq { start, batch_size, end }
    }

    /// The next number, as the last stored put says.
    fn first(&self) -> u64 {
        let value = self.start.positions.as_ref().and_then(|positions| positions.get(KEY));
        let number = value.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
        number.unwrap_or(0)
    }

    fn block(&self, builder: &mut BlockBuilder, next: &mut u64) -> Option<Block> {
        let mut body = String::new();
        while self.end.is_none_or(|end| *next < end)
            && builder.len() < self.batch_size
            && builder.encoded_bytes() < BLOCK_TARGET_BYTES
        {
            body.clear();
            write!(body, "{next}").expect("a string takes everything");
            builder.push(None, [], body.as_bytes()).expect("a number fits");
            *next += 1;
        }
        (!builder.is_empty()).then(|| builder.finish(Codec::None))
    }
}

#[async_trait]
impl Source for Seq {
    async fn run(
        self: Box<Self>,
        intake: Arc<dyn Intake>,
        stop: CancellationToken,
    ) -> Result<(), SourceError> {
        let putter = Putter::new(self.start.name.clone(), intake, stop.clone());
        let SourceStart { producer, generation, next_sequence, .. } = self.start;
        let mut builder = BlockBuilder::new(producer, generation, next_sequence);
        let mut next = self.first();
        while let Some(block) = self.block(&mut builder, &mut next) {
            let position = SourcePosition {
                source: self.start.name.clone(),
                entries: vec![(Bytes::from_static(KEY), Some(next.to_string().into()))],
            };
            match putter.put(&block, position.encode()).await? {
                Done::Stored => (),
                Done::Stopped => return Ok(()),
                Done::Refused(reason) => {
                    return Err(SourceError::Failed(
                        format!("numbers are refused: {reason}").into(),
                    ));
                }
            }
            if stop.is_cancelled() {
                return Ok(());
            }
        }
        Ok(())
    }
}

const KEY: &[u8] = b"next";
