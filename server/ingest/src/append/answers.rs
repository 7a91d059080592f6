//! From how a put ended to an answer.

use proto::v1::{AppendResponse, Code};
use sdk_event::Level;
use sdk_flow::Receipt;

use super::{Append, Failed, Finished, Waiting};
use crate::refusal::Refusal;
use crate::router::CommitError;
use crate::wire;

impl Append {
    pub(super) fn finished(&mut self, finished: Finished) {
        let Finished { number, first_sequence, events, asked, shard, result, hold, .. } = finished;
        drop(hold);
        match result {
            Ok(None) => {
                let level = wire::from_level(shard.level()).into();
                self.outbox.push(AppendResponse {
                    number,
                    code: Code::Ok.into(),
                    level,
                    ..AppendResponse::default()
                });
            }
            // A repeat of what left the books long ago is committed already.
            Ok(Some(receipt))
                if asked == Some(Level::Committed) && receipt.level < Level::Committed =>
            {
                self.commits.push(Waiting { number, events, receipt, shard });
            }
            // The set shrank while the block was on its way. It is stored, not as was asked.
            Ok(Some(receipt)) if asked.is_some_and(|asked| receipt.level < asked) => {
                let reason =
                    format!("stored at level {}, which is below the one asked for", receipt.level);
                self.fail(number, first_sequence, Refusal::new(Code::Unknown, reason));
            }
            Ok(Some(receipt)) => {
                let level = receipt.level;
                self.acknowledge(number, events, &receipt, level);
            }
            Err(error) => {
                let mut refusal = Refusal::from(error);
                let expected = refusal.expected.unwrap_or(first_sequence);
                // It was under way already when the one before it was refused.
                if refusal.code == Code::Sequence && self.failed.is_some() {
                    refusal.code = Code::BehindRejected;
                }
                // Its ids are taken: those behind it are not touched.
                if refusal.code == Code::Lost {
                    return self.refuse(number, refusal);
                }
                self.fail(number, expected, refusal);
            }
        }
    }

    pub(super) fn committed(&mut self, waiting: &Waiting, result: Result<(), CommitError>) {
        let Waiting { number, events, receipt, .. } = waiting;
        match result {
            Ok(()) => self.acknowledge(*number, *events, receipt, Level::Committed),
            // It is stored: those behind it are not touched.
            Err(error) => self.refuse(*number, error.into()),
        }
    }

    fn acknowledge(&mut self, number: u64, events: u32, receipt: &Receipt, level: Level) {
        self.context.metrics.events_acknowledged.inc_by(events.into());
        if receipt.duplicate {
            self.context.metrics.duplicate_blocks.inc();
        }
        self.outbox.push(AppendResponse {
            number,
            code: Code::Ok.into(),
            level: wire::from_level(level).into(),
            coordinates: Some(wire::coordinates(receipt)),
            duplicate: receipt.duplicate,
            ..AppendResponse::default()
        });
    }

    /// Refuses a message and with it those behind, up to the next `bind`.
    pub(super) fn fail(&mut self, number: u64, expected: u64, refusal: Refusal) {
        self.failed.get_or_insert(Failed { expected });
        self.refuse(number, refusal);
    }

    pub(super) fn refuse(&mut self, number: u64, refusal: Refusal) {
        self.context.metrics.refuse(refusal.code);
        self.outbox.push(refusal.into_answer(number));
    }
}
