//! A connection to a server, as a tonic service.

use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures::future::{BoxFuture, Either, MapErr};
use futures::{FutureExt as _, TryFutureExt as _};
use http::{HeaderValue, Request, Response, header};
use sdk_flow::BoxError;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::Channel as Connection;
use tonic::transport::channel::ResponseFuture;
use tower::Service;

/// Sends its token with each call, and says why TLS failed where the layers below only know that the
/// connection did.
#[derive(Debug, Clone)]
pub struct Link {
    connection: Connection,
    token: Option<HeaderValue>,
    /// Absent without TLS.
    trouble: Option<Arc<OnceLock<String>>>,
}

/// The answer to a call.
pub type Answering = Either<
    MapErr<ResponseFuture, fn(tonic::transport::Error) -> BoxError>,
    BoxFuture<'static, Result<Response<Body>, BoxError>>,
>;

impl Link {
    pub(crate) fn plain(connection: Connection, token: Option<HeaderValue>) -> Link {
        Link { connection, token, trouble: None }
    }

    pub(crate) fn secured(
        connection: Connection,
        token: Option<HeaderValue>,
        trouble: Arc<OnceLock<String>>,
    ) -> Link {
        Link { connection, token, trouble: Some(trouble) }
    }

    /// Why a call or a stream failed: what TLS said, else the status.
    #[must_use]
    pub fn reason(&self, status: &Status) -> String {
        match self.trouble.as_ref().and_then(|trouble| trouble.get()) {
            Some(trouble) => trouble.clone(),
            None => status.message().to_owned(),
        }
    }
}

impl Service<Request<Body>> for Link {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let trouble = &self.trouble;
        self.connection.poll_ready(cx).map_err(|error| told(trouble.as_deref(), error))
    }

    fn call(&mut self, mut request: Request<Body>) -> Answering {
        if let Some(token) = &self.token {
            request.headers_mut().insert(header::AUTHORIZATION, token.clone());
        }
        let answer = self.connection.call(request);
        let Some(trouble) = self.trouble.clone() else {
            let boxed: fn(tonic::transport::Error) -> BoxError = |error| Box::new(error);
            return Either::Left(answer.map_err(boxed));
        };
        Either::Right(answer.map_err(move |error| told(Some(&trouble), error)).boxed())
    }
}

fn told(trouble: Option<&OnceLock<String>>, error: tonic::transport::Error) -> BoxError {
    match trouble.and_then(OnceLock::get) {
        Some(trouble) => Box::new(Status::unavailable(trouble.clone())),
        None => Box::new(error),
    }
}

/// The innermost cause: the outer ones only say that it is about transport.
pub(crate) fn deepest(error: &dyn Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
