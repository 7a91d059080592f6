//! What a channel of a flow is told.

use serde::{Deserialize, Serialize};

use crate::ByteSize;

/// One `[flow.F.channels.C]` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelSpec {
    /// A view of the log: what was acknowledged survives.
    Durable(DurableChannel),
    /// Memory: dies with its process.
    Memory(MemoryChannel),
}

impl ChannelSpec {
    /// Whether what it acknowledged survives the process.
    pub fn is_durable(&self) -> bool {
        matches!(self, ChannelSpec::Durable(_))
    }

    /// The word after `type =`.
    pub fn type_name(&self) -> &'static str {
        match self {
            ChannelSpec::Durable(_) => "durable",
            ChannelSpec::Memory(_) => "memory",
        }
    }
}

/// `type = "durable"`: all durable channels of a flow share one log, so that a put is one write
/// however many channels it goes to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DurableChannel {
    /// How many bytes may wait in it on each node. At the limit a put is refused with a delay, or
    /// leaves this channel out where a selector calls it optional. `None` = the log's quota.
    pub capacity: Option<ByteSize>,
    /// How much of the log may lie between its oldest waiting event and the end, whoever's events
    /// they are. `None` = the log's quota.
    pub log_span: Option<ByteSize>,
}

/// `type = "memory"`: fast and gone at a crash. A flow with a required memory channel acknowledges
/// at the level `received`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryChannel {
    /// How many bytes may wait in it on each node.
    pub capacity: ByteSize,
}

impl Default for MemoryChannel {
    fn default() -> MemoryChannel {
        MemoryChannel { capacity: ByteSize::mib(64) }
    }
}
