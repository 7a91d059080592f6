//! The events of a file, counted while its bytes come in: a few chunks and what its codec holds is all
//! that is in memory, however long it is.

use std::io::Read;

use bytes::{Buf as _, Bytes};
use sdk_event::EventId;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::ids::IdSet;
use crate::reader::Records;

/// Chunks on their way from who reads to who counts.
const CHUNKS_WAITING_MAX: usize = 2;

/// A file that is being counted. Dropping it ends that.
pub(super) struct Content {
    chunks: mpsc::Sender<Bytes>,
    counting: JoinHandle<Counted>,
}

/// What was in it.
pub(super) struct Counted {
    /// What was given, with the ids of the file.
    pub(super) ids: Option<IdSet>,
    /// Ids that were there already.
    pub(super) again: u64,
    /// Events, or why they cannot be read.
    pub(super) found: Result<u64, String>,
}

impl Content {
    /// Begins to count a file of this name. Its ids are read if there is a set for them.
    pub(super) fn begin(name: String, ids: Option<IdSet>) -> Content {
        let (chunks, waiting) = mpsc::channel(CHUNKS_WAITING_MAX);
        let input = Chunks { waiting, chunk: Bytes::new() };
        Content { chunks, counting: spawn_blocking(move || count(&name, ids, input)) }
    }

    /// Adds the next bytes.
    pub(super) async fn add(&mut self, bytes: Bytes) {
        // Who counts has given up on what cannot be read; its checksum is still wanted.
        let _ = self.chunks.send(bytes).await;
    }

    /// There are no more.
    pub(super) async fn end(self) -> Counted {
        drop(self.chunks);
        let stopped = |error| Counted { ids: None, again: 0, found: Err(format!("{error}")) };
        self.counting.await.unwrap_or_else(stopped)
    }
}

fn count(name: &str, mut ids: Option<IdSet>, input: Chunks) -> Counted {
    let mut again = 0;
    let found = count_events(name, &mut ids, &mut again, input);
    Counted { ids, again, found }
}

fn count_events(
    name: &str,
    ids: &mut Option<IdSet>,
    again: &mut u64,
    input: Chunks,
) -> Result<u64, String> {
    let broken = |error: std::io::Error| error.to_string();
    let mut records = Records::open(name, input).map_err(broken)?;
    let mut found = 0;
    let mut record = Vec::new();
    while records.next(&mut record).map_err(broken)? {
        found += 1;
        if let Some(ids) = ids {
            let id = id_of(&record).ok_or_else(|| format!("line {found} has no event id"))?;
            *again += u64::from(!ids.add(id));
        }
    }
    Ok(found)
}

fn id_of(line: &[u8]) -> Option<EventId> {
    #[derive(serde::Deserialize)]
    struct Line<'a> {
        id: std::borrow::Cow<'a, str>,
    }
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    line.id.parse().ok()
}

/// The bytes of a file as they come in. Blocks.
struct Chunks {
    waiting: mpsc::Receiver<Bytes>,
    chunk: Bytes,
}

impl Read for Chunks {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        while self.chunk.is_empty() {
            match self.waiting.blocking_recv() {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(0),
            }
        }
        let length = out.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut out[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// Bytes of which it is known whether somebody still has them.
    struct Held(Vec<u8>, #[expect(dead_code, reason = "it is counted")] Arc<()>);

    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    #[tokio::test]
    async fn of_a_long_file_few_chunks_are_in_memory() {
        let held = Arc::new(());
        let mut content = Content::begin("long".to_owned(), None);
        for _ in 0..64 {
            let chunk = b"event\n".repeat(50_000);
            content.add(Bytes::from_owner(Held(chunk, Arc::clone(&held)))).await;
            // One is being counted, one may just have been, and one of the counts is ours.
            assert!(Arc::strong_count(&held) <= CHUNKS_WAITING_MAX + 3);
        }
        assert_eq!(content.end().await.found, Ok(64 * 50_000));
    }

    #[tokio::test]
    async fn what_cannot_be_read_holds_nobody_up() {
        let mut content = Content::begin("broken.gz".to_owned(), Some(IdSet::default()));
        for _ in 0..64 {
            content.add(Bytes::from_static(b"this is no gzip")).await;
        }
        let counted = content.end().await;
        assert!(counted.found.is_err() && counted.ids.is_some());
    }
}
