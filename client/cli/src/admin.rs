//! The node that is asked: the first of the endpoints that answers.

use crate::arguments::Global;
use anyhow::{Context, Result, anyhow};
use proto::v1::admin_client::AdminClient;
use sdk_tls::Link;
use std::time::Duration;
use tonic::Status;
use tonic::transport::Endpoint;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A deep audit reads files for as long as it takes: the deadline is on silence, by keep-alive.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// An audit of many files has many findings.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// No endpoint answered.
#[derive(Debug)]
pub(crate) struct Unreachable {
    reasons: Vec<String>,
}

impl Unreachable {
    pub(crate) fn because(reason: String) -> Self {
        Self { reasons: vec![reason] }
    }
}

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no node answers: {}", self.reasons.join("; "))
    }
}

impl std::error::Error for Unreachable {}

/// Connects to the first endpoint that answers.
pub(crate) async fn connect(global: &Global) -> Result<AdminClient<Link>> {
    Ok(connect_to(global).await?.1)
}

/// The same, and which endpoint that is.
pub(crate) async fn connect_to(global: &Global) -> Result<(String, AdminClient<Link>)> {
    let security = global.security.client()?;
    let mut reasons = Vec::new();
    for url in &global.endpoint {
        let endpoint = Endpoint::from_shared(url.clone())
            .with_context(|| {
                format!("`{url}` is not an endpoint: write http://HOST:PORT or https://HOST:PORT")
            })?
            .connect_timeout(CONNECT_WITHIN)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        match security.connect(&endpoint).await {
            Ok(link) => {
                let client = AdminClient::new(link);
                return Ok((url.clone(), client.max_decoding_message_size(ANSWER_BYTES_MAX)));
            }
            Err(reason) => reasons.push(format!("{url}: {reason}")),
        }
    }
    Err(Unreachable { reasons }.into())
}

/// What a refused call says, as one sentence.
pub(crate) fn refusal(status: Status) -> anyhow::Error {
    match status.code() {
        tonic::Code::Unavailable => Unreachable::because(status.message().to_owned()).into(),
        _ => anyhow!("{}", status.message()),
    }
}
