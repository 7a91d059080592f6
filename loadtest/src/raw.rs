//! The raw loop: what the same bytes cost without a channel and without files.
//!
//! A server that speaks `collector.v1.Ingest` to the same generator and does the least that an
//! honest `local` needs: receive the stream, check the CRC of each block, one `write` and one
//! `fdatasync` for all that wait, answer. It admits, remembers and delivers nothing.

use anyhow::{Context, Result};
use bytes::Bytes;
use proto::v1::append_request::Kind;
use proto::v1::ingest_server::{Ingest, IngestServer};
use proto::v1::{
    AppendRequest, AppendResponse, CloseSessionRequest, CloseSessionResponse, Code, Coordinates,
    Level, OpenSessionRequest, OpenSessionResponse, SendRequest, SendResponse, StoredEvent,
};
use sdk_event::Block;
use std::fs::File;
use std::io::{IoSlice, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

/// The file is written round and round, so that it never grows: like recycled segments.
pub(crate) const FILE_BYTES: u64 = 512 << 20;
/// What one write and one fdatasync may take together.
const GROUP_MAX: usize = 1_024;
const QUEUE: usize = 4_096;
const ANSWERS: usize = 256;
const STREAM_WINDOW: u32 = 8 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
const FRAME_MAX: u32 = 1 << 20;
const MESSAGE_MAX: usize = (4 << 20) + (64 << 10);

struct Waiting {
    block: Bytes,
    done: oneshot::Sender<()>,
}

/// The file that is written.
pub(crate) struct RawLog {
    file: File,
    bytes: u64,
}

impl RawLog {
    /// Makes a file of so many bytes, which takes seconds: before anybody can connect.
    pub(crate) fn create(folder: &Path, bytes: u64) -> Result<Self> {
        let create = || {
            let path = folder.join("raw-log");
            let mut file = File::options().write(true).create_new(true).open(path)?;
            let zeroes = vec![0; 1 << 20];
            for _ in 0..bytes >> 20 {
                file.write_all(&zeroes)?;
            }
            file.sync_all()?;
            file.seek(SeekFrom::Start(0))?;
            Ok::<_, std::io::Error>(file)
        };
        Ok(Self { file: create().context("prepare the raw log")?, bytes })
    }
}

/// Serves on a listener until the process ends.
pub(crate) async fn serve(listener: TcpListener, log: RawLog) -> Result<()> {
    let (queue, waiting) = mpsc::channel(QUEUE);
    let write = move || write(log, waiting);
    std::thread::Builder::new().name("raw log".to_owned()).spawn(write)?;
    let raw = Raw { queue, next: Arc::default() };
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_MAX)
        .add_service(IngestServer::new(raw).max_decoding_message_size(MESSAGE_MAX))
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await
        .context("serve the raw loop")
}

fn write(RawLog { mut file, bytes: file_bytes }: RawLog, mut waiting: mpsc::Receiver<Waiting>) {
    let mut group = Vec::with_capacity(GROUP_MAX);
    let mut at = 0;
    while let Some(first) = waiting.blocking_recv() {
        group.push(first);
        while group.len() < GROUP_MAX {
            let Ok(next) = waiting.try_recv() else { break };
            group.push(next);
        }
        let bytes: u64 = group.iter().map(|each| each.block.len() as u64).sum();
        if at + bytes > file_bytes {
            file.seek(SeekFrom::Start(0)).expect("seek in the raw log");
            at = 0;
        }
        write_all(&mut file, &group).expect("write the raw log");
        file.sync_data().expect("sync the raw log");
        at += bytes;
        for each in group.drain(..) {
            // A client that went away needs no answer.
            let _ = each.done.send(());
        }
    }
}

fn write_all(file: &mut File, group: &[Waiting]) -> std::io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = group.iter().map(|each| IoSlice::new(&each.block)).collect();
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        let written = file.write_vectored(rest)?;
        IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}

struct Raw {
    queue: mpsc::Sender<Waiting>,
    next: Arc<AtomicU64>,
}

impl Raw {
    async fn store(&self, block: Bytes) -> Result<(), Status> {
        let (done, stored) = oneshot::channel();
        let stopped = || Status::unavailable("the raw log has ended");
        self.queue.send(Waiting { block, done }).await.map_err(|_| stopped())?;
        stored.await.map_err(|_| stopped())
    }
}

#[tonic::async_trait]
impl Ingest for Raw {
    async fn open_session(
        &self,
        request: Request<OpenSessionRequest>,
    ) -> Result<Response<OpenSessionResponse>, Status> {
        Ok(Response::new(OpenSessionResponse {
            code: Code::Ok.into(),
            expected_sequence: request.into_inner().lowest_sequence,
            level: Level::Local.into(),
            flow_id: 1,
            epoch: 1,
            in_flight_bytes_max: 8 << 20,
            block_bytes_max: 4 << 20,
            ..OpenSessionResponse::default()
        }))
    }

    type AppendStream = ReceiverStream<Result<AppendResponse, Status>>;

    async fn append(
        &self,
        request: Request<Streaming<AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let mut blocks = request.into_inner();
        let (answers, receiver) = mpsc::channel(ANSWERS);
        let raw = Raw { queue: self.queue.clone(), next: Arc::clone(&self.next) };
        let (order, mut ordered) =
            mpsc::channel::<(AppendResponse, Option<oneshot::Receiver<()>>)>(ANSWERS);
        tokio::spawn(async move {
            while let Some((answer, stored)) = ordered.recv().await {
                if let Some(stored) = stored
                    && stored.await.is_err()
                {
                    return;
                }
                if answers.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
        });
        tokio::spawn(async move {
            let mut number = 0;
            while let Ok(Some(message)) = blocks.message().await {
                let mut answer = AppendResponse {
                    number,
                    code: Code::Ok.into(),
                    level: Level::Local.into(),
                    ..AppendResponse::default()
                };
                number += 1;
                let Some(Kind::Block(bytes)) = message.kind else {
                    if order.send((answer, None)).await.is_err() {
                        return;
                    }
                    continue;
                };
                let Ok(block) = Block::decode(bytes) else { return };
                let count = block.header().count;
                let first_offset = raw.next.fetch_add(count.into(), Ordering::Relaxed);
                answer.coordinates =
                    Some(Coordinates { flow: 1, shard: 0, epoch: 1, first_offset, count });
                let (done, stored) = oneshot::channel();
                let block = block.bytes().clone();
                let queued = raw.queue.send(Waiting { block, done }).await;
                if queued.is_err() || order.send((answer, Some(stored))).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    /// An empty unary call stores nothing: it is what a call costs. One with events stores their bodies.
    async fn send(&self, request: Request<SendRequest>) -> Result<Response<SendResponse>, Status> {
        let events = request.into_inner().events;
        for event in &events {
            self.store(event.body.clone()).await?;
        }
        let answers = events.iter().map(|_| StoredEvent::default()).collect();
        Ok(Response::new(SendResponse { level: Level::Local.into(), events: answers }))
    }

    async fn close_session(
        &self,
        _: Request<CloseSessionRequest>,
    ) -> Result<Response<CloseSessionResponse>, Status> {
        Ok(Response::new(CloseSessionResponse {
            code: Code::Ok.into(),
            ..CloseSessionResponse::default()
        }))
    }
}
