//! What the holder of a token does.

mod add_hole;
mod commit;
mod fenced;
mod give_up;
mod intend;
mod quarantine;
mod raise_floor;
mod show_roots;

use sdk_config::ledger::{BucketKey, CommitFile, Intent, Refusal, Root, RootClaim};
use sdk_event::Lineage;
use serde::{Deserialize, Serialize};

pub use self::add_hole::AddHole;
pub use self::give_up::GiveUp;
pub use self::raise_floor::RaiseFloor;
use super::reply::{Answer, LedgerReply, Reply};
use crate::id::GroupNumber;
use crate::limits::FILES_PER_BATCH_MAX;
use crate::state::{Cost, Ledger, Roots, State};

/// A proposal of the holder of a drain token. Answers [`Reply::Ledger`].
///
/// Proposals are numbered from 1 under each token and applied in that order. One that arrives twice
/// gets the answer it got first, as long as it is among the last eight; one that arrives too early
/// is refused with the number that is expected, so that the holder repeats what was lost in between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnLedger {
    /// The lineage.
    #[serde(with = "crate::id::lineage")]
    pub lineage: Lineage,
    /// The sink group.
    pub group: GroupNumber,
    /// The token.
    pub token: u64,
    /// The number of this proposal under the token.
    pub number: u64,
    /// What to do.
    pub action: LedgerAction,
}

/// What a holder may do. A batch is answered item by item, everything else as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LedgerAction {
    /// The staging directories of these earlier tokens are deleted.
    Fenced(Vec<(u64, Root)>),
    /// Roots that could not be shown when the token was granted. A batch.
    ShowRoots(Vec<RootClaim>),
    /// Files that are about to get their final name. A batch.
    Intend(Vec<Intent>),
    /// Files that have it. A batch.
    Commit(Vec<CommitFile>),
    /// Everything below is final.
    RaiseFloor(RaiseFloor),
    /// Leave this bucket alone for now.
    Quarantine {
        /// The bucket.
        bucket: BucketKey,
        /// Why, in words.
        reason: String,
    },
    /// The bucket works again. Done as well if it was not quarantined.
    Release(BucketKey),
    /// The floor may pass this range of a bucket without a file.
    AddHole(AddHole),
    /// Nobody can read what this file or hole needs.
    GiveUp(GiveUp),
}

/// What an action may look at beside its ledger.
struct Context<'a> {
    token: u64,
    sealed_end: Option<u64>,
    lost: &'a dyn Fn(u64, u64) -> u64,
    roots: &'a Roots,
    room: u64,
}

impl OnLedger {
    pub(crate) fn apply(self, state: &mut State) -> Reply {
        let lineage = self.lineage;
        let reply = self.try_apply(state);
        if reply.is_ok() {
            state.retire(lineage);
        }
        Reply::Ledger(reply)
    }

    fn try_apply(self, state: &mut State) -> LedgerReply {
        let OnLedger { lineage, group, token, number, action } = self;
        let room = state.room();
        let State { flows, roots, .. } = state;
        let shard = usize::try_from(lineage.shard).map_err(|_| Refusal::Gone)?;
        let flow = flows.get_mut(&lineage.flow).ok_or(Refusal::Gone)?;
        let held = flow.shards.get_mut(shard).ok_or(Refusal::Gone)?;
        let found = held.lineages.get_mut(&lineage.epoch).ok_or(Refusal::Gone)?;
        // Taken out, so that the action can look at the lineage while it changes the ledger.
        let mut ledger = found.ledgers.remove(&group).ok_or(Refusal::Gone)?;
        let before = ledger.cost();
        let context = Context {
            token,
            sealed_end: found.sealed,
            lost: &|from, to| found.lost_between(from, to),
            roots,
            room,
        };
        let reply = take_turn(&mut ledger, number, action, &context);
        let after = ledger.cost();
        found.ledgers.insert(group, ledger);
        state.resize(before, after);
        reply
    }
}

fn take_turn(
    ledger: &mut Ledger,
    number: u64,
    action: LedgerAction,
    context: &Context<'_>,
) -> LedgerReply {
    // A token that was never granted is as little the holder's as an old one.
    if ledger.token != context.token || context.token == 0 {
        return Err(Refusal::StaleToken { current: ledger.token });
    }
    if number != ledger.turn {
        let first = ledger.first_answer(number).cloned();
        return first.unwrap_or(Err(Refusal::OutOfTurn { expected: ledger.turn }));
    }
    let answer = action.apply(ledger, context);
    ledger.answered(answer.clone());
    answer
}

impl LedgerAction {
    fn apply(self, ledger: &mut Ledger, context: &Context<'_>) -> LedgerReply {
        match self {
            LedgerAction::Fenced(cleaned) => fenced::apply(ledger, &cleaned),
            LedgerAction::ShowRoots(claims) => show_roots::apply(ledger, claims, context),
            LedgerAction::Intend(intents) => {
                let mut room = context.room;
                each(intents, |intent| intend::apply(ledger, intent, context, &mut room))
            }
            LedgerAction::Commit(files) => each(files, |file| commit::apply(ledger, file)),
            LedgerAction::RaiseFloor(raise) => raise.apply(ledger, context),
            LedgerAction::Quarantine { bucket, reason } => {
                quarantine::apply(ledger, &bucket, reason, context)
            }
            LedgerAction::Release(bucket) => quarantine::release(ledger, &bucket),
            LedgerAction::AddHole(hole) => hole.apply(ledger, context),
            LedgerAction::GiveUp(what) => what.apply(ledger, context),
        }
    }
}

/// Applies the items of a batch one by one, and keeps the refusals.
fn each<T>(items: Vec<T>, mut apply: impl FnMut(T) -> Result<(), Refusal>) -> LedgerReply {
    if items.len() > FILES_PER_BATCH_MAX {
        return Err(Refusal::Invalid(format!("a batch has at most {FILES_PER_BATCH_MAX} items")));
    }
    let mut refused = Vec::new();
    for (position, item) in (0..).zip(items) {
        if let Err(refusal) = apply(item) {
            refused.push((position, refusal));
        }
    }
    Ok(Answer { refused })
}
