//! Producers that send, lose answers, and send again.

use std::collections::VecDeque;

use sdk_channel::OpenSession;
use sdk_channel::conformance::TestProducer;
use sdk_event::ProducerId;
use sdk_flow::Put;

/// Blocks that a producer has without an answer at most.
pub(super) const WINDOW: usize = 3;

/// A block without an acknowledgement.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) put: Put,
    /// Given to the shard; no answer yet.
    pub(super) in_flight: bool,
    /// An attempt had no answer, so it may be stored: for ever after.
    pub(super) perhaps: bool,
}

pub(super) struct Producer {
    pub(super) words: TestProducer,
    /// What is not acknowledged, oldest first.
    pub(super) outgoing: VecDeque<Outgoing>,
    /// Whether the current shard knows it.
    pub(super) session: bool,
}

impl Producer {
    pub(super) fn new(number: u8) -> Producer {
        Producer {
            words: TestProducer::continued(number, 0),
            outgoing: VecDeque::new(),
            session: false,
        }
    }

    pub(super) fn id(&self) -> ProducerId {
        self.words.id()
    }

    pub(super) fn session(&self) -> OpenSession {
        let first = self.outgoing.front();
        OpenSession {
            producer: self.id(),
            generation: self.words.generation(),
            lowest: first.map_or(self.words.next(), |first| first.put.first_sequence),
            sent: first.is_some_and(|first| first.perhaps || first.in_flight),
        }
    }

    /// The process that served it is gone.
    pub(super) fn disconnected(&mut self) {
        self.session = false;
        for outgoing in &mut self.outgoing {
            outgoing.perhaps |= std::mem::take(&mut outgoing.in_flight);
        }
    }

    /// Begins another numbering; what has no answer is given up.
    pub(super) fn renumber(&mut self) {
        self.words = TestProducer::next_generation(&self.words);
        self.outgoing.clear();
        self.session = false;
    }

    /// The block with this first sequence number.
    pub(super) fn find(&mut self, generation: u64, first: u64) -> Option<&mut Outgoing> {
        let mut mine = self.outgoing.iter_mut();
        mine.find(|out| (out.put.generation, out.put.first_sequence) == (generation, first))
    }

    /// What to give to the shard next: in order, nothing behind a block that is
    /// in doubt or refused.
    pub(super) fn next_to_send(&mut self) -> Option<&mut Outgoing> {
        let in_flight = self.outgoing.iter().filter(|out| out.in_flight).count();
        if in_flight >= WINDOW {
            return None;
        }
        let at = self.outgoing.iter().position(|out| !out.in_flight)?;
        // A block in flight behind it would be out of order already.
        let behind = self.outgoing.iter().skip(at).any(|out| out.in_flight);
        (!behind).then(|| &mut self.outgoing[at])
    }
}
