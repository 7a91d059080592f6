//! A file that is about to get its final name.

use sdk_config::ledger::{Attempt, BucketKey, Intent, Refusal, Root};

use super::Context;
use crate::limits::{
    ATTEMPTS_MAX, FILE_NAME_BYTES_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX, RANGES_PER_BUCKET_MAX,
};
use crate::state::{Bucket, Cost, Ledger, Open};

pub(super) fn apply(
    ledger: &mut Ledger,
    intent: Intent,
    context: &Context<'_>,
    room: &mut u64,
) -> Result<(), Refusal> {
    check(&intent)?;
    root(ledger, &intent.bucket, context)?;
    if let Some(end) = context.sealed_end
        && intent.last >= end
    {
        return Err(Refusal::BeyondEnd { end });
    }
    let known = ledger.buckets.get(&intent.bucket);
    if let Some(bucket) = known
        && let Some(at) = bucket.open.iter().position(|open| open.span == intent.span())
    {
        supersede(&bucket.open[at], &intent, context.token)?;
        return ledger.with_bucket(&intent.bucket, |bucket| {
            rebuild(&mut bucket.open[at], &intent, context.token);
            Ok(())
        });
    }
    let hole = accept(known, &intent, ledger.floor)?;
    let cost = intent.cost() + intent.bucket.cost() + 128;
    *room = room.checked_sub(cost).ok_or(Refusal::Full)?;
    ledger.end = ledger.end.max(intent.last.saturating_add(1));
    if let Some(left) = hole.filter(|left| left.span_done && left.events > 0) {
        if left.events > (context.lost)(left.from, intent.last.saturating_add(1)) {
            return Err(Refusal::NotLost);
        }
        ledger.book.lost = ledger.book.lost.saturating_add(left.events);
    }
    ledger.with_bucket(&intent.bucket, |bucket| {
        bucket.end = Some(intent.last);
        bucket.open.push(Open::new(&intent, context.token, hole.is_some()));
        if let Some(left) = hole {
            if left.span_done {
                bucket.holes.remove(0);
            } else {
                bucket.holes[0].span.first = intent.last + 1;
                bucket.holes[0].events = left.events;
            }
        }
    });
    Ok(())
}

fn check(intent: &Intent) -> Result<(), Refusal> {
    let BucketKey { directory, prefix, suffix, .. } = &intent.bucket;
    let invalid = |reason: &str| Err(Refusal::Invalid(reason.to_owned()));
    if intent.first > intent.last || intent.last == u64::MAX {
        return invalid("the range ends before it begins");
    }
    if intent.events == 0 || intent.events - 1 > intent.last - intent.first {
        return invalid("more events than offsets, or none");
    }
    if intent.name.is_empty() || intent.name.len() > FILE_NAME_BYTES_MAX {
        return invalid("a file name has 1 to 255 bytes");
    }
    if intent.name.contains(['/', '\0']) {
        return invalid("a file name is one component");
    }
    if directory.is_empty()
        || directory.len() > PATH_BYTES_MAX
        || prefix.len() > FILE_NAME_BYTES_MAX
        || suffix.len() > NAME_BYTES_MAX
    {
        return invalid("a part of the bucket is too long");
    }
    Ok(())
}

/// The bucket lies under a root of this token that is still the recorded one and that every earlier
/// token is fenced from.
fn root(ledger: &Ledger, bucket: &BucketKey, context: &Context<'_>) -> Result<(), Refusal> {
    let under = |root: &Root| {
        let rest = bucket.directory.strip_prefix(root.path.as_str());
        rest.is_some_and(|rest| {
            rest.is_empty() || rest.starts_with('/') || root.path.ends_with('/')
        })
    };
    let Some(root) = ledger.roots.iter().filter(|root| under(root)).max_by_key(|it| it.path.len())
    else {
        return Err(Refusal::Invalid("the bucket lies under no root of this token".to_owned()));
    };
    match context.roots.get(&root.path) {
        Some(recorded) if *recorded == root.id => (),
        Some(recorded) => return Err(Refusal::OtherRoot { recorded: *recorded }),
        None => return Err(Refusal::UnrecordedRoot),
    }
    match ledger.earlier.iter().find(|(_, earlier)| under(earlier)) {
        Some((token, root)) => Err(Refusal::NotFenced { token: *token, root: root.path.clone() }),
        None => Ok(()),
    }
}

/// The file was announced before: by this token only just so, by an earlier one with other bytes.
fn supersede(open: &Open, intent: &Intent, token: u64) -> Result<(), Refusal> {
    let newest = open.newest();
    let same_file = open.name == intent.name
        && open.events == intent.events
        && open.dead_letters == intent.dead_letters;
    let same_bytes = newest.length == intent.length && newest.crc == intent.crc;
    if !same_file || (newest.token == token && !same_bytes) {
        return Err(Refusal::Changed);
    }
    Ok(())
}

fn rebuild(open: &mut Open, intent: &Intent, token: u64) {
    if open.newest().token == token {
        return;
    }
    if open.attempts.len() == ATTEMPTS_MAX {
        // Long fenced: its file would be there by now, and this one would not be proposed.
        open.attempts.remove(0);
    }
    open.attempts.push(Attempt { token, length: intent.length, crc: intent.crc });
}

/// What an Intent leaves of the hole that it fills.
#[derive(Clone, Copy)]
struct Left {
    /// It reaches to the end of the hole.
    span_done: bool,
    /// Events of the hole that are not in the file.
    events: u64,
    /// They lie above. Where files have filled the beginning of the hole, they may lie in front of
    /// those.
    from: u64,
}

/// The range follows on what the bucket has; gives what is left if it fills a hole.
fn accept(known: Option<&Bucket>, intent: &Intent, floor: u64) -> Result<Option<Left>, Refusal> {
    let end = known.and_then(|bucket| bucket.end);
    if let Some(bucket) = known {
        if bucket.quarantine.is_some() {
            return Err(Refusal::Quarantined);
        }
        if bucket.open.len() >= RANGES_PER_BUCKET_MAX
            || bucket.committed.len() >= RANGES_PER_BUCKET_MAX
        {
            return Err(Refusal::Full);
        }
    }
    match end {
        Some(end) if intent.first <= end => return Err(Refusal::Overlap { end }),
        Some(end) if intent.previous_end != Some(end) => {
            return Err(Refusal::Gap { end: Some(end) });
        }
        // The ledger has forgotten what lies below the floor.
        None if intent.previous_end.is_some_and(|end| end >= floor) => {
            return Err(Refusal::Gap { end: None });
        }
        _ => (),
    }
    let Some(hole) = known.and_then(|bucket| bucket.holes.first()) else {
        if intent.first < floor {
            return Err(Refusal::BelowFloor { floor });
        }
        return Ok(None);
    };
    let inside = hole.span.first <= intent.first && intent.last <= hole.span.last;
    if !inside {
        return Err(Refusal::NotOldest { first: hole.span.first });
    }
    if intent.dead_letters != hole.dead_letters {
        return Err(Refusal::Changed);
    }
    let Some(events) = hole.events.checked_sub(intent.events) else {
        return Err(Refusal::Invalid("more events than the hole has".to_owned()));
    };
    let rest = end.is_some_and(|end| end + 1 == hole.span.first);
    let from = if rest { 0 } else { hole.span.first };
    Ok(Some(Left { span_done: intent.last == hole.span.last, events, from }))
}
