//! gRPC statuses that say when to come back.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// A limit was reached; certainly not stored.
pub(crate) fn exhausted(reason: &str, retry_after: Duration) -> Status {
    with_delay(Code::ResourceExhausted, reason, retry_after)
}

/// Nobody takes it at the moment; certainly not stored.
pub(crate) fn unavailable(reason: &str, retry_after: Duration) -> Status {
    with_delay(Code::Unavailable, reason, retry_after)
}

fn with_delay(code: Code, reason: &str, retry_after: Duration) -> Status {
    Status::with_error_details(code, reason, ErrorDetails::with_retry_info(Some(retry_after)))
}
