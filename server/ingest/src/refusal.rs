//! Why a request was not acknowledged, in the words of the protocol.

use std::borrow::Cow;
use std::time::Duration;

use proto::v1::{AppendResponse, Code, OpenSessionResponse};
use sdk_flow::{PutError, Rejection};
use sdk_tls::Denied;
use tonic::Status;
use tracing::error;

use crate::limits::RETRY_AFTER;
use crate::router::{CommitError, RouteError};
use crate::status;

/// An answer that is not OK.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) reason: Cow<'static, str>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) expected: Option<u64>,
    pub(crate) owner: Option<String>,
}

impl Refusal {
    pub(crate) fn new(code: Code, reason: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { code, reason: reason.into(), retry_after: None, expected: None, owner: None }
    }

    pub(crate) fn invalid(reason: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal::new(Code::Invalid, reason)
    }

    pub(crate) fn unavailable(reason: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal::new(Code::Unavailable, reason).after(RETRY_AFTER)
    }

    pub(crate) fn after(mut self, retry_after: Duration) -> Refusal {
        self.retry_after = Some(retry_after);
        self
    }

    pub(crate) fn expecting(mut self, sequence: u64) -> Refusal {
        self.expected = Some(sequence);
        self
    }

    fn retry_after_ms(&self) -> u64 {
        let delay = self.retry_after.unwrap_or_default();
        u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn into_answer(self, number: u64) -> AppendResponse {
        AppendResponse {
            number,
            code: self.code.into(),
            expected_sequence: self.expected.unwrap_or_default(),
            retry_after_ms: self.retry_after_ms(),
            reason: self.reason.into_owned(),
            owner: self.owner.unwrap_or_default(),
            ..AppendResponse::default()
        }
    }

    pub(crate) fn into_open_response(self) -> OpenSessionResponse {
        OpenSessionResponse {
            code: self.code.into(),
            retry_after_ms: self.retry_after_ms(),
            reason: self.reason.into_owned(),
            owner: self.owner.unwrap_or_default(),
            expected_sequence: self.expected.unwrap_or_default(),
            ..OpenSessionResponse::default()
        }
    }

    /// For a call whose only answer is its status. What is certainly not stored never gets one of
    /// the statuses that leave it open.
    pub(crate) fn into_status(self) -> Status {
        let reason = self.reason.as_ref();
        match self.code {
            Code::ResourceExhausted => {
                status::exhausted(reason, self.retry_after.unwrap_or(RETRY_AFTER))
            }
            Code::Invalid => Status::invalid_argument(reason),
            Code::Level => Status::failed_precondition(reason),
            Code::Flow => Status::not_found(reason),
            Code::Denied => Status::permission_denied(reason),
            Code::Lost => Status::data_loss(reason),
            Code::Unknown => Status::unknown(reason),
            _ => status::unavailable(reason, self.retry_after.unwrap_or(RETRY_AFTER)),
        }
    }
}

impl From<PutError> for Refusal {
    fn from(error: PutError) -> Refusal {
        let text = error.to_string();
        match error {
            PutError::Exhausted { retry_after, .. } => {
                Refusal::new(Code::ResourceExhausted, text).after(retry_after)
            }
            PutError::Stopped => Refusal::unavailable(text),
            PutError::Unknown(source) => {
                error!(error = %source, "a put has no known outcome");
                Refusal::new(Code::Unknown, text)
            }
            PutError::Rejected { reason } => match reason {
                Rejection::Expected(sequence) => {
                    Refusal::new(Code::Sequence, text).expecting(sequence)
                }
                Rejection::Generation(_) => Refusal::new(Code::Generation, text),
                Rejection::Expired => Refusal::new(Code::ProducerExpired, text),
                Rejection::Conflict => Refusal::new(Code::Conflict, text),
                Rejection::Lost => Refusal::new(Code::Lost, text),
                Rejection::Content(_) => Refusal::invalid(text),
            },
        }
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Refusal {
        Refusal::new(Code::Denied, denied.to_string())
    }
}

impl From<RouteError> for Refusal {
    fn from(error: RouteError) -> Refusal {
        let text = error.to_string();
        match error {
            RouteError::Flow(_) => Refusal::new(Code::Flow, text),
            RouteError::Moved { owner } => {
                Refusal { owner: Some(owner), ..Refusal::new(Code::Moved, text) }
            }
            RouteError::Unavailable { retry_after, .. } => {
                Refusal::new(Code::Unavailable, text).after(retry_after)
            }
        }
    }
}

impl From<CommitError> for Refusal {
    fn from(error: CommitError) -> Refusal {
        let code = match error {
            CommitError::Lost => Code::Lost,
            CommitError::Stopped => Code::Unknown,
        };
        Refusal::new(code, error.to_string())
    }
}
