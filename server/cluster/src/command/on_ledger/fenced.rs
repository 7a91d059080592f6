//! Staging directories of earlier tokens are deleted.

use sdk_config::ledger::Root;

use crate::command::reply::{Answer, LedgerReply};
use crate::state::Ledger;

pub(super) fn apply(ledger: &mut Ledger, cleaned: &[(u64, Root)]) -> LedgerReply {
    ledger.earlier.retain(|pair| !cleaned.contains(pair));
    Ok(Answer::default())
}
