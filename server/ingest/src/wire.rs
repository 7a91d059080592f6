//! Between the protocol's types and ours.

use proto::v1;
use sdk_event::{Level, ProducerId};
use sdk_flow::Receipt;

use crate::refusal::Refusal;

pub(crate) fn producer(bytes: &[u8]) -> Result<ProducerId, Refusal> {
    let id =
        <[u8; 16]>::try_from(bytes).map_err(|_| Refusal::invalid("a producer id has 16 bytes"))?;
    Ok(ProducerId(id))
}

/// `None`: whatever the flow gives.
pub(crate) fn to_level(level: i32) -> Result<Option<Level>, Refusal> {
    Ok(match v1::Level::try_from(level) {
        Ok(v1::Level::Unspecified) => None,
        Ok(v1::Level::Received) => Some(Level::Received),
        Ok(v1::Level::Local) => Some(Level::Local),
        Ok(v1::Level::Replicated) => Some(Level::Replicated),
        Ok(v1::Level::Committed) => Some(Level::Committed),
        // A lower promise than the one meant would be a lie.
        Err(_) => return Err(Refusal::invalid(format!("level {level} is not known here"))),
    })
}

pub(crate) fn from_level(level: Level) -> v1::Level {
    match level {
        Level::Received => v1::Level::Received,
        Level::Local => v1::Level::Local,
        Level::Replicated => v1::Level::Replicated,
        Level::Committed => v1::Level::Committed,
    }
}

pub(crate) fn coordinates(receipt: &Receipt) -> v1::Coordinates {
    v1::Coordinates {
        flow: receipt.lineage.flow,
        shard: receipt.lineage.shard,
        epoch: receipt.lineage.epoch,
        first_offset: receipt.first_offset,
        count: receipt.count,
    }
}
