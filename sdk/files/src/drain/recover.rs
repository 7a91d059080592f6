//! Taking over what holders before have left.

use std::collections::BTreeMap;
use std::time::Duration;

use sdk_config::ledger::{BucketKey, BucketState, Grant, Hole, OpenIntent, Span};
use tracing::{info, warn};

use super::bucket::{Quarantine, Segment, Stage};
use super::read::new_bucket;
use super::session::Session;
use super::spans::Spans;

impl Session {
    /// Takes the buckets of a grant: what is recorded is skipped when it is read again, open Intents
    /// are resolved, holes are filled.
    pub(super) fn recover(&mut self, grant: Grant) {
        let Grant { intents, buckets, .. } = grant;
        let mut by_bucket: BTreeMap<BucketKey, (Option<BucketState>, Vec<OpenIntent>)> =
            BTreeMap::new();
        for state in buckets {
            let key = state.bucket.clone();
            by_bucket.entry(key).or_default().0 = Some(state);
        }
        for intent in intents {
            let key = intent.intent.bucket.clone();
            by_bucket.entry(key).or_default().1.push(intent);
        }
        for (key, (state, intents)) in by_bucket {
            self.recover_bucket(&key, state, intents);
        }
        let ends = self.table.iter().filter_map(|(_, bucket)| bucket.recorded.end());
        self.covered_to = ends.max().map_or(0, |end| end + 1);
        if self.unfinished > 0 {
            let (group, lineage) = (&*self.shared.options.group, self.shared.options.names.lineage);
            info!(group, %lineage, files = self.unfinished, "resolving what earlier tokens left");
        }
    }

    fn recover_bucket(
        &mut self,
        key: &BucketKey,
        state: Option<BucketState>,
        intents: Vec<OpenIntent>,
    ) {
        let member = self.members.iter().position(|it| it.sink.number() == key.sink);
        let Some(member) = member else {
            warn!(bucket = ?key, "the ledger has a bucket of no sink of this group");
            return;
        };
        let sink = std::sync::Arc::clone(&self.members[member].sink);
        let dead = sink.layout().is_dead_directory(&key.directory);
        let make = || new_bucket(&sink, member, &key.directory, &key.prefix, dead);
        let number = self.table.intern(member, &key.directory, &key.prefix, make);
        let mut ids = self.next_id..;
        let bucket = self.table.at(number);
        if bucket.key != *key {
            warn!(bucket = ?key, "the ledger has a bucket that the sink's spec does not give");
            bucket.key = key.clone();
        }
        for open in intents {
            bucket.recorded.add(open.intent.span(), open.intent.continues);
            let id = ids.next().expect("ids do not run out");
            bucket.rolled.push_back(announced(id, open));
            self.unfinished += 1;
        }
        if let Some(state) = state {
            let BucketState { end, committed, holes, quarantine, .. } = state;
            bucket.end = end;
            committed.into_iter().for_each(|span| bucket.recorded.add(span, false));
            for hole in holes {
                bucket.recorded.add(hole.span, false);
                let id = ids.next().expect("ids do not run out");
                bucket.rolled.push_back(unfilled(id, hole));
                self.unfinished += 1;
            }
            bucket.quarantine = quarantine.map(|reason| Quarantine {
                reason,
                failures: 0,
                retry_at: Duration::ZERO,
                told: true,
            });
        }
        self.next_id = ids.start;
        self.dirty.insert(number);
    }
}

fn segment(id: u64, span: Span, events: u64, stage: Stage) -> Segment {
    Segment {
        id,
        first: span.first,
        last: span.last,
        events,
        body_bytes: 0,
        first_put_ms: i64::MAX,
        last_put_ms: i64::MIN,
        spans: Spans::one(span.first, span.last + 1),
        continues: false,
        hole: false,
        pinned: false,
        pinning: false,
        attempts: Vec::new(),
        tries: 0,
        retry_at: Duration::ZERO,
        stage,
    }
}

/// An Intent of an earlier token, whose final is to be looked for.
fn announced(id: u64, open: OpenIntent) -> Segment {
    let OpenIntent { intent, attempts, .. } = open;
    let span = intent.span();
    let continues = intent.continues;
    let stage = Stage::Announced(None);
    Segment { attempts, continues, ..segment(id, span, intent.events, stage) }
}

/// A hole, to be filled from its beginning on.
fn unfilled(id: u64, hole: Hole) -> Segment {
    let Hole { span, events, .. } = hole;
    Segment { hole: true, pinned: true, ..segment(id, span, events, Stage::Cold) }
}
