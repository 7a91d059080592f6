//! The file sink's ledger over the replicated state does what every ledger must.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sdk_config::ledger::{
    BucketKey, CommitFile, Grant, Hole, Intent, Refusal, Root, RootClaim, RootId, Span,
};
use sdk_event::Lineage;
use sdk_files::ledger::conformance::{Subject, check};
use sdk_files::ledger::{Ledger, LedgerError, Raise};
use sdk_flow::Tasks;
use server_cluster::command::{
    Acquire, AddHole, GiveUp, LedgerAction, Lost, OnLedger, RaiseFloor, RecordRoot, Seal, ShardSeal,
};
use server_cluster::state::{LostRange, Opening};
use server_cluster::{Command, Reply};
use server_raft::{Raft, RaftHandle, RaftOptions};
use tokio::sync::Mutex;

use crate::support::{flow, setup};

/// The ledger of one lineage, through Raft.
struct OverRaft {
    raft: RaftHandle,
    lineage: Lineage,
    turn: Mutex<(u64, u64)>,
    roots: Arc<AtomicU64>,
}

impl OverRaft {
    async fn propose(&self, command: impl Into<Command>) -> Reply {
        self.raft.propose(command).await.unwrap()
    }

    async fn act(&self, token: u64, action: LedgerAction) -> Result<Vec<u32>, LedgerError> {
        self.answers(token, action).await.map(|refused| refused.iter().map(|it| it.0).collect())
    }

    async fn answers(
        &self,
        token: u64,
        action: LedgerAction,
    ) -> Result<Vec<(u32, Refusal)>, LedgerError> {
        let mut turn = self.turn.lock().await;
        if turn.0 != token {
            *turn = (token, 0);
        }
        turn.1 += 1;
        let (lineage, number) = (self.lineage, turn.1);
        match self.propose(OnLedger { lineage, group: 1, token, number, action }).await {
            Reply::Ledger(answer) => Ok(answer?.refused),
            other => panic!("{other:?}"),
        }
    }

    async fn each(
        &self,
        token: u64,
        items: usize,
        action: LedgerAction,
    ) -> Result<Vec<Result<(), Refusal>>, LedgerError> {
        let refused = self.answers(token, action).await?;
        Ok(server_cluster::command::Answer { refused }.results(items))
    }
}

#[async_trait]
impl Ledger for OverRaft {
    async fn acquire(&self, roots: &[RootClaim]) -> Result<Grant, LedgerError> {
        let (lineage, roots) = (self.lineage, roots.to_vec());
        match self.propose(Acquire { lineage, group: 1, node: 1, incarnation: 1, roots }).await {
            Reply::Granted(grant) => Ok(*grant?),
            other => panic!("{other:?}"),
        }
    }

    async fn recorded_root(&self, path: &str) -> Result<Option<RootId>, LedgerError> {
        Ok(self.raft.read(|state| state.roots().get(path).copied()))
    }

    async fn record_root(&self, root: Root) -> Result<RootId, LedgerError> {
        match self.propose(RecordRoot { root }).await {
            Reply::Root(id) => Ok(id),
            other => panic!("{other:?}"),
        }
    }

    async fn show_roots(
        &self,
        token: u64,
        claims: Vec<RootClaim>,
    ) -> Result<Vec<Result<(), Refusal>>, LedgerError> {
        self.each(token, claims.len(), LedgerAction::ShowRoots(claims)).await
    }

    async fn fenced(&self, token: u64, cleaned: Vec<(u64, Root)>) -> Result<(), LedgerError> {
        self.act(token, LedgerAction::Fenced(cleaned)).await.map(drop)
    }

    async fn intend(
        &self,
        token: u64,
        intents: Vec<Intent>,
    ) -> Result<Vec<Result<(), Refusal>>, LedgerError> {
        self.each(token, intents.len(), LedgerAction::Intend(intents)).await
    }

    async fn commit(
        &self,
        token: u64,
        files: Vec<CommitFile>,
    ) -> Result<Vec<Result<(), Refusal>>, LedgerError> {
        self.each(token, files.len(), LedgerAction::Commit(files)).await
    }

    async fn raise_floor(&self, token: u64, raise: Raise) -> Result<(), LedgerError> {
        let before = self.raft.read(|state| {
            let ledger = state.ledger(self.lineage, 1);
            ledger.map_or(0, |ledger| ledger.book.stored)
        });
        let Raise { from, to, events, drops } = raise;
        let stored = before + events;
        let raise = RaiseFloor { from, to, stored, delivered: 0, dead_lettered: 0, drops };
        self.act(token, LedgerAction::RaiseFloor(raise)).await.map(drop)
    }

    async fn quarantine(
        &self,
        token: u64,
        bucket: BucketKey,
        reason: String,
    ) -> Result<(), LedgerError> {
        self.act(token, LedgerAction::Quarantine { bucket, reason }).await.map(drop)
    }

    async fn release(&self, token: u64, bucket: BucketKey) -> Result<(), LedgerError> {
        self.act(token, LedgerAction::Release(bucket)).await.map(drop)
    }

    async fn add_hole(
        &self,
        token: u64,
        bucket: BucketKey,
        hole: Hole,
        continues: bool,
    ) -> Result<(), LedgerError> {
        let hole = AddHole { bucket, hole, continues };
        self.act(token, LedgerAction::AddHole(hole)).await.map(drop)
    }

    async fn give_up(&self, token: u64, bucket: BucketKey, span: Span) -> Result<(), LedgerError> {
        self.act(token, LedgerAction::GiveUp(GiveUp { bucket, span })).await.map(drop)
    }
}

#[async_trait]
impl Subject for OverRaft {
    fn ledger(&self) -> &dyn Ledger {
        self
    }

    async fn seal(&self, end: u64) {
        let seal = ShardSeal {
            lineage: self.lineage,
            end,
            holders: vec![1],
            next: Opening { owner: 1, replicas: vec![1] },
            version: 1,
        };
        match self.propose(Seal { node: 1, incarnation: 1, shards: vec![seal] }).await {
            Reply::Sealed(seals) => assert_eq!(seals[0].as_ref().unwrap().end, end),
            other => panic!("{other:?}"),
        }
    }

    async fn lose(&self, span: Span) {
        let ranges = vec![LostRange { span, ids: Vec::new() }];
        let reply = self.propose(Lost { lineage: self.lineage, ranges }).await;
        assert_eq!(reply, Reply::Done);
    }

    fn fresh_root(&self) -> String {
        format!("/roots/{}", self.roots.fetch_add(1, Ordering::Relaxed))
    }
}

#[tokio::test]
async fn the_state_is_a_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let tasks = Tasks::new();
    let raft = Raft::start(
        RaftOptions { quota_bytes: 128 << 20, ..RaftOptions::new(dir.path(), 1) },
        &tasks,
    )
    .unwrap();
    for command in setup() {
        raft.propose(command).await.unwrap();
    }
    let (roots, flows) = (Arc::new(AtomicU64::new(0)), AtomicU64::new(0));
    check(async || {
        let name = format!("flow-{}", flows.fetch_add(1, Ordering::Relaxed));
        let Reply::Flow { flow, .. } = raft.propose(flow(&name)).await.unwrap() else {
            panic!("no flow")
        };
        OverRaft {
            raft: raft.clone(),
            lineage: Lineage { flow, shard: 0, epoch: 1 },
            turn: Mutex::default(),
            roots: Arc::clone(&roots),
        }
    })
    .await;
    assert!(tasks.stop(Duration::from_secs(10)).await.first_error.is_none());
}
