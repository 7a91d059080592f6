//! Reading a lineage as the state lists it: what is lost there is passed, also where it can be read.

use crate::cluster::Cluster;
use async_trait::async_trait;
use sdk_config::ledger::Span;
use sdk_event::Lineage;
use sdk_flow::{Batch, ChannelReader, ReadError};

/// A reader of one lineage that stops before each range that is listed as lost.
///
/// Producers are told that such a range is lost, so nothing of it may reach a sink afterwards.
pub(crate) struct ListedReader {
    reader: Box<dyn ChannelReader>,
    cluster: Cluster,
    lineage: Lineage,
}

impl ListedReader {
    pub(crate) fn new(reader: Box<dyn ChannelReader>, cluster: Cluster, lineage: Lineage) -> Self {
        Self { reader, cluster, lineage }
    }

    /// The first listed range that is not behind the reader.
    fn ahead(&self) -> Option<Span> {
        let cursor = self.reader.cursor();
        self.cluster.read(|state| {
            let lost = state.lineage(self.lineage)?.lost.iter().map(|it| it.span);
            lost.filter(|span| span.last >= cursor).min_by_key(|span| span.first)
        })
    }
}

#[async_trait]
impl ChannelReader for ListedReader {
    async fn next(&mut self, bytes_max: usize) -> Result<Option<Batch>, ReadError> {
        let from = self.reader.cursor();
        let Some(lost) = self.ahead() else { return self.reader.next(bytes_max).await };
        if lost.first <= from {
            return Err(ReadError::Lost { from, to: lost.last + 1 });
        }
        let read = self.reader.next(bytes_max).await?;
        Ok(read.map(|mut batch| {
            if batch.to > lost.first {
                batch.stored.retain(|stored| stored.first_offset < lost.first);
                batch.to = lost.first;
                self.reader.seek(lost.first);
            }
            batch
        }))
    }

    fn cursor(&self) -> u64 {
        self.reader.cursor()
    }

    fn seek(&mut self, offset: u64) {
        self.reader.seek(offset);
    }
}
