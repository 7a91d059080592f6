//! A fresh drain token.

use sdk_config::ledger::{Refusal, Root, RootClaim};
use sdk_event::Lineage;
use serde::{Deserialize, Serialize};

use super::reply::Reply;
use crate::id::{GroupNumber, NodeId};
use crate::limits::EARLIER_MAX;
use crate::state::{Cost, Holder, Roots, State};

/// Asks for a fresh token of one (sink group, lineage). From the moment it is granted, what holders
/// of earlier tokens propose is refused. Asked twice, it grants two tokens: the first is then one of
/// the earlier ones. Answers [`Reply::Granted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acquire {
    /// The lineage.
    #[serde(with = "crate::id::lineage")]
    pub lineage: Lineage,
    /// The sink group.
    pub group: GroupNumber,
    /// The node that asks.
    pub node: NodeId,
    /// Its incarnation.
    pub incarnation: u64,
    /// The roots of its sinks, in all kept versions, as the node sees them now; none for sinks
    /// without files.
    pub roots: Vec<RootClaim>,
}

impl Acquire {
    pub(crate) fn apply(self, state: &mut State) -> Reply {
        Reply::Granted(self.try_apply(state).map(Box::new))
    }

    fn try_apply(self, state: &mut State) -> Result<sdk_config::ledger::Grant, Refusal> {
        if state.nodes.get(&self.node).is_none_or(|it| it.incarnation != self.incarnation) {
            return Err(Refusal::Invalid(format!(
                "a newer incarnation of node {} has started",
                self.node
            )));
        }
        let drainer = state.drainer(self.lineage, self.group).ok_or(Refusal::Gone)?;
        if drainer != self.node {
            return Err(Refusal::NotAssigned { node: drainer });
        }
        let judged = self.roots.into_iter().map(|claim| judge(&state.roots, claim));
        let (mut roots, mut refused_roots) = (Vec::new(), Vec::new());
        for root in judged {
            match root {
                Ok(root) => roots.push(root),
                Err(refused) => refused_roots.push(refused),
            }
        }
        if roots.is_empty()
            && let Some((_, refusal)) = refused_roots.first()
        {
            return Err(refusal.clone());
        }
        let reserve = state.reserve();
        let token = state.tokens_issued + 1;
        let lineage = state.lineage_mut(self.lineage).ok_or(Refusal::Gone)?;
        let sealed_end = lineage.sealed;
        let lost = lineage.lost.iter().map(|lost| lost.span).collect();
        let ledger = lineage.ledgers.get_mut(&self.group).ok_or(Refusal::Gone)?;
        if ledger.earlier.len() + ledger.roots.len() > EARLIER_MAX || roots.cost() > reserve {
            return Err(Refusal::Full);
        }
        let before = ledger.cost();
        let holder = Holder { node: self.node, incarnation: self.incarnation };
        ledger.hand_over(token, holder, roots);
        let after = ledger.cost();
        let mut grant = ledger.grant(sealed_end, lost);
        grant.refused_roots = refused_roots;
        state.tokens_issued = token;
        state.resize(before, after);
        Ok(grant)
    }
}

/// Whether a node that shows this claim may use the root.
pub(crate) fn judge(recorded: &Roots, claim: RootClaim) -> Result<Root, (String, Refusal)> {
    let refusal = match (recorded.get(&claim.path), claim.id) {
        (Some(recorded), Some(id)) if *recorded == id => {
            return Ok(Root { path: claim.path, id });
        }
        (Some(recorded), Some(_)) => Refusal::OtherRoot { recorded: *recorded },
        (recorded, None) => Refusal::NoMarker { recorded: recorded.copied() },
        (None, Some(_)) => Refusal::UnrecordedRoot,
    };
    Err((claim.path, refusal))
}
