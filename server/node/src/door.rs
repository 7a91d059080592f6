//! The admin port: who may ask it for what.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sdk_config::AdminAccess;
use sdk_tls::{Denied, Gate, Peer};
use std::sync::Arc;

/// Lets a request through, or says why not. Only in the way where somebody is told apart.
pub(crate) async fn guard(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Option<Arc<Peer>>>().cloned().flatten();
    let needed = needed(request.uri().path());
    match gate.admit(request.headers(), peer.as_deref(), needed) {
        Ok(()) => next.run(request).await,
        Err(denied) => refuse(denied, &request),
    }
}

/// What it takes. Whatever is not listed takes everything, so that what is added is closed.
fn needed(path: &str) -> AdminAccess {
    const ADMIN: &str = "/collector.v1.Admin/";
    match path.strip_prefix(ADMIN) {
        // What changes nothing and shows no event.
        Some(
            "Status" | "Audit" | "ListFlows" | "GetFlow" | "CheckFlows" | "ListSinks"
            | "ListPenalties" | "ListBuckets" | "ListDeadLetters",
        ) => AdminAccess::View,
        Some(_) => AdminAccess::Full,
        None => match path {
            "/health/live" | "/health/ready" => AdminAccess::None,
            "/" | "/metrics" | "/api/v1/status" => AdminAccess::View,
            _ => AdminAccess::Full,
        },
    }
}

fn refuse(denied: Denied, request: &Request) -> Response {
    let kind = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if kind.is_some_and(|kind| kind.starts_with(b"application/grpc")) {
        return denied.into_status().into_http();
    }
    let status = denied.http_status();
    let mut response = (status, format!("{denied}\n")).into_response();
    if matches!(denied, Denied::Unknown(_)) {
        let bearer = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_open_and_what_changes_or_shows_events_takes_everything() {
        assert_eq!(needed("/health/ready"), AdminAccess::None);
        assert_eq!(needed("/metrics"), AdminAccess::View);
        assert_eq!(needed("/collector.v1.Admin/Status"), AdminAccess::View);
        for path in ["ApplyFlows", "Tap", "ShowDeadLetters", "AbandonLineage", "ResolveBucket"] {
            let path = format!("/collector.v1.Admin/{path}");
            assert_eq!(needed(&path), AdminAccess::Full, "{path}");
        }
        assert_eq!(needed("/whatever/comes"), AdminAccess::Full);
    }
}
