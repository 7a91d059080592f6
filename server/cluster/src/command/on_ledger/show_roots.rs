//! Roots that could not be shown when the token was granted.

use sdk_config::ledger::{Refusal, RootClaim};

use super::{Context, each};
use crate::command::acquire::judge;
use crate::command::reply::LedgerReply;
use crate::limits::EARLIER_MAX;
use crate::state::Ledger;

pub(super) fn apply(
    ledger: &mut Ledger,
    claims: Vec<RootClaim>,
    context: &Context<'_>,
) -> LedgerReply {
    each(claims, |claim| {
        let root = judge(context.roots, claim).map_err(|(_, refusal)| refusal)?;
        if ledger.roots.contains(&root) {
            return Ok(());
        }
        if ledger.roots.len() >= EARLIER_MAX {
            return Err(Refusal::Full);
        }
        ledger.roots.push(root);
        Ok(())
    })
}
