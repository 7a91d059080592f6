//! The pages of the admin port: `/metrics`, `/health/*`, `/api/v1/status`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use sdk_edge::Edge;
use sdk_tls::Gate;

/// What the pages show.
struct Faces {
    edge: Edge,
    registry: Registry,
}

/// The pages of an edge.
pub(crate) fn pages(edge: Edge, gate: &Gate) -> Router {
    let mut registry = Registry::default();
    gate.register(&mut registry);
    edge.register(&mut registry);
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/api/v1/status", get(status))
        .fallback(not_found)
        .with_state(Arc::new(Faces { edge, registry }))
}

async fn metrics(State(faces): State<Arc<Faces>>) -> Response {
    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let mut page = String::new();
    match text::encode(&mut page, &faces.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, format)], page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn live(State(faces): State<Arc<Faces>>) -> Response {
    health(faces.edge.live())
}

async fn ready(State(faces): State<Arc<Faces>>) -> Response {
    health(faces.edge.ready())
}

fn health(state: Result<(), String>) -> Response {
    match state {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn status(State(faces): State<Arc<Faces>>) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-store")], axum::Json(faces.edge.status()))
}

async fn not_found() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "not here: /metrics /health/live /health/ready /api/v1/status\n")
}
