//! A ledger that is answered as over a bad network.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sdk_config::ledger::{
    BucketKey, CommitFile, Grant, Hole, Intent, Refusal, Root, RootClaim, RootId, Span,
};
use sdk_files::ledger::{Ledger, LedgerError, MemoryLedger, Raise};
use sdk_flow::Entropy;
use tokio_util::sync::CancellationToken;

/// A [`MemoryLedger`] whose answers get lost, before or after the call was applied.
#[derive(Clone)]
pub(crate) struct FaultyLedger {
    pub(crate) ledger: MemoryLedger,
    pub(crate) entropy: Arc<dyn Entropy>,
    state: Arc<Mutex<State>>,
}

struct State {
    /// In thousandths of the calls.
    lost: u64,
    calls: u64,
    crash_at: Option<u64>,
    crashed: CancellationToken,
    /// An acquire whose answer got lost and that is applied later.
    late_acquire: Option<Vec<RootClaim>>,
}

type Answers = Result<Vec<Result<(), Refusal>>, LedgerError>;

impl FaultyLedger {
    pub(crate) fn new(ledger: MemoryLedger, entropy: Arc<dyn Entropy>, lost: u64) -> FaultyLedger {
        let state = State {
            lost,
            calls: 0,
            crash_at: None,
            crashed: CancellationToken::new(),
            late_acquire: None,
        };
        FaultyLedger { ledger, entropy, state: Arc::new(Mutex::new(state)) }
    }

    pub(crate) fn set_lost(&self, lost: u64) {
        self.state.lock().unwrap().lost = lost;
    }

    pub(crate) fn calls(&self) -> u64 {
        self.state.lock().unwrap().calls
    }

    pub(crate) fn crash_after(&self, calls: u64) -> CancellationToken {
        let mut state = self.state.lock().unwrap();
        state.crash_at = Some(state.calls + calls);
        state.crashed = CancellationToken::new();
        state.crashed.clone()
    }

    pub(crate) fn restart(&self) {
        self.state.lock().unwrap().crash_at = None;
    }

    async fn spoil<T>(
        &self,
        call: impl Future<Output = Result<T, LedgerError>>,
    ) -> Result<T, LedgerError> {
        tokio::task::yield_now().await;
        let late = {
            let mut state = self.state.lock().unwrap();
            if self.entropy.below(3) == 0 { state.late_acquire.take() } else { None }
        };
        if let Some(claims) = late {
            let _ = self.ledger.acquire(&claims).await;
        }
        let (crash, lost) = {
            let mut state = self.state.lock().unwrap();
            state.calls += 1;
            let crash = state.crash_at.is_some_and(|at| state.calls >= at);
            if crash {
                state.crashed.cancel();
            }
            (crash, self.entropy.below(1000) < state.lost)
        };
        let effect = self.entropy.below(2) == 0;
        let (before, after) = (self.entropy.below(120), self.entropy.below(120));
        if before < 40 {
            tokio::time::sleep(Duration::from_millis(before)).await;
        }
        if crash || lost {
            if effect {
                let _ = call.await;
            }
            if crash {
                std::future::pending::<()>().await;
            }
            return Err(LedgerError::Unavailable("no answer".into()));
        }
        let answer = call.await;
        if after < 40 {
            tokio::time::sleep(Duration::from_millis(after)).await;
        }
        answer
    }
}

#[async_trait]
impl Ledger for FaultyLedger {
    async fn acquire(&self, roots: &[RootClaim]) -> Result<Grant, LedgerError> {
        let answer = self.spoil(self.ledger.acquire(roots)).await;
        if let Err(LedgerError::Unavailable(_)) = &answer
            && self.entropy.below(2) == 0
        {
            self.state.lock().unwrap().late_acquire = Some(roots.to_vec());
        }
        answer
    }

    async fn recorded_root(&self, path: &str) -> Result<Option<RootId>, LedgerError> {
        self.spoil(self.ledger.recorded_root(path)).await
    }

    async fn record_root(&self, root: Root) -> Result<RootId, LedgerError> {
        self.spoil(self.ledger.record_root(root)).await
    }

    async fn show_roots(&self, token: u64, claims: Vec<RootClaim>) -> Answers {
        self.spoil(self.ledger.show_roots(token, claims)).await
    }

    async fn fenced(&self, token: u64, cleaned: Vec<(u64, Root)>) -> Result<(), LedgerError> {
        self.spoil(self.ledger.fenced(token, cleaned)).await
    }

    async fn intend(&self, token: u64, intents: Vec<Intent>) -> Answers {
        self.spoil(self.ledger.intend(token, intents)).await
    }

    async fn commit(&self, token: u64, files: Vec<CommitFile>) -> Answers {
        self.spoil(self.ledger.commit(token, files)).await
    }

    async fn raise_floor(&self, token: u64, raise: Raise) -> Result<(), LedgerError> {
        self.spoil(self.ledger.raise_floor(token, raise)).await
    }

    async fn quarantine(
        &self,
        token: u64,
        bucket: BucketKey,
        reason: String,
    ) -> Result<(), LedgerError> {
        self.spoil(self.ledger.quarantine(token, bucket, reason)).await
    }

    async fn release(&self, token: u64, bucket: BucketKey) -> Result<(), LedgerError> {
        self.spoil(self.ledger.release(token, bucket)).await
    }

    async fn add_hole(
        &self,
        token: u64,
        bucket: BucketKey,
        hole: Hole,
        continues: bool,
    ) -> Result<(), LedgerError> {
        self.spoil(self.ledger.add_hole(token, bucket, hole, continues)).await
    }

    async fn give_up(&self, token: u64, bucket: BucketKey, span: Span) -> Result<(), LedgerError> {
        self.spoil(self.ledger.give_up(token, bucket, span)).await
    }
}
