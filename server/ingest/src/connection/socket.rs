//! A socket that counts what it reads, and waits when there is no memory for more.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tonic::transport::server::Connected;

use super::Connection;
use super::frames::Frames;
use super::registry::Place;

/// The server's end of a connection.
#[derive(Debug)]
pub(crate) struct Socket<Io> {
    io: Io,
    frames: Frames,
    /// Runs until the peer has shown that it speaks HTTP/2.
    first_bytes: Option<Pin<Box<Sleep>>>,
    place: Place,
}

impl<Io> Socket<Io> {
    pub(super) fn new(io: Io, place: Place, first_bytes: Duration) -> Socket<Io> {
        Socket { io, frames: Frames::new(), first_bytes: Some(Box::pin(sleep(first_bytes))), place }
    }

    fn poll_in_time(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let Some(timer) = &mut self.first_bytes else { return Ok(()) };
        if !self.frames.is_before_first_frame() {
            self.first_bytes = None;
        } else if timer.as_mut().poll(cx).is_ready() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no HTTP/2 preface came"));
        }
        Ok(())
    }

    /// Ready when the socket may be read.
    fn poll_may_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let connection = &self.place.connection;
        // Registered first, so that neither a cut nor room for more is missed.
        connection.waker.register(cx.waker());
        if connection.is_cut() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cut")));
        }
        if connection.memory.is_full() {
            connection.wait_for_memory();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Socket<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.poll_in_time(cx)?;
        ready!(this.poll_may_read(cx))?;
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let data = this.frames.feed(&buf.filled()[before..]);
        this.place.connection.received(data);
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Socket<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<Io> Connected for Socket<Io> {
    type ConnectInfo = Arc<Connection>;

    fn connect_info(&self) -> Arc<Connection> {
        Arc::clone(&self.place.connection)
    }
}
