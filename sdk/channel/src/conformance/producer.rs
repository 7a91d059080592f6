//! A producer that says a word per event.

use sdk_event::{BlockBuilder, Codec, ProducerId};
use sdk_flow::{Batch, ChannelSet, Part, Positions, Put, PutError, Receipt};
use smallvec::smallvec;

use super::Subject;
use crate::admission::OpenSession;
use crate::record::Gap;

/// Makes dense blocks of words.
#[derive(Debug, Clone)]
pub struct TestProducer {
    producer: ProducerId,
    generation: u64,
    next: u64,
    channels: ChannelSet,
    optional: ChannelSet,
}

impl TestProducer {
    /// Producer `number`, with a session.
    ///
    /// # Panics
    /// If it gets none.
    pub async fn open(subject: &dyn Subject, number: u8) -> TestProducer {
        let producer = TestProducer::continued(number, 0).into(subject.number());
        subject.open_session(producer.session()).await.expect("session");
        producer
    }

    /// Producer `number` at sequence number `next`, without a session.
    #[must_use]
    pub fn continued(number: u8, next: u64) -> TestProducer {
        TestProducer {
            producer: ProducerId([number; 16]),
            generation: 1,
            next,
            channels: ChannelSet::of(0),
            optional: ChannelSet::EMPTY,
        }
    }

    /// The same producer, renumbered.
    #[must_use]
    pub fn next_generation(before: &TestProducer) -> TestProducer {
        TestProducer { generation: before.generation + 1, next: 0, ..before.clone() }
    }

    /// Puts into this channel alone from now on.
    #[must_use]
    pub fn into(self, channel: u8) -> TestProducer {
        TestProducer { channels: ChannelSet::of(channel), ..self }
    }

    /// Puts into these channels from now on.
    #[must_use]
    pub fn into_all(self, required: ChannelSet, optional: ChannelSet) -> TestProducer {
        TestProducer { channels: required.union(optional), optional, ..self }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> ProducerId {
        self.producer
    }

    /// Its numbering.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The sequence number of the next word.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// How it opens a session: nothing that it has still to send was ever sent.
    #[must_use]
    pub fn session(&self) -> OpenSession {
        OpenSession {
            producer: self.producer,
            generation: self.generation,
            lowest: self.next,
            sent: false,
        }
    }

    /// Words that it will not say.
    #[must_use]
    pub fn gap(&self, from: u64, to: u64) -> Gap {
        Gap { producer: self.producer, generation: self.generation, from, to }
    }

    /// The next words are those before: the last `words` were not stored.
    pub fn back(&mut self, words: u64) {
        self.next -= words;
    }

    /// A block of words.
    ///
    /// # Panics
    /// If there are none.
    pub fn block(&mut self, words: &str) -> Put {
        let mut builder = BlockBuilder::new(self.producer, self.generation, self.next);
        for word in words.split_whitespace() {
            builder.push(None, [], word.as_bytes()).expect("a word fits");
        }
        let block = builder.finish(Codec::None);
        let (first_sequence, count) = (self.next, block.header().count);
        self.next += u64::from(count);
        Put {
            producer: self.producer,
            generation: self.generation,
            first_sequence,
            count,
            block_crc: block.header().crc,
            parts: smallvec![Part {
                channels: self.channels,
                optional: self.optional,
                positions: Positions::All,
                block,
            }],
            dropped: Vec::new(),
            source_position: None,
        }
    }

    /// Puts a block of words.
    ///
    /// # Errors
    /// The channel's.
    pub async fn put(&mut self, subject: &dyn Subject, words: &str) -> Result<Receipt, PutError> {
        let put = self.block(words);
        subject.channel().put(put).await
    }
}

/// The words of a batch.
#[must_use]
pub fn texts(batch: &Batch) -> Vec<String> {
    let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
    batch.events().map(|(_, event)| text(event.body())).collect()
}
