//! A request's body that says how many bytes it has given out.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Request;
use http_body::{Frame, SizeHint};
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
    request.map(|body| Body::new(Metered { body, charge }))
}

struct Metered {
    body: Body,
    charge: Arc<Charge>,
}

impl http_body::Body for Metered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.charge.take(data);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
