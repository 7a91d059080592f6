//! The pages of the admin port: `/`, `/metrics`, `/health/*`, `/api/v1/status`.

use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use proto::v1::StatusReply;
use std::sync::Arc;

/// What the pages show.
#[async_trait]
pub(crate) trait Faces: Send + Sync + 'static {
    /// How everything is.
    async fn status(&self) -> StatusReply;
    /// Whether events are accepted, else why not.
    fn ready(&self) -> Result<(), String>;
    /// Whether the process is worth keeping, else why not: only a restart helps.
    fn live(&self) -> Result<(), String>;
    /// All metrics in the text format of OpenMetrics.
    fn metrics(&self) -> String;
}

/// The pages as a router.
pub(crate) fn pages(faces: Arc<dyn Faces>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/metrics", get(metrics))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/api/v1/status", get(status))
        .fallback(not_found)
        .with_state(faces)
}

async fn page() -> impl IntoResponse {
    // Everything the page needs is in it; whatever else it might ask for is refused.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                  img-src data:; connect-src 'self'; frame-ancestors 'none'";
    (
        [(header::CONTENT_SECURITY_POLICY, policy), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")],
        Html(include_str!("http/page.html")),
    )
}

async fn metrics(State(faces): State<Arc<dyn Faces>>) -> impl IntoResponse {
    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, format)], faces.metrics())
}

async fn live(State(faces): State<Arc<dyn Faces>>) -> Response {
    health(faces.live())
}

async fn ready(State(faces): State<Arc<dyn Faces>>) -> Response {
    health(faces.ready())
}

fn health(state: Result<(), String>) -> Response {
    match state {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn status(State(faces): State<Arc<dyn Faces>>) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-store")], axum::Json(faces.status().await))
}

async fn not_found() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "not here: / /metrics /health/live /health/ready /api/v1/status\n")
}
