//! Cursors of a spool: each commit is a record.

use std::sync::Arc;

use async_trait::async_trait;
use sdk_event::Lineage;
use sdk_flow::{Cursor, CursorError, PutError};

use super::Inner;
use crate::record::CursorCommit;
use crate::shard::ChannelKind;

pub(super) struct SpoolCursor {
    pub(super) inner: Arc<Inner>,
    pub(super) lineage: Lineage,
    pub(super) number: u8,
    pub(super) group: String,
}

#[async_trait]
impl Cursor for SpoolCursor {
    async fn floor(&self) -> Result<u64, CursorError> {
        Ok(self.inner.group_floor(self.lineage, self.number, &self.group))
    }

    async fn commit(&self, from: u64, to: u64) -> Result<(), CursorError> {
        let floor = self.floor().await?;
        if to <= floor {
            return Ok(());
        }
        if from != floor {
            return Err(CursorError::Elsewhere { floor });
        }
        let moved = self.inner.move_cursor(self.lineage, self.number, &self.group, to).await;
        moved.map_err(|error| match error {
            PutError::Stopped => CursorError::Closed,
            other => CursorError::Unavailable(other.into()),
        })
    }
}

impl Inner {
    /// Moves a cursor by a record, then lets go what every group has delivered.
    pub(super) async fn move_cursor(
        &self,
        lineage: Lineage,
        channel: u8,
        group: &str,
        floor: u64,
    ) -> Result<(), PutError> {
        let current = lineage == self.shard.lineage();
        // A memory channel's cursor dies with what it points into.
        if !(current && self.kinds.get(usize::from(channel)) == Some(&ChannelKind::Memory)) {
            let group = group.to_owned();
            self.shard.commit_cursor(CursorCommit { channel, group, lineage, floor }).await?;
        }
        let mut floors = self.floors.lock().expect("no panic while the lock is held");
        floors.insert((lineage, channel, group.to_owned()), floor);
        drop(floors);
        self.let_go(lineage, channel);
        Ok(())
    }

    /// Raises a channel's floor to the lowest of its groups.
    pub(super) fn let_go(&self, lineage: Lineage, channel: u8) {
        let Some(channels) = self.channels_of(lineage) else { return };
        let Some(named) = channels.iter().find(|named| named.number == channel) else { return };
        let floors = named.groups.iter().map(|group| self.group_floor(lineage, channel, group));
        let Some(floor) = floors.min() else { return };
        if lineage == self.shard.lineage() {
            self.shard.raise_floor(channel, floor);
            return;
        }
        let mut sealed = self.sealed();
        sealed.retain(|earlier| {
            if earlier.lineage.lineage() == lineage {
                earlier.lineage.raise_floor(channel, floor);
            }
            let delivered = earlier.lineage.is_delivered();
            if delivered {
                earlier.lineage.forget();
            }
            !delivered
        });
    }
}
