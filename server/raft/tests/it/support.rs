//! Commands, and a node that a test turns by hand.

use std::sync::Arc;
use std::time::Duration;

use sdk_event::Lineage;
use sdk_flow::{ManualClock, SeededEntropy};
use sdk_wal::FaultyStorage;
use server_cluster::command::{Acquire, CreateFlow, InitCluster, NodeUp, RecordRoot};
use server_cluster::state::{Opening, Plan, PlannedGroup};
use server_cluster::{ClusterId, Command, DirectoryId, Reply, StartId};
use server_raft::{
    Driver, Fatal, OpenError, ProposeError, Proposed, Raft, RaftHandle, RaftOptions,
};

pub(crate) const DIR: &str = "/data/raft";

/// Makes a cluster of one with one flow of one shard and one group.
pub(crate) fn setup() -> [Command; 3] {
    let directory = DirectoryId([1; 16]);
    let init = InitCluster { cluster: ClusterId([7; 16]), directory, features: 1 };
    let up = NodeUp {
        node: 1,
        directory,
        start: StartId([1; 16]),
        addresses: Vec::new(),
        zone: String::new(),
        features: 1,
    };
    [init.into(), up.into(), flow("web")]
}

/// Makes a flow of one shard, with one channel and one group.
pub(crate) fn flow(name: &str) -> Command {
    let mut plan = Plan { shards: 1, ..Plan::default() };
    plan.channels.insert("main".to_owned(), true);
    plan.sinks.insert("null".to_owned(), 30_000);
    let group = PlannedGroup { channel: "main".to_owned(), sinks: vec!["null".to_owned()] };
    plan.groups.insert("out".to_owned(), group);
    let shards = vec![Opening { owner: 1, replicas: vec![1] }];
    CreateFlow { name: name.to_owned(), spec: "{}".to_owned(), plan, shards }.into()
}

/// Counts how often it is applied: each time grants the next token.
pub(crate) fn acquire(flow: u64) -> Command {
    let lineage = Lineage { flow, shard: 0, epoch: 1 };
    Acquire { lineage, group: 1, node: 1, incarnation: 1, roots: Vec::new() }.into()
}

/// A mark in the state that a test can look for.
pub(crate) fn mark(name: &str) -> Command {
    let id = sdk_config::ledger::RootId([1; 16]);
    RecordRoot { root: sdk_config::ledger::Root { path: format!("/{name}"), id } }.into()
}

/// A node on a faulty disk.
pub(crate) struct Hand {
    pub(crate) handle: RaftHandle,
    pub(crate) driver: Driver,
    pub(crate) clock: Arc<ManualClock>,
}

pub(crate) fn options(storage: &FaultyStorage, seed: u64) -> RaftOptions {
    RaftOptions {
        storage: Arc::new(storage.clone()),
        // What is drawn once is not drawn again by a later start.
        entropy: Arc::new(SeededEntropy::new(seed ^ storage.steps() << 16)),
        quota_bytes: 4 << 20,
        segment_bytes: 64 << 10,
        reserve_bytes: 4 << 10,
        threads: false,
        ..RaftOptions::new(DIR, 1)
    }
}

impl Hand {
    pub(crate) fn open(options: RaftOptions) -> Result<Hand, OpenError> {
        let clock = Arc::new(ManualClock::new(0));
        let (handle, driver) =
            Raft::open(RaftOptions { clock: Arc::clone(&clock) as _, ..options })?;
        Ok(Hand { handle, driver, clock })
    }

    /// Lets everything happen that can without time passing.
    pub(crate) fn settle(&mut self) -> Result<(), Fatal> {
        for _ in 0..4 {
            self.driver.turn(Duration::ZERO)?;
        }
        Ok(())
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, ticks: u32) -> Result<(), Fatal> {
        for _ in 0..ticks {
            self.clock.advance(Duration::from_millis(100));
            self.driver.turn(Duration::ZERO)?;
        }
        Ok(())
    }

    /// Proposes and waits for the reply.
    pub(crate) fn apply(&mut self, command: Command) -> Result<Reply, ProposeError> {
        let mut proposed = self.handle.submit(command)?;
        let settled = self.settle();
        match answer(&mut proposed) {
            Some(answer) => answer,
            None => Err(match settled {
                Ok(()) => ProposeError::Unknown,
                Err(fatal) => ProposeError::Dead { reason: fatal.to_string().into() },
            }),
        }
    }

    /// Makes a cluster of one; returns the flow's id.
    pub(crate) fn set_up(&mut self) -> u64 {
        let [init, up, create] = setup();
        self.apply(init).unwrap();
        self.apply(up).unwrap();
        match self.apply(create).unwrap() {
            Reply::Flow { flow, .. } => flow,
            other => panic!("{other:?}"),
        }
    }

    /// Acquires a token; returns its number.
    pub(crate) fn token(&mut self, flow: u64) -> u64 {
        match self.apply(acquire(flow)).unwrap() {
            Reply::Granted(grant) => grant.unwrap().token,
            other => panic!("{other:?}"),
        }
    }

    /// How many tokens were ever granted.
    pub(crate) fn tokens(&self, flow: u64) -> u64 {
        let lineage = Lineage { flow, shard: 0, epoch: 1 };
        self.handle.read(|state| state.ledger(lineage, 1).unwrap().token)
    }

    pub(crate) fn marks(&self) -> Vec<String> {
        self.handle.read(|state| state.roots().keys().cloned().collect())
    }
}

/// The answer, if it is there.
pub(crate) fn answer(proposed: &mut Proposed) -> Option<Result<Reply, ProposeError>> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(proposed).poll(&mut context) {
        std::task::Poll::Ready(answer) => Some(answer),
        std::task::Poll::Pending => None,
    }
}
