//! A file that has its final name.

use sdk_config::ledger::{CommitFile, Refusal, Span};

use crate::state::Ledger;

pub(super) fn apply(ledger: &mut Ledger, file: CommitFile) -> Result<(), Refusal> {
    let CommitFile { bucket: key, first, last, length, crc } = file;
    let open = ledger.buckets.get(&key).map_or(&[][..], |bucket| &bucket.open);
    let oldest = open.first().ok_or(Refusal::Unknown)?;
    let span = Span { first, last };
    if oldest.span != span {
        let later = open.iter().any(|open| open.span == span);
        let first = oldest.span.first;
        return Err(if later { Refusal::NotOldest { first } } else { Refusal::Unknown });
    }
    if !oldest.attempts.iter().any(|it| it.length == length && it.crc == crc) {
        return Err(Refusal::Mismatch);
    }
    let floor = ledger.floor;
    let done = ledger.with_bucket(&key, |bucket| bucket.close(0, floor));
    ledger.book.commit(done.events, done.dead_letters, length, crc);
    Ok(())
}
