//! A lineage in memory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sdk_event::{BlockBuilder, Codec, Event, Lineage, ProducerId};
use sdk_files::Readers;
use sdk_flow::{Batch, ChannelReader, Positions, ReadError, Stored};
use tokio::sync::watch;

#[derive(Clone)]
pub(crate) struct MemoryLog {
    lineage: Lineage,
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    puts: Vec<Stored>,
    end: u64,
    sealed: bool,
    lost: Vec<(u64, u64)>,
    sequence: u64,
    reads_take: Duration,
}

impl MemoryLog {
    pub(crate) fn new(lineage: Lineage) -> MemoryLog {
        MemoryLog { lineage, state: Arc::default(), changed: watch::channel(0).0 }
    }

    /// How long each read takes from now on.
    pub(crate) fn slow(&self, reads_take: Duration) {
        self.state.lock().unwrap().reads_take = reads_take;
    }

    /// Puts events as one block; gives the first offset.
    pub(crate) fn put(&self, put_time_ms: i64, events: &[Event]) -> u64 {
        let mut state = self.state.lock().unwrap();
        let mut builder = BlockBuilder::new(ProducerId([5; 16]), 1, state.sequence);
        for event in events {
            builder.push(event.timestamp_ms, event.headers.iter(), &event.body).unwrap();
        }
        let first_offset = state.end;
        let count = u32::try_from(events.len()).unwrap();
        state.puts.push(Stored {
            first_offset,
            count,
            put_time_ms,
            parts: smallvec::smallvec![(Positions::All, builder.finish(Codec::None))],
            dropped: Vec::new(),
        });
        state.sequence += u64::from(count);
        state.end += u64::from(count);
        self.changed.send_replace(state.end);
        first_offset
    }

    /// A put of which a rule has dropped everything.
    pub(crate) fn put_dropped(&self, put_time_ms: i64, rule: &str, count: u32) {
        let mut state = self.state.lock().unwrap();
        let first_offset = state.end;
        state.puts.push(Stored {
            first_offset,
            count,
            put_time_ms,
            parts: smallvec::smallvec![],
            dropped: vec![(rule.into(), count)],
        });
        state.sequence += u64::from(count);
        state.end += u64::from(count);
        self.changed.send_replace(state.end);
    }

    /// A record that is no put.
    pub(crate) fn control(&self) {
        let mut state = self.state.lock().unwrap();
        state.end += 1;
        self.changed.send_replace(state.end);
    }

    /// Nobody can read `[from, to)` any more.
    pub(crate) fn lose(&self, from: u64, to: u64) {
        let mut state = self.state.lock().unwrap();
        state.puts.retain(|put| put.end() <= from || to <= put.first_offset);
        state.lost.push((from, to));
    }

    /// Ends the lineage; gives its length.
    pub(crate) fn seal(&self) -> u64 {
        let mut state = self.state.lock().unwrap();
        state.sealed = true;
        self.changed.send_replace(state.end);
        state.end
    }
}

impl Readers for MemoryLog {
    fn reader(&self, from: u64) -> Result<Box<dyn ChannelReader>, ReadError> {
        let changed = self.changed.subscribe();
        Ok(Box::new(Reader { log: self.clone(), cursor: from, changed }))
    }
}

struct Reader {
    log: MemoryLog,
    cursor: u64,
    changed: watch::Receiver<u64>,
}

impl Reader {
    fn read(&mut self, bytes_max: usize) -> Option<Result<Option<Batch>, ReadError>> {
        let state = self.log.state.lock().unwrap();
        if self.cursor >= state.end {
            return state.sealed.then_some(Ok(None));
        }
        let lost = state.lost.iter().find(|(from, to)| (*from..*to).contains(&self.cursor));
        if let Some((_, to)) = lost {
            return Some(Err(ReadError::Lost { from: self.cursor, to: *to }));
        }
        let next_lost = state.lost.iter().map(|(from, _)| *from).filter(|it| *it > self.cursor);
        let limit = next_lost.min().unwrap_or(state.end);
        let mut stored = Vec::new();
        let mut bytes = 0;
        let mut to = limit;
        for put in state.puts.iter().filter(|put| put.end() > self.cursor) {
            if put.first_offset >= limit {
                break;
            }
            if bytes >= bytes_max {
                to = put.first_offset;
                break;
            }
            bytes += put.bytes().max(1);
            stored.push(put.clone());
        }
        let batch = Batch { lineage: self.log.lineage, from: self.cursor, to, stored };
        self.cursor = to;
        Some(Ok(Some(batch)))
    }
}

#[async_trait]
impl ChannelReader for Reader {
    async fn next(&mut self, bytes_max: usize) -> Result<Option<Batch>, ReadError> {
        tokio::task::yield_now().await;
        let takes = self.log.state.lock().unwrap().reads_take;
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        loop {
            self.changed.borrow_and_update();
            if let Some(answer) = self.read(bytes_max) {
                return answer;
            }
            if self.changed.changed().await.is_err() {
                return Err(ReadError::Closed);
            }
        }
    }

    fn cursor(&self) -> u64 {
        self.cursor
    }

    fn seek(&mut self, offset: u64) {
        self.cursor = offset;
    }
}
