//! How a producer is set up.

use std::sync::Arc;
use std::time::Duration;

use sdk_event::limits::{BLOCK_BYTES_MAX, BLOCK_TARGET_BYTES, LINGER};
use sdk_event::{BlockBuilder, Codec, Level, ProducerId, PushError};
use sdk_flow::Entropy;
use sdk_tls::Client;

use super::{BlockingProducer, Producer};
use crate::breaker::BreakerOptions;
use crate::endpoint::{Endpoint, EndpointError};
use crate::retry::RetryOptions;
use crate::stream::{OnExpired, StreamOptions};

/// What to do with an event for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFull {
    /// Wait for room, at most until the event's deadline.
    #[default]
    Wait,
    /// Say so at once: [`SendError::Full`](crate::SendError::Full).
    Error,
    /// Drop it and count it: its delivery is [`DeliveryError::Dropped`](crate::DeliveryError::Dropped).
    Drop,
}

/// Sets a [`Producer`] up. Every setting has a default that works.
#[derive(Clone)]
pub struct ProducerBuilder {
    pub(super) stream: StreamOptions,
    pub(super) codec: Codec,
    pub(super) batch_bytes: usize,
    pub(super) linger: Duration,
    pub(super) deadline: Duration,
    pub(super) on_full: OnFull,
    headers: Vec<(String, String)>,
    endpoints: Vec<String>,
    identity: Option<ProducerId>,
}

/// Why a producer could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// An endpoint is no address.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A shared header is beyond a limit.
    #[error("a shared header is not valid")]
    Header(#[source] PushError),
    /// A size of zero, or above what a block may have.
    #[error("{setting} is {value}, it must be from 1 to {limit}")]
    Setting {
        /// Which one.
        setting: &'static str,
        /// What it was set to.
        value: usize,
        /// The most it may be.
        limit: usize,
    },
    /// The runtime of a blocking producer did not start.
    #[error("no thread for the producer")]
    Thread(#[source] std::io::Error),
}

impl Default for ProducerBuilder {
    fn default() -> ProducerBuilder {
        ProducerBuilder {
            stream: StreamOptions {
                on_expired: OnExpired::NewGeneration { resend_doubtful: false },
                ..StreamOptions::new(ProducerId([0; 16]), 1)
            },
            codec: Codec::None,
            batch_bytes: BLOCK_TARGET_BYTES,
            linger: LINGER,
            deadline: Duration::from_secs(60),
            on_full: OnFull::default(),
            headers: Vec::new(),
            endpoints: Vec::new(),
            identity: None,
        }
    }
}

impl ProducerBuilder {
    /// Adds a node to send to, such as `http://node-1:7400`. The first that works is kept; when it
    /// fails the others are tried. Without any: `http://127.0.0.1:7400`.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoints.push(endpoint.into());
        self
    }

    /// Adds several.
    #[must_use]
    pub fn endpoints(mut self, endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.endpoints.extend(endpoints.into_iter().map(Into::into));
        self
    }

    /// Whom to trust, what to show, and which token to send: for nodes at `https://`, and those that
    /// ask who sends. Without: the system's CAs, no certificate, no token.
    #[must_use]
    pub fn security(mut self, security: Client) -> Self {
        self.stream.security = security;
        self
    }

    /// The flow to send to. Without: the node's only one.
    #[must_use]
    pub fn flow(mut self, flow: impl Into<String>) -> Self {
        self.stream.flow = flow.into();
        self
    }

    /// What an acknowledgement must mean. Without: whatever the flow gives.
    #[must_use]
    pub fn ack(mut self, level: Level) -> Self {
        self.stream.ack = Some(level);
        self
    }

    /// A header that every event has, unless it has its own under that key.
    #[must_use]
    pub fn header(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((key.into(), value.into()));
        self
    }

    /// Bytes of events at which a block is sent. Default 256 KiB.
    #[must_use]
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.batch_bytes = bytes;
        self
    }

    /// How long the first event of a block waits for others. Default 5 ms.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// How blocks are compressed. Default: not at all.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// Bytes of events that may be unanswered. Default 16 MiB.
    #[must_use]
    pub fn window_bytes(mut self, bytes: usize) -> Self {
        self.stream.window_bytes = bytes;
        self
    }

    /// What to do when the window is full. Default: wait.
    #[must_use]
    pub fn on_full(mut self, on_full: OnFull) -> Self {
        self.on_full = on_full;
        self
    }

    /// How long an event may take, from the call to its answer. Default 60 s.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How retries are spread.
    #[must_use]
    pub fn retry(mut self, retry: RetryOptions) -> Self {
        self.stream.retry = retry;
        self
    }

    /// When to leave an endpoint alone.
    #[must_use]
    pub fn breaker(mut self, breaker: BreakerOptions) -> Self {
        self.stream.breaker = breaker;
        self
    }

    /// Send events again that may be stored, when the node has forgotten this producer (after seven
    /// days without an event, or the loss of its disk): rather twice than never. Default: their
    /// delivery is [`DeliveryError::ProducerExpired`](crate::DeliveryError::ProducerExpired).
    #[must_use]
    pub fn resend_doubtful(mut self, resend: bool) -> Self {
        self.stream.on_expired = OnExpired::NewGeneration { resend_doubtful: resend };
        self
    }

    /// The producer's id. Without: 128 random bits, which is what a process without a memory of
    /// its own wants.
    #[must_use]
    pub fn producer_id(mut self, producer: ProducerId) -> Self {
        self.identity = Some(producer);
        self
    }

    /// Program and version, for people who look at the node.
    #[must_use]
    pub fn client(mut self, client: impl Into<String>) -> Self {
        self.stream.client = client.into();
        self
    }

    /// Where random ids and jitter come from.
    #[must_use]
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.stream.entropy = entropy;
        self
    }

    /// Starts the producer on the current runtime. Needs no node yet: it connects when there is
    /// something to send.
    ///
    /// # Errors
    /// See [`BuildError`].
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn start(mut self) -> Result<Producer, BuildError> {
        let builder = self.finish()?;
        let headers = std::mem::take(&mut self.headers).into_iter().collect();
        Ok(Producer::new(self, builder, headers))
    }

    /// Starts the producer on a thread of its own, for programs without a runtime.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn start_blocking(self) -> Result<BlockingProducer, BuildError> {
        BlockingProducer::start(self)
    }

    /// Checks everything that needs no network.
    fn finish(&mut self) -> Result<BlockBuilder, BuildError> {
        // Room for the last event and the block's own header.
        check("batch_bytes", self.batch_bytes, BLOCK_BYTES_MAX / 2)?;
        check("window_bytes", self.stream.window_bytes, u32::MAX as usize / 2)?;
        if !self.endpoints.is_empty() {
            let parsed = self.endpoints.iter().map(|endpoint| endpoint.parse::<Endpoint>());
            self.stream.endpoints = parsed.collect::<Result<_, _>>()?;
        }
        self.stream.producer =
            self.identity.unwrap_or_else(|| random_id(self.stream.entropy.as_ref()));
        let StreamOptions { producer, generation, next_sequence, .. } = self.stream;
        let mut builder = BlockBuilder::new(producer, generation, next_sequence);
        for (key, value) in &self.headers {
            builder.shared_header(key, value).map_err(BuildError::Header)?;
        }
        Ok(builder)
    }
}

fn check(setting: &'static str, value: usize, limit: usize) -> Result<(), BuildError> {
    if (1..=limit).contains(&value) {
        return Ok(());
    }
    Err(BuildError::Setting { setting, value, limit })
}

fn random_id(entropy: &dyn Entropy) -> ProducerId {
    let mut id = [0; 16];
    entropy.fill(&mut id);
    ProducerId(id)
}

impl std::fmt::Debug for ProducerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProducerBuilder")
            .field("endpoints", &self.endpoints)
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}
