//! The pages of the admin port: `/`, `/metrics`, `/health/*`, `/api/v1/status`.

use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use proto::v1::StatusReply;
use std::collections::BTreeSet;
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

async fn metrics(State(faces): State<Arc<dyn Faces>>, headers: HeaderMap) -> impl IntoResponse {
    let accepted = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let open_metrics =
        accepted.is_some_and(|accept| accept.contains("application/openmetrics-text"));
    let text = faces.metrics();
    if open_metrics {
        let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        ([(header::CONTENT_TYPE, format)], text)
    } else {
        (
            [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
            prometheus_text(&text),
        )
    }
}

/// OpenMetrics in Prometheus' older text format, for those who do not ask for the newer: there the
/// comments on a counter bear its full name, and nothing else is said in comments.
fn prometheus_text(open_metrics: &str) -> String {
    let counters: BTreeSet<&str> = open_metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        let comment = line.strip_prefix("# ").and_then(|rest| {
            let (keyword, rest) = rest.split_once(' ')?;
            let (name, rest) = rest.split_once(' ')?;
            Some((keyword, name, rest))
        });
        match comment {
            Some(("HELP" | "TYPE", name, _)) if !counters.contains(name) => text.push_str(line),
            Some((keyword @ ("HELP" | "TYPE"), name, rest)) => {
                text.push_str(&format!("# {keyword} {name}_total {rest}"));
            }
            _ if line.starts_with('#') => continue,
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_bear_their_full_name_in_the_older_format() {
        let open_metrics = "# HELP puts Puts.\n# TYPE puts counter\nputs_total 3\n\
                            # HELP wait Wait.\n# TYPE wait gauge\n# UNIT wait seconds\nwait 1\n# EOF\n";
        let text = "# HELP puts_total Puts.\n# TYPE puts_total counter\nputs_total 3\n\
                    # HELP wait Wait.\n# TYPE wait gauge\nwait 1\n";
        assert_eq!(prometheus_text(open_metrics), text);
    }
}
