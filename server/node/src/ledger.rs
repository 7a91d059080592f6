//! The file sink's ledger in the replicated state.

use crate::cluster::{Cluster, ClusterError};
use crate::off_thread::off_thread;
use async_trait::async_trait;
use sdk_channel::{RecoverError, Totals, totals_below};
use sdk_config::ledger::{
    BucketKey, CommitFile, Drops, Grant, Hole, Intent, Refusal, Root, RootClaim, RootId, Span,
};
use sdk_event::Lineage;
use sdk_files::ledger::{Ledger, LedgerError, Raise};
use sdk_flow::{GroupCounts, GroupStats};
use sdk_wal::Log;
use server_cluster::command::{
    Acquire, AddHole, GiveUp, LedgerAction, OnLedger, RaiseFloor, RecordRoot,
};
use server_cluster::{GroupNumber, Reply};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::Mutex;

/// The ledger of one (sink group, lineage), as this process uses it.
pub(crate) struct RaftLedger {
    cluster: Cluster,
    lineage: Lineage,
    group: GroupNumber,
    /// The number of the group's channel.
    channel: u8,
    log: Log,
    /// Proposals are numbered under a token and must arrive in that order, so one is made at a time.
    turn: Mutex<Turn>,
}

#[derive(Default)]
struct Turn {
    token: u64,
    number: u64,
}

impl RaftLedger {
    pub(crate) fn new(
        cluster: Cluster,
        lineage: Lineage,
        group: GroupNumber,
        channel: u8,
        log: Log,
    ) -> Self {
        Self { cluster, lineage, group, channel, log, turn: Mutex::default() }
    }

    async fn act(
        &self,
        token: u64,
        action: LedgerAction,
    ) -> Result<Vec<(u32, Refusal)>, LedgerError> {
        let mut turn = self.turn.lock().await;
        if turn.token != token {
            *turn = Turn { token, number: 0 };
        }
        turn.number += 1;
        let (lineage, group, number) = (self.lineage, self.group, turn.number);
        let proposal = OnLedger { lineage, group, token, number, action };
        match self.cluster.propose(proposal).await {
            Ok(Reply::Ledger(Ok(answer))) => Ok(answer.refused),
            Ok(Reply::Ledger(Err(refusal))) => Err(LedgerError::Refused(refusal)),
            other => Err(unavailable(other)),
        }
    }

    async fn act_each(
        &self,
        token: u64,
        action: LedgerAction,
        items: usize,
    ) -> Result<Vec<Result<(), Refusal>>, LedgerError> {
        let refused = self.act(token, action).await?;
        let mut results = vec![Ok(()); items];
        for (position, refusal) in refused {
            if let Some(result) = results.get_mut(position as usize) {
                *result = Err(refusal);
            }
        }
        Ok(results)
    }

    async fn act_whole(&self, token: u64, action: LedgerAction) -> Result<(), LedgerError> {
        self.act(token, action).await.map(drop)
    }
}

#[async_trait]
impl Ledger for RaftLedger {
    async fn acquire(&self, roots: &[RootClaim]) -> Result<Grant, LedgerError> {
        let command = Acquire {
            lineage: self.lineage,
            group: self.group,
            node: self.cluster.node(),
            incarnation: self.cluster.incarnation(),
            roots: roots.to_vec(),
        };
        match self.cluster.propose(command).await {
            Ok(Reply::Granted(Ok(grant))) => Ok(*grant),
            Ok(Reply::Granted(Err(refusal))) => Err(LedgerError::Refused(refusal)),
            other => Err(unavailable(other)),
        }
    }

    async fn recorded_root(&self, path: &str) -> Result<Option<RootId>, LedgerError> {
        Ok(self.cluster.read(|state| state.roots().get(path).copied()))
    }

    async fn record_root(&self, root: Root) -> Result<RootId, LedgerError> {
        match self.cluster.propose(RecordRoot { root }).await {
            Ok(Reply::Root(id)) => Ok(id),
            other => Err(unavailable(other)),
        }
    }

    async fn show_roots(
        &self,
        token: u64,
        claims: Vec<RootClaim>,
    ) -> Result<Vec<Result<(), Refusal>>, LedgerError> {
        let items = claims.len();
        self.act_each(token, LedgerAction::ShowRoots(claims), items).await
    }

    async fn fenced(&self, token: u64, cleaned: Vec<(u64, Root)>) -> Result<(), LedgerError> {
        self.act_whole(token, LedgerAction::Fenced(cleaned)).await
    }

    async fn intend(
        &self,
        token: u64,
        intents: Vec<Intent>,
    ) -> Result<Vec<Result<(), Refusal>>, LedgerError> {
        let items = intents.len();
        self.act_each(token, LedgerAction::Intend(intents), items).await
    }

    async fn commit(
        &self,
        token: u64,
        files: Vec<CommitFile>,
    ) -> Result<Vec<Result<(), Refusal>>, LedgerError> {
        let items = files.len();
        self.act_each(token, LedgerAction::Commit(files), items).await
    }

    async fn raise_floor(&self, token: u64, raise: Raise) -> Result<(), LedgerError> {
        let totals = totals(&self.log, self.lineage, raise.to).await?;
        let stored = totals.channel(self.channel).stored();
        let Raise { from, to, drops, .. } = raise;
        let raise = RaiseFloor { from, to, stored, delivered: 0, dead_lettered: 0, drops };
        self.act_whole(token, LedgerAction::RaiseFloor(raise)).await
    }

    async fn quarantine(
        &self,
        token: u64,
        bucket: BucketKey,
        reason: String,
    ) -> Result<(), LedgerError> {
        self.act_whole(token, LedgerAction::Quarantine { bucket, reason }).await
    }

    async fn release(&self, token: u64, bucket: BucketKey) -> Result<(), LedgerError> {
        self.act_whole(token, LedgerAction::Release(bucket)).await
    }

    async fn add_hole(
        &self,
        token: u64,
        bucket: BucketKey,
        hole: Hole,
        continues: bool,
    ) -> Result<(), LedgerError> {
        self.act_whole(token, LedgerAction::AddHole(AddHole { bucket, hole, continues })).await
    }

    async fn give_up(&self, token: u64, bucket: BucketKey, span: Span) -> Result<(), LedgerError> {
        self.act_whole(token, LedgerAction::GiveUp(GiveUp { bucket, span })).await
    }

    async fn epochs(&self) -> Option<BTreeSet<u64>> {
        let Lineage { flow, shard, .. } = self.lineage;
        self.cluster.read(|state| {
            let shard = state.shard(flow, shard)?;
            Some(shard.lineages.keys().copied().collect())
        })
    }
}

/// The running totals of a lineage below an offset, read off the async threads.
pub(crate) async fn totals(log: &Log, lineage: Lineage, below: u64) -> Result<Totals, LedgerError> {
    let log = log.clone();
    let read = off_thread(move || totals_below(&log, lineage, below)).await;
    let read: Result<Totals, RecoverError> = read.map_err(|_| LedgerError::Closed)?;
    read.map_err(|error| LedgerError::Unavailable(Box::new(error)))
}

fn unavailable(outcome: Result<Reply, ClusterError>) -> LedgerError {
    let error = match outcome {
        Ok(reply) => ClusterError::unexpected(&reply),
        Err(error) => error,
    };
    LedgerError::Unavailable(Box::new(error))
}

/// The cursor of a group whose sinks are no files: the same floor, raised by what was delivered.
pub(crate) struct RaftCursor {
    ledger: Arc<RaftLedger>,
    token: u64,
    /// What the group's runner counts as it delivers, never what should have been delivered.
    stats: Arc<GroupStats>,
    /// What of that the ledger knows.
    booked: std::sync::Mutex<GroupCounts>,
}

impl RaftCursor {
    /// Takes a fresh token for it. `stats` is what the runner counts that will move it.
    pub(crate) async fn acquire(
        ledger: Arc<RaftLedger>,
        stats: Arc<GroupStats>,
    ) -> Result<(Self, u64), LedgerError> {
        let grant = ledger.acquire(&[]).await?;
        let booked = std::sync::Mutex::new(stats.counts());
        Ok((Self { ledger, token: grant.token, stats, booked }, grant.floor))
    }

    fn booked(&self) -> std::sync::MutexGuard<'_, GroupCounts> {
        self.booked.lock().expect("no panic while the lock is held")
    }
}

#[async_trait]
impl sdk_flow::Cursor for RaftCursor {
    async fn floor(&self) -> Result<u64, sdk_flow::CursorError> {
        let ledger = &self.ledger;
        ledger
            .cluster
            .read(|state| Some(state.ledger(ledger.lineage, ledger.group)?.floor))
            .ok_or(sdk_flow::CursorError::Closed)
    }

    async fn commit(&self, from: u64, to: u64) -> Result<(), sdk_flow::CursorError> {
        let ledger = &self.ledger;
        let before = totals(&ledger.log, ledger.lineage, from).await.map_err(cursor_error)?;
        let behind = totals(&ledger.log, ledger.lineage, to).await.map_err(cursor_error)?;
        let (before, behind) = (before.channel(ledger.channel), behind.channel(ledger.channel));
        let (booked, counted) = (*self.booked(), self.stats.counts());
        let mut drops =
            Drops { lost: counted.lost_offsets - booked.lost_offsets, ..Drops::default() };
        for (rule, events) in &behind.dropped {
            let known = before.dropped.iter().find(|(name, _)| name == rule);
            drops.add(rule, events - known.map_or(0, |(_, events)| *events));
        }
        let raise = RaiseFloor {
            from,
            to,
            stored: behind.stored(),
            delivered: counted.delivered_events - booked.delivered_events,
            dead_lettered: counted.dead_lettered_events - booked.dead_lettered_events,
            drops,
        };
        match ledger.act_whole(self.token, LedgerAction::RaiseFloor(raise)).await {
            // Repeating a commit that succeeded is harmless.
            Err(LedgerError::Refused(Refusal::Floor { floor })) if floor == to => (),
            raised => raised.map_err(cursor_error)?,
        }
        *self.booked() = counted;
        Ok(())
    }
}

fn cursor_error(error: LedgerError) -> sdk_flow::CursorError {
    use sdk_flow::CursorError;
    match error {
        LedgerError::Refused(Refusal::StaleToken { .. } | Refusal::Gone) => CursorError::Fenced,
        LedgerError::Refused(Refusal::Floor { floor }) => CursorError::Elsewhere { floor },
        LedgerError::Closed => CursorError::Closed,
        error => CursorError::Unavailable(Box::new(error)),
    }
}
