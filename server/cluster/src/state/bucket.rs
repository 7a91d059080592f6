//! What a ledger knows of one bucket.
//!
//! The ranges of a bucket never overlap, and stand in this order but for what is given up, which may
//! be any of them:
//!
//! ```text
//!   committed …, open Intent, open Intent, … end │ hole, hole, …
//! ```
//!
//! A committed range is forgotten when the floor has passed it, as is one that is given up: whoever
//! reads again from the floor must know of both. The floor passes holes and pinned Intents, so these
//! may lie on either side of it.

use sdk_config::ledger::{Attempt, BucketKey, BucketState, Hole, Intent, OpenIntent, Span};
use serde::{Deserialize, Serialize};

use super::size::{Cost, ENTRY};

/// One bucket of one ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// `last` of the newest accepted Intent.
    pub end: Option<u64>,
    /// Ranges above the floor that are committed or given up, ascending.
    pub committed: Vec<Span>,
    /// Accepted Intents without their Commit, ascending.
    pub open: Vec<Open>,
    /// Ranges the floor may pass, though no file covers them, ascending, all above `end`.
    pub holes: Vec<Hole>,
    /// Why the bucket is quarantined, if it is.
    pub quarantine: Option<String>,
}

/// An accepted Intent without its Commit. The bucket's key is that of the map it stands in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// The final file name.
    pub name: String,
    /// The range of the file.
    pub span: Span,
    /// How many events are in it.
    pub events: u64,
    /// As proposed.
    pub previous_end: Option<u64>,
    /// As proposed.
    pub continues: bool,
    /// As proposed.
    pub dead_letters: bool,
    /// Whether the floor may pass it.
    pub pinned: bool,
    /// Builds of the file, oldest first; the last one is the current.
    pub attempts: Vec<Attempt>,
}

impl Open {
    pub(crate) fn new(intent: &Intent, token: u64, pinned: bool) -> Open {
        Open {
            name: intent.name.clone(),
            span: intent.span(),
            events: intent.events,
            previous_end: intent.previous_end,
            continues: intent.continues,
            dead_letters: intent.dead_letters,
            pinned,
            attempts: vec![Attempt { token, length: intent.length, crc: intent.crc }],
        }
    }

    /// The newest build.
    pub fn newest(&self) -> Attempt {
        *self.attempts.last().expect("an open intent has at least one attempt")
    }

    fn to_intent(&self, bucket: &BucketKey) -> OpenIntent {
        let Attempt { token, length, crc } = self.newest();
        let intent = Intent {
            bucket: bucket.clone(),
            name: self.name.clone(),
            length,
            crc,
            first: self.span.first,
            last: self.span.last,
            events: self.events,
            previous_end: self.previous_end,
            continues: self.continues,
            dead_letters: self.dead_letters,
        };
        OpenIntent { intent, token, attempts: self.attempts.clone() }
    }
}

impl Bucket {
    /// Takes out an open Intent that is committed or given up.
    pub(crate) fn close(&mut self, at: usize, floor: u64) -> Open {
        let open = self.open.remove(at);
        self.settle(open.span, open.previous_end.filter(|_| open.continues), floor);
        open
    }

    /// Takes out a hole that is given up; gives its events.
    pub(crate) fn close_hole(&mut self, at: usize, floor: u64) -> u64 {
        let Hole { span, events, .. } = self.holes.remove(at);
        // What waits in the holes before it is still to be filled.
        if at == 0 {
            self.end = self.end.max(Some(span.last));
        }
        self.settle(span, None, floor);
        events
    }

    /// Notes a range above the floor that nobody has to read again, joined to the one before if it
    /// continues that.
    fn settle(&mut self, span: Span, continues: Option<u64>, floor: u64) {
        if span.last < floor {
            return;
        }
        let at = self.committed.partition_point(|known| known.first < span.first);
        match at.checked_sub(1).map(|before| &mut self.committed[before]) {
            Some(before) if continues == Some(before.last) => before.last = span.last,
            _ => self.committed.insert(at, span),
        }
    }

    /// Forgets what lies below the floor; true when nothing is left to know.
    pub(crate) fn fold(&mut self, floor: u64) -> bool {
        self.committed.retain(|span| span.last >= floor);
        self.committed.is_empty()
            && self.open.is_empty()
            && self.holes.is_empty()
            && self.end.is_none_or(|end| end < floor)
    }

    /// The first open Intent that the floor may not pass.
    pub(crate) fn first_unpinned(&self) -> Option<u64> {
        self.open.iter().find(|open| !open.pinned).map(|open| open.span.first)
    }

    /// The first offset whose record the bucket still needs.
    pub fn first_needed(&self) -> Option<u64> {
        let open = self.open.first().map(|open| open.span.first);
        let hole = self.holes.first().map(|hole| hole.span.first);
        open.into_iter().chain(hole).min()
    }

    /// Events recorded here that are neither in a file nor given up.
    pub fn waiting(&self) -> u64 {
        let open = self.open.iter().map(|open| open.events);
        let holes = self.holes.iter().map(|hole| hole.events);
        open.chain(holes).fold(0, u64::saturating_add)
    }

    pub(crate) fn to_state(&self, key: &BucketKey) -> BucketState {
        BucketState {
            bucket: key.clone(),
            end: self.end,
            committed: self.committed.clone(),
            holes: self.holes.clone(),
            quarantine: self.quarantine.clone(),
        }
    }

    pub(crate) fn to_intents(&self, key: &BucketKey) -> impl Iterator<Item = OpenIntent> {
        self.open.iter().map(|open| open.to_intent(key))
    }
}

impl Cost for Open {
    fn cost(&self) -> u64 {
        96 + self.name.cost() + ENTRY * self.attempts.len() as u64
    }
}

impl Cost for Bucket {
    fn cost(&self) -> u64 {
        let quarantine = self.quarantine.as_ref().map_or(0, Cost::cost);
        ENTRY + self.committed.cost() + self.open.cost() + self.holes.cost() + quarantine
    }
}
