//! Which node to talk to, and when to try again.

use std::time::Duration;

use futures::FutureExt as _;
use proto::v1::{Code, OpenSessionResponse};
use tokio::time::Instant;
use tracing::debug;

use super::answers::kind;
use super::{Driver, Site, State, Up};
use crate::breaker::Breaker;
use crate::endpoint::Endpoint;
use crate::metrics::{Links, add};
use crate::stream::link::{Hello, Link, connect};
use crate::stream::wire;

impl Driver {
    pub(super) fn connect(&mut self, now: Instant) {
        let count = self.sites.len();
        let mut again = None;
        for site in (0..count).map(|step| (self.preferred + step) % count) {
            match self.sites[site].breaker.attempt(now) {
                Ok(()) => {
                    let endpoint = self.sites[site].endpoint.clone();
                    let security = self.options.security.clone();
                    let attempt = connect(endpoint, security, self.hello()).boxed();
                    self.state = State::Connecting { site, attempt };
                    return self.show_links();
                }
                Err(at) => again = Some(again.map_or(at, |before: Instant| before.min(at))),
            }
        }
        // All breakers are open; without any endpoint there is only the deadline.
        self.state = State::Waiting(again.unwrap_or(now + self.options.retry.pause_max));
    }

    pub(super) fn hello(&self) -> Hello {
        let (lowest_sequence, sent) = self.window.lowest();
        let sent_earlier = self.options.sent && lowest_sequence == self.options.next_sequence;
        Hello {
            flow: self.options.flow.clone(),
            identity: self.identity,
            lowest_sequence,
            sent: sent || sent_earlier,
            ack: self.options.ack,
            epoch_seen: self.epoch_seen,
            client: self.options.client.clone(),
        }
    }

    pub(super) fn connected(&mut self, site: usize, link: Link, session: &OpenSessionResponse) {
        add(&self.counters.connections, 1);
        self.preferred = site;
        self.sites[site].breaker.success();
        self.epoch_seen = self.epoch_seen.max(session.epoch);
        let bound_as = self.window.take_number();
        self.window.expect(session.expected_sequence);
        let now = Instant::now();
        let wait = self.budget.spend(self.window.retries(), now);
        let paused_until = (!wait.is_zero()).then(|| now + wait);
        self.state =
            State::Up(Up { site, link: Box::new(link), paused_until, rebind: false, bound_as });
        let endpoint = &self.sites[site].endpoint;
        debug!(%endpoint, "connected");
        self.reason = format!("no answer yet from {endpoint}").into();
        self.show_links();
    }

    /// The node was reached and did not open the session.
    pub(super) fn refused_session(&mut self, site: usize, answer: OpenSessionResponse) {
        self.show(site, &answer.reason);
        let code = answer.code();
        match code {
            Code::ProducerExpired | Code::Generation => self.expired(),
            Code::Moved => self.moved(site, &answer.owner, answer.retry_after_ms),
            Code::Flow | Code::Level | Code::Invalid | Code::Denied => {
                self.reject_all(kind(code), &answer.reason);
                self.wait(site, self.options.retry.pause);
            }
            Code::ResourceExhausted => {
                // It answers: nothing is wrong with it.
                self.sites[site].breaker.success();
                self.failures = self.failures.saturating_add(1);
                self.wait(site, wire::delay(answer.retry_after_ms));
            }
            _ => self.failed(site, wire::delay(answer.retry_after_ms)),
        }
    }

    /// Another node owns the shard.
    pub(super) fn moved(&mut self, from: usize, owner: &str, retry_after_ms: u64) {
        let Ok(endpoint) = owner.parse::<Endpoint>() else {
            return self.failed(from, wire::delay(retry_after_ms));
        };
        self.sites[from].breaker.success();
        let known = self.sites.iter().position(|site| site.endpoint.url() == endpoint.url());
        self.preferred = known.unwrap_or_else(|| {
            // One that was learnt, in the place of the one learnt before.
            self.sites.truncate(self.options.endpoints.len());
            self.sites.push(Site { endpoint, breaker: Breaker::new(self.options.breaker.clone()) });
            self.sites.len() - 1
        });
        self.failures = self.failures.saturating_add(1);
        // Two nodes that point at each other must not be asked in a tight loop.
        let wait = if self.failures == 1 { Duration::ZERO } else { self.backoff() };
        self.state = State::Waiting(Instant::now() + wait);
        self.show_links();
    }

    pub(super) fn disconnected(&mut self, reason: &str) {
        let State::Up(Up { site, .. }) = self.state else { return };
        let idle = self.window.is_empty();
        self.window.disconnected();
        if idle {
            debug!(reason, "disconnected with nothing unanswered");
            self.state = State::Idle;
            return self.show_links();
        }
        self.show(site, reason);
        self.failed(site, Duration::ZERO);
    }

    /// The site is of no use now: the next one at once, each again after a pause.
    pub(super) fn failed(&mut self, site: usize, retry_after: Duration) {
        self.sites[site].breaker.failure(Instant::now());
        self.failures = self.failures.saturating_add(1);
        self.wait(site, retry_after);
    }

    pub(super) fn wait(&mut self, site: usize, retry_after: Duration) {
        let count = self.sites.len();
        self.preferred = (site + 1) % count;
        let rounds = self.failures / u32::try_from(count).unwrap_or(u32::MAX);
        let all_tried = (self.failures as usize).is_multiple_of(count);
        let wait = match all_tried {
            true => {
                self.options.retry.backoff(rounds, self.options.entropy.as_ref()).max(retry_after)
            }
            false => Duration::ZERO,
        };
        self.state = State::Waiting(Instant::now() + wait);
        self.show_links();
    }

    pub(super) fn backoff(&self) -> Duration {
        self.options.retry.backoff(self.failures, self.options.entropy.as_ref())
    }

    pub(super) fn show(&mut self, site: usize, reason: &str) {
        let endpoint = &self.sites[site].endpoint;
        debug!(%endpoint, reason, "no answer from the node, will retry");
        self.reason = format!("{endpoint}: {reason}").into();
    }

    pub(super) fn show_links(&self) {
        let connected_to = match &self.state {
            State::Up(up) => Some(self.sites[up.site].endpoint.url().to_owned()),
            _ => None,
        };
        let state = |site: &Site| (site.endpoint.url().to_owned(), site.breaker.state());
        let breakers = self.sites.iter().map(state).collect();
        self.counters.set_links(Links { connected_to, breakers });
    }
}
