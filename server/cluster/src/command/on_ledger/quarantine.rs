//! A bucket is to be left alone, or no longer.

use sdk_config::ledger::{BucketKey, Refusal};

use super::Context;
use crate::command::check;
use crate::command::reply::{Answer, LedgerReply};
use crate::state::{Cost, Ledger};

pub(super) fn apply(
    ledger: &mut Ledger,
    bucket: &BucketKey,
    reason: String,
    context: &Context<'_>,
) -> LedgerReply {
    let reason = check::cut(reason);
    if bucket.cost() + reason.cost() > context.room {
        return Err(Refusal::Full);
    }
    ledger.with_bucket(bucket, |bucket| bucket.quarantine = Some(reason));
    Ok(Answer::default())
}

pub(super) fn release(ledger: &mut Ledger, bucket: &BucketKey) -> LedgerReply {
    if ledger.buckets.contains_key(bucket) {
        ledger.with_bucket(bucket, |bucket| bucket.quarantine = None);
    }
    Ok(Answer::default())
}
