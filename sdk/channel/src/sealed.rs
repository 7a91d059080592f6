//! A lineage that is only read.

use std::sync::Arc;

use sdk_event::Lineage;
use sdk_flow::{ChannelReader, ReadError};
use sdk_wal::Log;

use crate::backlog::Backlog;
use crate::reader::{LineageReader, LogSupply};
use crate::recover::{RecoverError, bytes_below, totals_below};
use crate::shard::{ChannelKind, ChannelOptions};
use crate::totals::Totals;
use crate::watermark::Watermark;

/// A sealed lineage that an earlier process wrote, until it is delivered.
pub struct SealedLineage {
    lineage: Lineage,
    end: u64,
    log: Log,
    channels: Vec<u8>,
    backlog: Backlog,
    watermark: Watermark,
    totals: Totals,
    inline_reads: bool,
}

impl SealedLineage {
    /// The lineage, sealed at `end`, with its durable channels and the floor of
    /// each. Reads the disk, a few records.
    ///
    /// Memory channels have nothing in it; they are passed over.
    ///
    /// # Errors
    /// See [`RecoverError`].
    pub fn open(
        log: &Log,
        lineage: Lineage,
        end: u64,
        channels: &[(ChannelOptions, u64)],
        inline_reads: bool,
    ) -> Result<SealedLineage, RecoverError> {
        log.cut(lineage, end);
        let totals = totals_below(log, lineage, end)?;
        let durable = channels.iter().filter(|(channel, _)| channel.kind == ChannelKind::Durable);
        let durable: Vec<_> = durable.collect();
        let capacities = durable.iter().map(|(channel, _)| channel);
        let capacities = capacities.map(|channel| (channel.number, Arc::clone(&channel.capacity)));
        let backlog = Backlog::new(lineage, Some(log.clone()), capacities);
        for (channel, floor) in &durable {
            let delivered = bytes_below(log, lineage, channel.number, *floor, end)?;
            let all = totals.channel(channel.number).bytes;
            let left = all.saturating_sub(delivered.unwrap_or(all));
            backlog.found(channel.number, *floor, end, left);
            backlog.raise_floor(channel.number, *floor);
        }
        Ok(SealedLineage {
            lineage,
            end,
            log: log.clone(),
            channels: durable.iter().map(|(channel, _)| channel.number).collect(),
            backlog,
            watermark: Watermark::sealed(end),
            totals,
            inline_reads,
        })
    }

    /// Which lineage this is.
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        self.lineage
    }

    /// Its length.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// What was put into it.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// A later lineage has a checkpoint of its own: this one keeps no more of the
    /// log than it has to deliver.
    pub fn superseded(&self) {
        self.backlog.hold_from(u64::MAX);
    }

    /// Everything below `floor` is delivered by every sink group of the channel.
    pub fn raise_floor(&self, channel: u8, floor: u64) {
        self.backlog.raise_floor(channel, floor);
    }

    /// The offset below which everything of the channel is delivered.
    #[must_use]
    pub fn floor(&self, channel: u8) -> Option<u64> {
        self.backlog.floor(channel)
    }

    /// Whether every channel has delivered everything.
    #[must_use]
    pub fn is_delivered(&self) -> bool {
        self.backlog.delivered() >= self.end
    }

    /// Forgets it: nothing of it is needed any more. Readers at its end find the
    /// end, others find nothing.
    pub fn forget(&self) {
        self.log.forget(self.lineage);
    }

    /// Ends every reader.
    pub fn close(&self) {
        self.watermark.close();
    }

    /// A reader of one channel that stands at `from` and ends at the lineage's end.
    ///
    /// # Errors
    /// When the lineage has no such durable channel.
    pub fn reader(&self, channel: u8, from: u64) -> Result<Box<dyn ChannelReader>, ReadError> {
        if !self.channels.contains(&channel) {
            let reason = format!("{} has no durable channel {channel}", self.lineage);
            return Err(ReadError::Storage(reason.into()));
        }
        let supply =
            LogSupply::new(self.log.clone(), self.lineage, channel, None, self.inline_reads);
        Ok(Box::new(LineageReader::new(self.lineage, &self.watermark, supply, from)))
    }
}
