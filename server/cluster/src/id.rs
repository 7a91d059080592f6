//! Names of things in the state, and how ids of other crates are written in it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A node's number: given once, never used again. It is its Raft id as well.
pub type NodeId = u64;
/// A flow's number: the Raft index at which it was created.
pub type FlowId = u64;
/// A sink group's number, never used again within its flow.
pub type GroupNumber = u32;

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", u128::from_be_bytes(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

random_id! {
    /// The cluster's uuid, drawn when it is made.
    ClusterId
}
random_id! {
    /// The uuid of a data directory, drawn when it is made: a node's number belongs to it.
    DirectoryId
}
random_id! {
    /// Drawn by a process when it starts, so that asking twice for an incarnation gives the same.
    StartId
}

impl ClusterId {
    /// The eight hex digits that stand in the names of final files.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

/// Serde for a [`sdk_event::Lineage`]: (flow, shard, epoch).
pub(crate) mod lineage {
    use sdk_event::Lineage;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(lineage: &Lineage, to: S) -> Result<S::Ok, S::Error> {
        (lineage.flow, lineage.shard, lineage.epoch).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Lineage, D::Error> {
        let (flow, shard, epoch) = Deserialize::deserialize(from)?;
        Ok(Lineage { flow, shard, epoch })
    }
}

/// Serde for a [`sdk_event::ProducerId`]: its bytes.
pub(crate) mod producer {
    use sdk_event::ProducerId;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(id: &ProducerId, to: S) -> Result<S::Ok, S::Error> {
        id.0.serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ProducerId, D::Error> {
        Deserialize::deserialize(from).map(ProducerId)
    }
}
