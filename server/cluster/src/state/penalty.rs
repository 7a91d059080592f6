//! Failover penalties: which sinks may be used by whom.
//!
//! ```text
//!   working ──failed──▶ waiting ──time is up──▶ probing ──worked──▶ working
//!                          ▲                        │
//!                          └────────failed──────────┘  twice as long, up to the sink's maximum
//! ```
//!
//! A penalty is one node's while another node that tried works, and the whole cluster's when every
//! node that tried has failed. Then one node at a time probes, a different one each time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::size::{Cost, ENTRY};
use crate::id::NodeId;
use crate::limits::{PENALTY_BASE_MS, PENALTY_JITTER_PERMILLE_MAX};

/// What is known of one sink. Exists from its first failure on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkHealth {
    /// What each node that tried has last reported.
    pub nodes: BTreeMap<NodeId, NodeHealth>,
    /// The node that probes, or did last, while the penalty is the cluster's.
    pub prober: Option<NodeId>,
}

/// How one node fares with one sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeHealth {
    /// The number of its last report within its incarnation: a repeat counts once.
    pub report: u64,
    /// The incarnation that reported.
    pub incarnation: u64,
    /// What it waits for; `None` = the sink works for it.
    pub penalty: Option<Penalty>,
}

/// A wait before the next try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Penalty {
    /// The Raft index that set it: names this wait among all of them.
    pub serial: u64,
    /// How long to wait, from when the leader applied it or took over.
    pub duration_ms: u64,
    /// Reports of failure in a row.
    pub rounds: u32,
    /// Failures in all of them.
    pub failures: u64,
    /// The last one, in words.
    pub reason: String,
    /// The wait is over; somebody may try once.
    pub probing: bool,
}

/// What a node may do with a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Use<'a> {
    /// Use it.
    Yes,
    /// Try it once and report.
    Probe(&'a Penalty),
    /// Leave it alone.
    No {
        /// The wait that is running.
        penalty: &'a Penalty,
        /// Whether it holds for every node.
        cluster_wide: bool,
    },
}

impl Penalty {
    /// `2^rounds` seconds, at most `max_ms`, less up to a quarter of jitter.
    pub(crate) fn duration_ms(rounds: u32, max_ms: u64, jitter_permille: u16) -> u64 {
        let doubled = 1u64.checked_shl(rounds).unwrap_or(u64::MAX);
        let full = PENALTY_BASE_MS.saturating_mul(doubled).min(max_ms);
        let jitter = u64::from(jitter_permille.min(PENALTY_JITTER_PERMILLE_MAX));
        full - (full / 1_000).saturating_mul(jitter) - full % 1_000 * jitter / 1_000
    }
}

impl SinkHealth {
    /// Whether every node that tried has failed.
    pub fn cluster_wide(&self) -> bool {
        !self.nodes.is_empty() && self.nodes.values().all(|node| node.penalty.is_some())
    }

    /// The wait that holds for `node`: the newest of all if it is the cluster's, else its own.
    fn running(&self, node: NodeId) -> Option<&Penalty> {
        if self.cluster_wide() {
            let all = self.nodes.values().filter_map(|health| health.penalty.as_ref());
            return all.max_by_key(|penalty| penalty.serial);
        }
        self.nodes.get(&node)?.penalty.as_ref()
    }

    /// What `node` may do with the sink now.
    pub fn may_use(&self, node: NodeId) -> Use<'_> {
        let cluster_wide = self.cluster_wide();
        match self.running(node) {
            None => Use::Yes,
            Some(penalty) if self.probes(node, penalty) => Use::Probe(penalty),
            Some(penalty) => Use::No { penalty, cluster_wide },
        }
    }

    fn probes(&self, node: NodeId, penalty: &Penalty) -> bool {
        penalty.probing && (!self.cluster_wide() || self.prober == Some(node))
    }

    /// The wait that a failure of `node` leads to: the next round if that was the probe, the one
    /// that runs if it came late, else the first.
    pub(crate) fn failed(
        &self,
        node: NodeId,
        serial: u64,
        duration_ms: impl Fn(u32) -> u64,
    ) -> Penalty {
        let round = |rounds: u32| Penalty {
            serial,
            duration_ms: duration_ms(rounds),
            rounds,
            failures: 0,
            reason: String::new(),
            probing: false,
        };
        match self.running(node) {
            None => round(1),
            Some(running) if self.probes(node, running) => round(running.rounds.saturating_add(1)),
            Some(running) => running.clone(),
        }
    }

    /// Some node's success restores the sink for all when the penalty was the cluster's.
    pub(crate) fn worked(&mut self) {
        if self.cluster_wide() {
            self.nodes.values_mut().for_each(|health| health.penalty = None);
            self.prober = None;
        }
    }

    /// Ends the wait named by `serial`. If it was the cluster's, the next of the nodes that are `up`
    /// tries. False if there is no such wait.
    pub(crate) fn probe(&mut self, serial: u64, up: &[NodeId]) -> bool {
        let cluster_wide = self.cluster_wide();
        let waiting = self.nodes.values_mut().filter_map(|node| node.penalty.as_mut());
        let mut found = false;
        for penalty in waiting.filter(|penalty| penalty.serial == serial) {
            penalty.probing = true;
            found = true;
        }
        if found && cluster_wide {
            let last = self.prober.unwrap_or(0);
            let next = up.iter().find(|node| **node > last).or(up.first());
            self.prober = next.copied();
        }
        found
    }
}

impl Cost for NodeHealth {
    fn cost(&self) -> u64 {
        ENTRY + 16 + self.penalty.as_ref().map_or(0, |it| 32 + it.reason.cost())
    }
}

impl Cost for SinkHealth {
    fn cost(&self) -> u64 {
        ENTRY + 24 + self.nodes.cost()
    }
}
