//! Bytes on their way from events to files: buffers, their bounds, the jobs that write them.

use std::sync::Arc;

use bytes::BytesMut;
use tracing::debug;

use super::bucket::{Segment, Slot, Stage, Stream};
use super::failure;
use super::outcome::Done;
use super::session::Session;
use crate::format::Format;
use crate::fs::FsError;
use crate::staged::Staged;

/// What a stream's first buffer has.
const FIRST_BYTES: usize = 4 << 10;

/// The chunk of a stream when there are many.
const SMALL_CHUNK_BYTES: usize = 64 << 10;

/// A stream with so much in memory is worth a file of its own when memory is short.
const WORTH_A_FILE_BYTES: usize = 32 << 10;

impl Session {
    /// Beyond so many bytes held some are written out or forgotten; at twice as many nothing more is
    /// read.
    pub(super) fn budget(&self) -> usize {
        self.shared.options.limits.buffer_bytes.min(self.share.bytes() / 2)
    }

    /// The most bytes of a stream's buffer.
    pub(super) fn chunk_bytes(&self, format: Format) -> usize {
        let large = format.chunk_bytes_max();
        if large <= self.chunk_room { large } else { SMALL_CHUNK_BYTES }
    }

    /// Finds out how large chunks may be, now and then: events come too often for that.
    pub(super) fn measure_chunks(&mut self) {
        // Two chunks for each: one that fills, one that is written.
        self.chunk_room = self.budget() / (2 * self.table.len().max(1));
    }

    /// A stream with nothing in it.
    pub(super) fn new_stream(&mut self) -> Stream {
        let buffer = BytesMut::with_capacity(FIRST_BYTES);
        self.held += buffer.capacity();
        Stream { buffer, ..Stream::default() }
    }

    /// Queues a bucket's full buffer and begins another: one that grew would be copied, to where no
    /// block begins.
    pub(super) fn cut(&mut self, number: u32) {
        let format = self.table.at(number).format;
        let next = self.share.memory().take(self.chunk_bytes(format));
        let Some(segment) = &mut self.table.at(number).filling else { return };
        let Stage::Streaming(stream) = &mut segment.stage else { return };
        let before = stream.held();
        if format.is_plain() {
            stream.cut_blocks(next)
        } else {
            stream.cut(next)
        }
        self.held = self.held + stream.held() - before;
    }

    /// Starts to write what a bucket's stream has queued, if nothing of it is being written.
    pub(super) fn write(&mut self, number: u32) {
        let bucket = self.table.at(number);
        let (format, member) = (bucket.format, bucket.member);
        let Some(segment) = &mut bucket.filling else { return };
        let Stage::Streaming(stream) = &mut segment.stage else { return };
        if stream.queued.is_empty()
            || !matches!(self.members[member].state, super::session::MemberState::Up)
        {
            return;
        }
        let file = match std::mem::take(&mut stream.file) {
            Slot::Idle(file) => Ok(file),
            Slot::Busy => {
                stream.file = Slot::Busy;
                return;
            }
            Slot::None => {
                let permits = Arc::clone(self.members[member].sink.streams());
                match permits.try_acquire_owned() {
                    Ok(permit) => Err(permit),
                    Err(_) => {
                        // All open files are taken: this one is built when it is rolled.
                        self.cool(number);
                        return;
                    }
                }
            }
        };
        stream.file = Slot::Busy;
        let chunks = std::mem::take(&mut stream.queued);
        let id = segment.id;
        let encoder = self.shared.encoder(format, member, segment.first);
        let path = self.staging_path(member);
        let shared = Arc::clone(&self.shared);
        let bytes = chunks.iter().map(bytes::Bytes::len).sum();
        self.in_flight += bytes;
        self.jobs.push(Box::pin(async move {
            let write = async {
                let mut file = match file {
                    Ok(file) => file,
                    Err(permit) => {
                        let fs = shared.sink(member).fs();
                        let deadlines = shared.deadlines();
                        Box::new(Staged::create(fs, path, encoder, deadlines, permit).await?)
                    }
                };
                let buffers = file.append(chunks.into()).await?;
                Ok::<_, FsError>((file, buffers))
            };
            let (result, buffers) = match write.await {
                Ok((file, buffers)) => (Ok(file), buffers),
                Err(error) => (Err(failure::of_staging(&shared, member, error).await), Vec::new()),
            };
            Done::Wrote { bucket: number, segment: id, result, buffers, bytes }
        }));
    }

    /// Starts to finish a rolled stream: the rest of its bytes, then its close.
    pub(super) fn close(&mut self, number: u32, id: u64) {
        let member = self.table.at(number).member;
        let format = self.table.at(number).format;
        let path = self.staging_path(member);
        let Some(segment) = self.table.at(number).segment_mut(id) else { return };
        let Stage::Streaming(stream) = &mut segment.stage else { return };
        let mut stream = std::mem::take(stream);
        segment.stage = Stage::Closing;
        let first = segment.first;
        let encoder = self.shared.encoder(format, member, first);
        let held = stream.held();
        self.closing += held;
        stream.cut(BytesMut::new());
        let shared = Arc::clone(&self.shared);
        self.jobs.push(Box::pin(async move {
            let write = async {
                let mut file = match stream.file {
                    Slot::Idle(file) => *file,
                    Slot::None | Slot::Busy => {
                        let sink = shared.sink(member);
                        let permit = Arc::clone(sink.finishing()).acquire_owned().await;
                        let permit = permit.expect("the semaphore is never closed");
                        let deadlines = shared.deadlines();
                        Staged::create(sink.fs(), path, encoder, deadlines, permit).await?
                    }
                };
                let buffers = file.append(stream.queued.into()).await?;
                Ok::<_, FsError>((file.close().await?, buffers))
            };
            let (result, buffers) = match write.await {
                Ok((closed, buffers)) => (Ok(closed), buffers),
                Err(error) => (Err(failure::of_staging(&shared, member, error).await), Vec::new()),
            };
            Done::Closed { bucket: number, segment: id, result, buffers, bytes: held }
        }));
    }

    /// Forgets the bytes of the segment that a bucket fills: it is built from the log when rolled.
    pub(super) fn cool(&mut self, number: u32) {
        let bucket = self.table.at(number);
        let member = bucket.member;
        let Some(segment) = &mut bucket.filling else { return };
        if !segment.is_at_rest() {
            return;
        }
        let stage = std::mem::replace(&mut segment.stage, Stage::Cold);
        self.drop_stage(member, stage);
    }

    /// Gives up what a stage has in memory and in staging.
    pub(super) fn drop_stage(&mut self, member: usize, stage: Stage) {
        match stage {
            Stage::Streaming(mut stream) => {
                self.held -= stream.held();
                self.share.memory().give(std::mem::take(&mut stream.buffer));
                if let Slot::Idle(file) = stream.file {
                    let path = file.path().to_owned();
                    drop(file);
                    self.discard(member, path);
                }
            }
            Stage::Staged(closed) | Stage::Announcing(closed) => {
                self.discard(member, closed.path);
            }
            _ => (),
        }
    }

    /// Deletes a file in staging that nobody will use. If it fails, the fence of this token does it.
    pub(super) fn discard(&mut self, member: usize, path: String) {
        if !self.is_up(member) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        self.jobs.push(Box::pin(async move {
            let delete = shared.sink(member).fs().delete(&path);
            if let Err(error) =
                crate::staged::within(shared.deadlines().call, "delete", &path, delete).await
            {
                debug!(error = &error as &dyn std::error::Error, "cannot delete a file in staging");
            }
            Done::Discarded
        }));
    }

    /// Frees memory, if there is too little: least recently used buckets first.
    pub(super) fn evict(&mut self) {
        let limit = self.budget();
        if self.held <= limit {
            return;
        }
        let mut candidates: Vec<(u64, u32, usize)> = self
            .table
            .iter()
            .filter_map(|(number, bucket)| match &bucket.filling.as_ref()?.stage {
                Stage::Streaming(stream) if !matches!(stream.file, Slot::Busy) => {
                    Some((bucket.last_used, number, stream.held()))
                }
                _ => None,
            })
            .collect();
        candidates.sort_unstable();
        let mut excess = self.held - limit / 4 * 3;
        for (_, number, held) in candidates {
            let bucket = self.table.at(number);
            let Some(Segment { stage: Stage::Streaming(stream), .. }) = &bucket.filling else {
                continue;
            };
            let worth = stream.buffer.len() >= WORTH_A_FILE_BYTES;
            if matches!(stream.file, Slot::Idle(_)) || worth {
                self.write_small(number);
            } else {
                self.cool(number);
            }
            excess = excess.saturating_sub(held);
            if excess == 0 {
                break;
            }
        }
    }

    /// Writes a bucket's stream out and leaves it the smallest buffer.
    pub(super) fn write_small(&mut self, number: u32) {
        if let Some(Segment { stage: Stage::Streaming(stream), .. }) =
            &mut self.table.at(number).filling
        {
            let before = stream.buffer.capacity();
            let next = BytesMut::with_capacity(FIRST_BYTES);
            self.held = self.held + next.capacity() + stream.buffer.len() - before;
            stream.cut(next);
        }
        self.write(number);
    }

    /// A name in staging that this token has not used.
    pub(super) fn staging_path(&mut self, member: usize) -> String {
        self.next_id += 1;
        format!("{}/{:010}", self.shared.staging(member), self.next_id)
    }
}
