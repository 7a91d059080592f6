//! What a request passes on its way in, from the outside to the inside.

use std::any::Any;

use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::load_shed::error::Overloaded;
use tower::timeout::error::Elapsed;
use tower::util::BoxCloneService;
use tower::{BoxError, ServiceBuilder};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::error;

use crate::body::meter;
use crate::limits::{Limits, RETRY_AFTER};
use crate::status;

/// The routes with everything around them.
///
/// tonic adds its own layers outside: there a caller's `grpc-timeout` is honoured, and an error
/// that is a [`Status`] becomes an answer.
pub(crate) fn layered(
    routes: Routes,
    limits: &Limits,
) -> BoxCloneService<Request<Body>, Response<Body>, BoxError> {
    ServiceBuilder::new()
        .layer(BoxCloneService::layer())
        .map_response(|response: Response<_>| response.map(Body::new))
        // Outermost, so that a panic anywhere below is one INTERNAL answer, not a dead connection.
        .layer(CatchPanicLayer::custom(answer_panic))
        // Names what the two layers below it refuse.
        .map_err(into_status)
        // At the limit of the next layer a call is answered at once. It is never queued: its bytes
        // would wait in memory, and its deadline would pass while it does.
        .load_shed()
        // One count for all connections. A stream counts only until it has begun; streams have
        // their own limit, per connection.
        .layer(GlobalConcurrencyLimitLayer::new(limits.calls_max))
        // Below the shedding, so that time is only measured for calls that were let in. Covers the
        // reading of the call, so that one that never comes in full ends too.
        .timeout(limits.call_deadline)
        // Innermost: from here on each byte of the body is charged to the memory of the node.
        .map_request(meter)
        .service(routes.prepare())
}

fn into_status(error: BoxError) -> BoxError {
    if error.is::<Overloaded>() {
        status::exhausted("the node has as many calls under way as it may", RETRY_AFTER).into()
    } else if error.is::<Elapsed>() {
        Status::deadline_exceeded("the call took longer than the node allows").into()
    } else {
        error
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that the layer asks for")]
fn answer_panic(panic: Box<dyn Any + Send>) -> Response<Body> {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    error!(panic = text, "a request panicked");
    Status::internal("the node failed to answer; this is a defect").into_http()
}
