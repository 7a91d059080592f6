//! How a stream behaves.

use std::fmt;
use std::sync::Arc;

use sdk_event::{Level, ProducerId};
use sdk_flow::{Entropy, SystemEntropy};
use sdk_tls::Client;

use crate::breaker::BreakerOptions;
use crate::endpoint::Endpoint;
use crate::retry::RetryOptions;

/// What to do behind a block that the node rejects for what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRejected {
    /// Declare its sequences a gap and go on with the blocks behind it.
    GoOn,
    /// Answer everything behind it [`DeliveryError::Behind`](crate::DeliveryError::Behind) and
    /// wait: the caller dead-letters the block, then declares the gap and sends the rest again.
    /// (Declared before the dead letter is safe, the gap would turn a crash into a loss.)
    Stop,
}

/// What to do when the node does not remember the producer, or knows a later generation of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExpired {
    /// Answer everything [`DeliveryError::ProducerExpired`](crate::DeliveryError::ProducerExpired)
    /// and end.
    Fail,
    /// Take a new generation, at random above the one before, in which the sequences go on. What was
    /// never sent is sent in it; what may be stored is too if `resend_doubtful`, and may then be
    /// there twice.
    NewGeneration {
        /// Whether to risk duplicates rather than losses.
        resend_doubtful: bool,
    },
}

/// How a [`BlockStream`](crate::BlockStream) behaves.
#[derive(Clone)]
pub struct StreamOptions {
    /// Where to send; the first that works is kept.
    pub endpoints: Vec<Endpoint>,
    /// Whom to trust, what to show, which token to send.
    pub security: Client,
    /// The flow's name; empty: the node's only one.
    pub flow: String,
    /// The level to ask for; `None`: whatever the flow gives.
    pub ack: Option<Level>,
    /// Whose blocks these are.
    pub producer: ProducerId,
    /// In which numbering.
    pub generation: u64,
    /// The sequence that the first block begins at.
    pub next_sequence: u64,
    /// Whether a block with that sequence may have been sent before, by an earlier process.
    pub sent: bool,
    /// Bytes of blocks that have no answer; at it, sending waits.
    pub window_bytes: usize,
    /// See [`OnRejected`].
    pub on_rejected: OnRejected,
    /// See [`OnExpired`].
    pub on_expired: OnExpired,
    /// When and how often to try again.
    pub retry: RetryOptions,
    /// When to leave an endpoint alone.
    pub breaker: BreakerOptions,
    /// Program and version, for people who look at the node.
    pub client: String,
    /// Where jitter comes from.
    pub entropy: Arc<dyn Entropy>,
}

impl StreamOptions {
    /// The defaults: a node on this machine, its only flow, at that flow's level, 16 MiB in flight.
    #[must_use]
    pub fn new(producer: ProducerId, generation: u64) -> StreamOptions {
        StreamOptions {
            endpoints: vec![Endpoint::default()],
            security: Client::default(),
            flow: String::new(),
            ack: None,
            producer,
            generation,
            next_sequence: 0,
            sent: false,
            window_bytes: 16 * 1024 * 1024,
            on_rejected: OnRejected::GoOn,
            on_expired: OnExpired::Fail,
            retry: RetryOptions::default(),
            breaker: BreakerOptions::default(),
            client: concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")).to_owned(),
            entropy: Arc::new(SystemEntropy),
        }
    }
}

impl fmt::Debug for StreamOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamOptions")
            .field("endpoints", &self.endpoints)
            .field("flow", &self.flow)
            .field("ack", &self.ack)
            .field("producer", &self.producer)
            .field("generation", &self.generation)
            .field("next_sequence", &self.next_sequence)
            .finish_non_exhaustive()
    }
}
