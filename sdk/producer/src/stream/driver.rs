//! The task behind a stream: it waits in [`Driver::next_event`] and decides in [`Driver::apply`].

mod answers;
mod sites;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::BoxFuture;
use proto::v1::append_request::Kind;
use proto::v1::{AppendRequest, AppendResponse, OpenSessionResponse};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::debug;

use super::link::{Link, LinkError, goodbye};
use super::window::{Message, Outgoing, Settled, Window};
use super::{Command, Identity, StreamOptions, with_generation};
use crate::breaker::Breaker;
use crate::endpoint::Endpoint;
use crate::error::DeliveryError;
use crate::metrics::{Counters, add};
use crate::retry::Budget;

/// How long what was sent may still take once every handle is gone and it has no deadline.
const LINGER_MAX: Duration = Duration::from_secs(30);

/// Owns the window and the connection.
pub(super) struct Driver {
    options: StreamOptions,
    identity: Identity,
    commands: mpsc::UnboundedReceiver<Command>,
    counters: Arc<Counters>,
    window: Window,
    state: State,
    sites: Vec<Site>,
    /// The site to try first.
    preferred: usize,
    /// Attempts in a row that came to nothing.
    failures: u32,
    budget: Budget,
    epoch_seen: u64,
    /// What stood in the way last.
    reason: Arc<str>,
    /// The identity's, for callers to see.
    generation: Arc<AtomicU64>,
    /// The producer is refused for good.
    dead: bool,
    flushes: Vec<(u64, oneshot::Sender<()>)>,
    closing: Option<oneshot::Sender<()>>,
    /// Every handle is gone: when to give up.
    orphaned: Option<Instant>,
}

/// One endpoint.
struct Site {
    endpoint: Endpoint,
    breaker: Breaker,
}

enum State {
    /// Not connected, and no reason to be.
    Idle,
    /// Not connected until then.
    Waiting(Instant),
    Connecting {
        site: usize,
        attempt: BoxFuture<'static, Result<(Link, OpenSessionResponse), LinkError>>,
    },
    Up(Up),
}

struct Up {
    site: usize,
    link: Box<Link>,
    /// Nothing is sent before.
    paused_until: Option<Instant>,
    /// The stream must be bound again before anything else is sent.
    rebind: bool,
    /// The number of the last bind.
    bound_as: u64,
}

enum Event {
    Command(Command),
    /// Every handle is gone.
    Orphaned,
    Connected(usize, Box<Result<(Link, OpenSessionResponse), LinkError>>),
    Answer(Result<Option<AppendResponse>, Status>),
    MaySend,
    Tick,
    Stop,
}

impl Driver {
    pub(super) fn new(
        options: StreamOptions,
        commands: mpsc::UnboundedReceiver<Command>,
        counters: Arc<Counters>,
        generation: Arc<AtomicU64>,
    ) -> Driver {
        let site = |endpoint: &Endpoint| Site {
            endpoint: endpoint.clone(),
            breaker: Breaker::new(options.breaker.clone()),
        };
        let sites = options.endpoints.iter().map(site).collect();
        let driver = Driver {
            identity: Identity { producer: options.producer, generation: options.generation },
            commands,
            counters,
            window: Window::new(options.next_sequence),
            state: State::Idle,
            sites,
            preferred: 0,
            failures: 0,
            budget: Budget::new(&options.retry),
            epoch_seen: 0,
            reason: "no node was reached".into(),
            generation,
            dead: false,
            flushes: Vec::new(),
            closing: None,
            orphaned: None,
            options,
        };
        driver.show_links();
        driver
    }

    /// Runs until closed, or until nobody is left to answer, or until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let event = self.next_event(&stop).await;
            if matches!(event, Event::Stop) {
                break;
            }
            self.apply(event);
            self.go_on();
            if self.is_over() {
                break;
            }
        }
        let settled = self.window.fail_all(|_| DeliveryError::Closed);
        self.settle_all(settled);
        if self.closing.is_some() {
            stop.run_until_cancelled(self.say_goodbye()).await;
        }
        self.state = State::Idle;
        self.show_links();
        if let Some(done) = self.closing {
            let _ = done.send(());
        }
    }

    /// Tells a node that the producer is done, if there ever was one that knows it.
    async fn say_goodbye(&mut self) {
        let known = self.epoch_seen > 0 && !self.dead;
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Up(up) => up.link.close().await,
            _ if known => {
                let endpoint = self.sites[self.preferred].endpoint.clone();
                let security = self.options.security.clone();
                goodbye(endpoint, security, self.hello()).await;
            }
            _ => {}
        }
    }

    /// Waits. Changes nothing.
    async fn next_event(&mut self, stop: &CancellationToken) -> Event {
        let may_send = self.may_send();
        let tick = self.next_tick();
        let wake = async {
            match tick {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let orphaned = self.orphaned.is_some();
        tokio::select! {
            biased;
            () = stop.cancelled() => Event::Stop,
            event = next_of(&mut self.state, may_send) => event,
            command = self.commands.recv(), if !orphaned => match command {
                Some(command) => Event::Command(command),
                None => Event::Orphaned,
            },
            () = wake => Event::Tick,
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Command(command) => self.command(command),
            Event::Orphaned => self.orphaned = Some(Instant::now() + LINGER_MAX),
            Event::Connected(site, result) => match *result {
                Ok((link, session)) => self.connected(site, link, &session),
                Err(LinkError::Unreachable(reason)) => {
                    self.show(site, &reason);
                    self.failed(site, Duration::ZERO);
                }
                Err(LinkError::Refused(answer)) => self.refused_session(site, *answer),
            },
            Event::Answer(Ok(Some(answer))) => self.answer(&answer),
            Event::Answer(Ok(None)) => self.disconnected("the node ended the stream"),
            Event::Answer(Err(status)) => self.disconnected(status.message()),
            Event::MaySend => self.send_what_fits(),
            Event::Tick | Event::Stop => {}
        }
    }

    /// What follows from where things stand, whatever the event was.
    fn go_on(&mut self) {
        let now = Instant::now();
        let expired = self.window.expire(now, &self.reason);
        self.settle_all(expired);
        if self.orphaned.is_some_and(|give_up| give_up <= now) {
            let reason = Arc::clone(&self.reason);
            let settled = self.window.restart(self.window.next(), &reason);
            self.settle_all(settled);
        }
        let window = &self.window;
        for (_, done) in self.flushes.extract_if(.., |(mark, _)| window.is_settled_before(*mark)) {
            let _ = done.send(());
        }
        if let State::Up(up) = &mut self.state {
            up.paused_until = up.paused_until.filter(|until| *until > now);
        }
        match &self.state {
            State::Idle if !self.window.is_settled() => self.connect(now),
            State::Waiting(until) if *until <= now => self.connect(now),
            // Nobody waits for what could not be delivered.
            State::Waiting(_) if self.window.is_settled() => self.state = State::Idle,
            _ => {}
        }
    }

    fn is_over(&self) -> bool {
        (self.closing.is_some() || self.orphaned.is_some()) && self.window.is_settled()
    }

    fn next_tick(&self) -> Option<Instant> {
        let state = match &self.state {
            State::Waiting(until) => Some(*until),
            State::Up(Up { paused_until, .. }) => *paused_until,
            State::Idle | State::Connecting { .. } => None,
        };
        [state, self.window.deadline(), self.orphaned].into_iter().flatten().min()
    }

    fn may_send(&self) -> bool {
        let State::Up(up) = &self.state else { return false };
        up.paused_until.is_none() && !self.window.is_unwinding() && self.window.has_unsent()
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Block { block, deadline, reply } => {
                // The caller may not know of a new generation yet.
                let generation = self.identity.generation;
                let block = match block.header().generation == generation {
                    true => block,
                    false => with_generation(&block, generation),
                };
                if self.dead {
                    reply(Err(DeliveryError::ProducerExpired { perhaps_stored: false }));
                    return;
                }
                add(&self.counters.in_flight_bytes, block.bytes().len() as u64);
                let bytes = block.bytes().len();
                if let Err(reply) = self.window.push(block, deadline, reply) {
                    self.counters.in_flight_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
                    reply(Err(DeliveryError::Behind));
                }
            }
            Command::Gap { first, next } => {
                if !self.window.push_gap(first, next) {
                    debug!(
                        first,
                        next,
                        expected = self.window.next(),
                        "gap ignored, it is not in its place"
                    );
                }
            }
            Command::Restart { next } => {
                let reason = Arc::clone(&self.reason);
                let settled = self.window.restart(next, &reason);
                self.settle_all(settled);
                self.may_have_been_sent(next);
            }
            Command::Flush(done) => self.flushes.push((self.window.next(), done)),
            Command::Close(done) => self.closing = Some(done),
        }
    }

    /// Has the stream bound again, not before `wait` is over.
    fn pause(&mut self, wait: Duration) {
        if let State::Up(up) = &mut self.state {
            up.rebind = true;
            up.paused_until = (!wait.is_zero()).then(|| Instant::now() + wait);
        }
    }

    /// Sends as long as the connection takes it.
    fn send_what_fits(&mut self) {
        let State::Up(up) = &mut self.state else { return };
        if up.rebind {
            let Ok(permit) = up.link.requests.try_reserve() else { return };
            permit.send(up.link.bind());
            up.rebind = false;
            up.bound_as = self.window.take_number();
            self.window.resume();
            let now = Instant::now();
            let wait = self.budget.spend(self.window.retries(), now);
            up.paused_until = (!wait.is_zero()).then(|| now + wait);
        }
        while up.paused_until.is_none()
            && !self.window.is_unwinding()
            && let Ok(permit) = up.link.requests.try_reserve()
        {
            let Some(Outgoing { message, again }) = self.window.take_unsent() else { break };
            if again {
                add(&self.counters.retried_blocks, 1);
            } else {
                self.budget.sent();
            }
            let kind = match message {
                Message::Block(bytes) => Kind::Block(bytes),
                Message::Gap { first, next } => {
                    Kind::Gap(proto::v1::Gap { first_sequence: first, next_sequence: next })
                }
            };
            permit.send(AppendRequest { kind: Some(kind) });
        }
    }

    fn settle_all(&mut self, settled: impl IntoIterator<Item = Settled>) {
        for Settled { reply, events, bytes, result } in settled {
            let (events, bytes) = (u64::from(events), bytes as u64);
            let counters = &self.counters;
            counters.in_flight_bytes.fetch_sub(bytes, Ordering::Relaxed);
            match &result {
                Ok(stored) => {
                    add(&counters.acked_events, events);
                    add(&counters.acked_blocks, 1);
                    add(&counters.acked_bytes, bytes);
                    add(&counters.duplicate_blocks, u64::from(stored.duplicate));
                }
                Err(DeliveryError::Rejected { .. }) => add(&counters.rejected_events, events),
                Err(DeliveryError::Expired { .. }) => add(&counters.expired_events, events),
                Err(error) if !error.is_certain() => add(&counters.unknown_events, events),
                Err(_) => {}
            }
            reply(result);
        }
    }
}

/// The next event of the connection. Cancel-safe.
async fn next_of(state: &mut State, may_send: bool) -> Event {
    match state {
        State::Idle | State::Waiting(_) => std::future::pending().await,
        State::Connecting { site, attempt } => {
            let result = attempt.await;
            Event::Connected(*site, Box::new(result))
        }
        State::Up(up) => tokio::select! {
            biased;
            answer = up.link.answers.message() => Event::Answer(answer),
            // When it fails the stream has ended, which the answers say better.
            Ok(_) = up.link.requests.reserve(), if may_send => Event::MaySend,
        },
    }
}
