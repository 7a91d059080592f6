//! `type = "collector"`: onward to a collector cluster.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ByteSize, DurationText};

/// Sends blocks to the ingest port of nodes, with the same ids at each retry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CollectorSink {
    /// The channel this sink takes from. Required.
    pub channel: String,
    /// Ingest addresses as `http://HOST:PORT` or `https://HOST:PORT`; the next is tried when one fails.
    pub endpoints: Vec<String>,
    /// The file with the CAs that nodes' certificates are signed by, PEM. `None` = those of the system.
    pub ca: Option<String>,
    /// The file with the certificate to show, PEM.
    pub certificate: Option<String>,
    /// The file with its private key, PEM.
    pub key: Option<String>,
    /// The file with the token to send.
    pub token_file: Option<String>,
    /// The name that nodes' certificates are for. `None` = the host in the endpoint.
    pub server_name: Option<String>,
    /// The flow to send into. `None` = the flow of the same name.
    pub flow: Option<String>,
    /// What an acknowledgement must promise before the channel may forget. `None` = what the flow
    /// there gives by itself.
    pub ack: Option<AckLevel>,
    /// Compression of blocks that are built here.
    pub codec: WireCodec,
    /// A block is sent at this size at the latest.
    pub batch_bytes: ByteSize,
    /// How many bytes may be on the way unanswered.
    pub in_flight: ByteSize,
    /// How long connecting may take.
    pub connect_timeout: DurationText,
    /// How long an answer may take before the connection is given up and the block is sent again.
    pub request_timeout: DurationText,
    /// The longest pause between two tries.
    pub max_backoff: DurationText,
    /// What becomes of unanswered blocks when the nodes have forgotten this producer.
    pub on_expired: OnExpired,
}

impl Default for CollectorSink {
    fn default() -> CollectorSink {
        CollectorSink {
            channel: String::new(),
            endpoints: vec!["http://127.0.0.1:7400".to_owned()],
            ca: None,
            certificate: None,
            key: None,
            token_file: None,
            server_name: None,
            flow: None,
            ack: None,
            codec: WireCodec::None,
            batch_bytes: ByteSize::kib(256),
            in_flight: ByteSize::mib(8),
            connect_timeout: DurationText::from_secs(20),
            request_timeout: DurationText::from_secs(20),
            max_backoff: DurationText::from_secs(30),
            on_expired: OnExpired::Resend,
        }
    }
}

/// What an acknowledgement promises, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AckLevel {
    /// In the memory of one node.
    Received,
    /// In the log of one node, fsynced.
    Local,
    /// The same on every replica.
    Replicated,
    /// In a final file.
    Committed,
}

impl fmt::Display for AckLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AckLevel::Received => "received",
            AckLevel::Local => "local",
            AckLevel::Replicated => "replicated",
            AckLevel::Committed => "committed",
        })
    }
}

/// Compression of a block on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WireCodec {
    /// None.
    #[default]
    None,
    /// LZ4: cheap.
    Lz4,
    /// Zstandard: small.
    Zstd,
}

/// What becomes of unanswered blocks of a producer that was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExpired {
    /// They are sent under a new generation, and counted: they may be there twice.
    #[default]
    Resend,
    /// They become dead letters: they may be missing.
    DeadLetter,
}
