//! What an answer of the node means for what was sent.

use std::sync::atomic::Ordering;
use std::time::Duration;

use proto::v1::{AppendResponse, Code, OpenSessionResponse};
use sdk_event::EventId;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Driver, State, Up};
use crate::error::{DeliveryError, Rejected};
use crate::metrics::add;
use crate::stream::generation::next_generation;
use crate::stream::window::{Subject, Window};
use crate::stream::{Identity, OnExpired, OnRejected, Stored, wire};

impl Driver {
    pub(super) fn answer(&mut self, answer: &AppendResponse) {
        let code = answer.code();
        let Some(subject) = self.window.answered(answer.number) else {
            let bound_as = match &self.state {
                State::Up(up) => Some(up.bound_as),
                _ => None,
            };
            if bound_as == Some(answer.number) && code != Code::Ok {
                self.refused_bind(answer);
            }
            return;
        };
        match code {
            Code::Ok => self.stored(subject, answer),
            Code::Lost => {
                let settled = self.window.settle(subject, Err(DeliveryError::Lost));
                self.settle_all(settled);
            }
            Code::Sequence if self.window.is_passed_gap(subject, answer.expected_sequence) => {
                // The gap is there already; what was sent behind it was refused all the same.
                self.window.refuse(subject);
                let _ = self.window.settle(subject, Err(DeliveryError::Closed));
                self.pause(Duration::ZERO);
            }
            Code::Sequence => self.sequence(subject, answer),
            Code::BehindRejected => self.window.refuse(subject),
            Code::Unknown => {
                self.window.doubt(subject);
                self.refuse(subject, answer);
            }
            Code::ProducerExpired | Code::Generation => {
                self.window.refuse(subject);
                self.window.disconnected();
                self.expired();
            }
            Code::Moved => {
                self.window.refuse(subject);
                if let State::Up(Up { site, .. }) = self.state {
                    self.window.disconnected();
                    self.moved(site, &answer.owner, answer.retry_after_ms);
                }
            }
            // The token was taken back: a new connection reads the file with the new one.
            Code::Denied => {
                self.reason = answer.reason.as_str().into();
                self.window.refuse(subject);
                if let State::Up(Up { site, .. }) = self.state {
                    self.window.disconnected();
                    self.failed(site, Duration::ZERO);
                }
            }
            Code::Invalid | Code::Conflict | Code::Level | Code::Flow => {
                let reason = answer.reason.as_str().into();
                self.reject(subject, DeliveryError::Rejected { kind: kind(code), reason });
            }
            Code::ResourceExhausted | Code::Unavailable | Code::Unspecified => {
                self.refuse(subject, answer);
            }
        }
    }

    fn stored(&mut self, subject: Subject, answer: &AppendResponse) {
        self.failures = 0;
        let coordinates = answer.coordinates.unwrap_or_default();
        let Identity { producer, generation } = self.identity;
        let stored = Stored {
            level: wire::to_level(answer.level()),
            lineage: wire::lineage(&coordinates),
            first_offset: coordinates.first_offset,
            count: coordinates.count,
            duplicate: answer.duplicate,
            first: EventId { producer, generation, sequence: subject.first },
        };
        self.epoch_seen = self.epoch_seen.max(coordinates.epoch);
        let settled = self.window.settle(subject, Ok(stored));
        self.settle_all(settled);
    }

    /// The node stands elsewhere than we thought.
    fn sequence(&mut self, subject: Subject, answer: &AppendResponse) {
        let expected = answer.expected_sequence;
        if subject.first < expected && expected < subject.next {
            // Part of it is stored under other blocks' borders: no retry can change that.
            let reason = answer.reason.as_str().into();
            return self
                .reject(subject, DeliveryError::Rejected { kind: Rejected::Conflict, reason });
        }
        self.window.refuse(subject);
        self.window.expect(expected);
        // The first time it is an ordinary resumption, in a row it is a defect.
        let wait = if self.failures == 0 { Duration::ZERO } else { self.backoff() };
        self.failures = self.failures.saturating_add(1);
        self.pause(wait);
    }

    /// Not stored this time: again after a pause, and those behind it with it.
    fn refuse(&mut self, subject: Subject, answer: &AppendResponse) {
        self.reason = answer.reason.as_str().into();
        self.window.refuse(subject);
        self.failures = self.failures.saturating_add(1);
        let wait = self.backoff().max(wire::delay(answer.retry_after_ms));
        self.pause(wait);
        if answer.code() == Code::Unavailable
            && self.sites.len() > 1
            && let State::Up(Up { site, .. }) = self.state
        {
            self.window.disconnected();
            self.failed(site, wire::delay(answer.retry_after_ms));
        }
    }

    /// The block is not acceptable, whatever the node.
    fn reject(&mut self, subject: Subject, error: DeliveryError) {
        warn!(first_sequence = subject.first, %error, "a block was rejected");
        match self.options.on_rejected {
            OnRejected::GoOn => {
                let settled = self.window.give_up(subject, Err(error));
                self.settle_all(settled);
            }
            OnRejected::Stop => {
                let settled = self.window.cut(subject, Err(error));
                self.settle_all(settled);
            }
        }
        self.pause(Duration::ZERO);
    }

    /// No block is acceptable as things are.
    pub(super) fn reject_all(&mut self, kind: Rejected, reason: &str) {
        warn!(reason, "the node rejects the stream");
        let error = DeliveryError::Rejected { kind, reason: reason.into() };
        let (next, sent) = self.window.lowest();
        let settled = self.window.fail_all(|perhaps| {
            let reason = reason.into();
            if perhaps { DeliveryError::Unknown { reason } } else { error.clone() }
        });
        if self.options.on_rejected == OnRejected::Stop {
            self.window = Window::new(next);
            if sent {
                self.may_have_been_sent(next);
            }
        }
        self.settle_all(settled);
    }

    /// The caller sends from `next` on, which it may have done before.
    pub(super) fn may_have_been_sent(&mut self, next: u64) {
        self.options.next_sequence = next;
        self.options.sent = true;
    }

    fn refused_bind(&mut self, answer: &AppendResponse) {
        self.reason = answer.reason.as_str().into();
        let State::Up(Up { site, .. }) = self.state else { return };
        self.window.disconnected();
        let session = OpenSessionResponse {
            code: answer.code,
            reason: answer.reason.clone(),
            retry_after_ms: answer.retry_after_ms,
            owner: answer.owner.clone(),
            ..OpenSessionResponse::default()
        };
        self.refused_session(site, session);
    }

    /// The node does not know us, or knows somebody newer.
    pub(super) fn expired(&mut self) {
        self.state = State::Idle;
        self.window.disconnected();
        match self.options.on_expired {
            OnExpired::Fail => {
                warn!(producer = %self.identity.producer, "the node does not remember the producer");
                self.dead = true;
                let settled = self
                    .window
                    .fail_all(|perhaps_stored| DeliveryError::ProducerExpired { perhaps_stored });
                self.settle_all(settled);
            }
            OnExpired::NewGeneration { resend_doubtful } => {
                let generation = next_generation(self.identity);
                self.identity.generation = generation;
                self.generation.store(generation, Ordering::Release);
                info!(producer = %self.identity.producer, generation, "a new generation is taken");
                self.options.sent = false;
                let (settled, resent) = self.window.regenerate(generation, resend_doubtful);
                add(&self.counters.doubtful_resent_events, resent);
                self.settle_all(settled);
                // A node that forgets at once must not be asked in a tight loop.
                if self.failures > 0 {
                    self.state = State::Waiting(Instant::now() + self.backoff());
                }
                self.failures = self.failures.saturating_add(1);
            }
        }
        self.show_links();
    }
}

pub(super) fn kind(code: Code) -> Rejected {
    match code {
        Code::Conflict => Rejected::Conflict,
        Code::Level => Rejected::Level,
        Code::Flow => Rejected::Flow,
        Code::Denied => Rejected::Denied,
        _ => Rejected::Invalid,
    }
}
