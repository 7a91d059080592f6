//! Between the protocol's types and ours.

use std::time::Duration;

use proto::v1;
use sdk_event::{Level, Lineage};

pub(super) fn from_level(level: Option<Level>) -> v1::Level {
    match level {
        None => v1::Level::Unspecified,
        Some(Level::Received) => v1::Level::Received,
        Some(Level::Local) => v1::Level::Local,
        Some(Level::Replicated) => v1::Level::Replicated,
        Some(Level::Committed) => v1::Level::Committed,
    }
}

/// What a node says it has reached. One that says nothing promises nothing.
pub(super) fn to_level(level: v1::Level) -> Level {
    match level {
        v1::Level::Unspecified | v1::Level::Received => Level::Received,
        v1::Level::Local => Level::Local,
        v1::Level::Replicated => Level::Replicated,
        v1::Level::Committed => Level::Committed,
    }
}

pub(super) fn lineage(coordinates: &v1::Coordinates) -> Lineage {
    let v1::Coordinates { flow, shard, epoch, .. } = *coordinates;
    Lineage { flow, shard, epoch }
}

pub(super) fn delay(retry_after_ms: u64) -> Duration {
    Duration::from_millis(retry_after_ms)
}
