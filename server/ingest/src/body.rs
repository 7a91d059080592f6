//! A request's body that says how many bytes it has given out, and keeps long messages apart.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use tonic::Status;
use tonic::body::Body;

use crate::connection::{Charge, Connection};

/// Has the body of `request` charged. Its handler finds the [`Charge`] among the extensions and
/// keeps it until the bytes are stored or given up.
pub(crate) fn meter(mut request: Request<Body>) -> Request<Body> {
    // Absent when the routes are called without a socket.
    let Some(connection) = request.extensions().get::<Arc<Connection>>() else { return request };
    let charge = Charge::new(Arc::clone(connection));
    request.extensions_mut().insert(Arc::clone(&charge));
    request.map(|body| Body::new(Metered { body, rest: Bytes::new(), charge }))
}

struct Metered {
    body: Body,
    /// Of the last frame, what was not given out yet.
    rest: Bytes,
    charge: Arc<Charge>,
}

impl http_body::Body for Metered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return Poll::Ready(other),
            }
        }
        let bytes = self.charge.take(&self.rest);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }
}
