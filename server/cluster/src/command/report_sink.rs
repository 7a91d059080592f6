//! A sink failed or worked.

use serde::{Deserialize, Serialize};

use super::check;
use super::reply::{Rejected, Reply, Verdict};
use crate::id::{FlowId, NodeId};
use crate::state::{Cost, NodeHealth, Penalty, SinkHealth, State};

/// What a node has seen of a sink. Failures are gathered: at most one report per sink and second. A
/// success is reported when it is news: the first after a failure, or while other nodes fail.
/// Reports are numbered within an incarnation; a repeat counts once. Answers [`Reply::Done`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportSink {
    /// The flow.
    pub flow: FlowId,
    /// The sink's number.
    pub sink: u32,
    /// The node that tried.
    pub node: NodeId,
    /// Its incarnation.
    pub incarnation: u64,
    /// Counts this node's reports on this sink, from 1.
    pub report: u64,
    /// What happened.
    pub outcome: Outcome,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It worked.
    Worked,
    /// It failed.
    Failed {
        /// How often since the last report.
        failures: u64,
        /// The last failure, in words.
        reason: String,
        /// Drawn by the node: by how many thousandths the penalty is shortened, at most 250.
        jitter_permille: u16,
    },
}

impl ReportSink {
    pub(crate) fn apply(self, state: &mut State) -> Reply {
        Reply::from_result(self.try_apply(state))
    }

    fn try_apply(self, state: &mut State) -> Verdict {
        let ReportSink { flow, sink, node, incarnation, report, outcome } = self;
        check::incarnation(state, node, incarnation)?;
        let versions = check::flow(state, flow)?.versions.values().rev();
        let max_ms = versions
            .flat_map(|version| version.sinks.values())
            .find(|known| known.number == sink)
            .ok_or(Rejected::UnknownSink { flow, sink })?
            .max_penalty_ms;
        let serial = state.applied;
        if outcome == Outcome::Worked && !state.penalties.contains_key(&(flow, sink)) {
            return Ok(Reply::Done);
        }
        let health = state.penalties.entry((flow, sink)).or_default();
        let before = if health.nodes.is_empty() { 0 } else { health.cost() };
        let known = health.nodes.get(&node);
        if known.is_some_and(|it| it.incarnation == incarnation && it.report >= report) {
            return Ok(Reply::Done);
        }
        let penalty = match outcome {
            Outcome::Worked => {
                health.worked();
                None
            }
            Outcome::Failed { failures, reason, jitter_permille } => {
                let mut penalty = health.failed(node, serial, |rounds| {
                    Penalty::duration_ms(rounds, max_ms, jitter_permille)
                });
                let earlier = known_failures(health, node);
                penalty.failures = earlier.saturating_add(failures);
                penalty.reason = check::cut(reason);
                Some(penalty)
            }
        };
        health.nodes.insert(node, NodeHealth { report, incarnation, penalty });
        let after = health.cost();
        state.resize(before, after);
        Ok(Reply::Done)
    }
}

fn known_failures(health: &SinkHealth, node: NodeId) -> u64 {
    let known = health.nodes.get(&node).and_then(|health| health.penalty.as_ref());
    known.map_or(0, |penalty| penalty.failures)
}
