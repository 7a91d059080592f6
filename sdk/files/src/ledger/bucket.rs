//! What a [`MemoryLedger`](super::MemoryLedger) knows of one bucket: ranges committed or given up,
//! open Intents, holes. They never overlap.

use sdk_config::ledger::{
    Attempt, BucketKey, BucketState, Hole, Intent, OpenIntent, Refusal, Span,
};

#[derive(Debug, Clone, Default)]
pub(super) struct Bucket {
    pub(super) end: Option<u64>,
    pub(super) committed: Vec<Span>,
    pub(super) open: Vec<Open>,
    pub(super) holes: Vec<Hole>,
    pub(super) quarantine: Option<String>,
}

/// An accepted Intent without its Commit.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) intent: Intent,
    /// Whether the floor may pass it.
    pub(super) pinned: bool,
    pub(super) attempts: Vec<Attempt>,
}

impl Open {
    fn newest(&self) -> Attempt {
        *self.attempts.last().expect("an open intent has at least one attempt")
    }
}

impl Bucket {
    /// Accepts an Intent; gives the events lost with the hole it closes. `lost`: how many
    /// offsets of a range are.
    pub(super) fn intend(
        &mut self,
        token: u64,
        intent: Intent,
        floor: u64,
        lost: impl Fn(Span) -> u64,
    ) -> Result<u64, Refusal> {
        let attempt = Attempt { token, length: intent.length, crc: intent.crc };
        if let Some(open) = self.open.iter_mut().find(|it| it.intent.span() == intent.span()) {
            let newest = open.newest();
            let same_file = open.intent.name == intent.name
                && open.intent.events == intent.events
                && open.intent.dead_letters == intent.dead_letters;
            let same_bytes = newest.length == intent.length && newest.crc == intent.crc;
            if !same_file || (newest.token == token && !same_bytes) {
                return Err(Refusal::Changed);
            }
            if newest.token != token {
                open.attempts.push(attempt);
                open.intent = intent;
            }
            return Ok(0);
        }
        if self.quarantine.is_some() {
            return Err(Refusal::Quarantined);
        }
        match self.end {
            Some(end) if intent.first <= end => return Err(Refusal::Overlap { end }),
            Some(end) if intent.previous_end != Some(end) => {
                return Err(Refusal::Gap { end: Some(end) });
            }
            None if intent.previous_end.is_some_and(|end| end >= floor) => {
                return Err(Refusal::Gap { end: None });
            }
            _ => (),
        }
        let given_up = self.fill_hole(&intent, floor, lost)?;
        self.end = Some(intent.last);
        let pinned = given_up.is_some();
        self.open.push(Open { intent, pinned, attempts: vec![attempt] });
        Ok(given_up.unwrap_or(0))
    }

    /// Takes the Intent's range out of the first hole, if there are holes. Gives how many of the
    /// hole's events are then in no file; `None` without holes.
    fn fill_hole(
        &mut self,
        intent: &Intent,
        floor: u64,
        lost: impl Fn(Span) -> u64,
    ) -> Result<Option<u64>, Refusal> {
        let Some(hole) = self.holes.first_mut() else {
            if intent.first < floor {
                return Err(Refusal::BelowFloor { floor });
            }
            return Ok(None);
        };
        if intent.first < hole.span.first || hole.span.last < intent.last {
            return Err(Refusal::NotOldest { first: hole.span.first });
        }
        if intent.dead_letters != hole.dead_letters {
            return Err(Refusal::Changed);
        }
        let left = hole.events.checked_sub(intent.events);
        let left =
            left.ok_or_else(|| Refusal::Invalid("more events than the hole has".to_owned()))?;
        if intent.last < hole.span.last {
            hole.span.first = intent.last + 1;
            hole.events = left;
            return Ok(Some(0));
        }
        // Where files have filled the beginning of the hole, they may lie in front of those.
        let rest = self.end.is_some_and(|end| end + 1 == hole.span.first);
        let from = if rest { 0 } else { hole.span.first };
        if left > lost(Span { first: from, last: intent.last }) {
            return Err(Refusal::NotLost);
        }
        self.holes.remove(0);
        Ok(Some(left))
    }

    /// Closes the oldest open Intent.
    pub(super) fn commit(
        &mut self,
        span: Span,
        length: u64,
        crc: u32,
        floor: u64,
    ) -> Result<Intent, Refusal> {
        let oldest = self.open.first().ok_or(Refusal::Unknown)?;
        if oldest.intent.span() != span {
            let later = self.open.iter().any(|it| it.intent.span() == span);
            let first = oldest.intent.first;
            return Err(if later { Refusal::NotOldest { first } } else { Refusal::Unknown });
        }
        if !oldest.attempts.iter().any(|it| it.length == length && it.crc == crc) {
            return Err(Refusal::Mismatch);
        }
        let intent = self.open.remove(0).intent;
        self.settle(span, intent.previous_end.filter(|_| intent.continues), floor);
        Ok(intent)
    }

    /// Notes a range nobody has to read again, joined to the one before if it continues that.
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

    /// Pins an open Intent, or adds a hole above everything.
    pub(super) fn add_hole(
        &mut self,
        hole: Hole,
        continues: bool,
        floor: u64,
    ) -> Result<(), Refusal> {
        if let Some(open) = self.open.iter_mut().find(|it| it.intent.span() == hole.span) {
            open.pinned = true;
            return Ok(());
        }
        let recorded = self.committed.last().map(|it| it.last);
        let end = self.holes.last().map(|it| it.span.last).max(self.end).max(recorded);
        match end {
            Some(end) if hole.span.first <= end => return Err(Refusal::Overlap { end }),
            _ if hole.span.first < floor => return Err(Refusal::BelowFloor { floor }),
            _ => (),
        }
        // What was given up between them stays apart.
        let apart = |hole: &Hole| recorded.is_some_and(|last| hole.span.first <= last);
        match self.holes.last_mut() {
            Some(last) if continues && last.dead_letters == hole.dead_letters && !apart(last) => {
                last.span.last = hole.span.last;
                last.events += hole.events;
            }
            _ => self.holes.push(hole),
        }
        Ok(())
    }

    /// Gives an open Intent or a hole up; gives its events.
    pub(super) fn give_up(&mut self, span: Span, floor: u64) -> Result<u64, Refusal> {
        if let Some(at) = self.open.iter().position(|it| it.intent.span() == span) {
            let intent = self.open.remove(at).intent;
            self.settle(span, intent.previous_end.filter(|_| intent.continues), floor);
            return Ok(intent.events);
        }
        let at = self.holes.iter().position(|hole| hole.span == span).ok_or(Refusal::Unknown)?;
        if at == 0 {
            self.end = self.end.max(Some(span.last));
        }
        self.settle(span, None, floor);
        Ok(self.holes.remove(at).events)
    }

    /// Forgets what lies below the floor; true when nothing is left to know.
    pub(super) fn fold(&mut self, floor: u64) -> bool {
        self.committed.retain(|span| span.last >= floor);
        self.committed.is_empty()
            && self.open.is_empty()
            && self.holes.is_empty()
            && self.end.is_none_or(|end| end < floor)
    }

    /// The first open Intent that the floor may not pass.
    pub(super) fn first_unpinned(&self) -> Option<u64> {
        self.open.iter().find(|it| !it.pinned).map(|it| it.intent.first)
    }

    pub(super) fn state(&self, bucket: &BucketKey) -> BucketState {
        BucketState {
            bucket: bucket.clone(),
            end: self.end,
            committed: self.committed.clone(),
            holes: self.holes.clone(),
            quarantine: self.quarantine.clone(),
        }
    }

    pub(super) fn intents(&self) -> impl Iterator<Item = OpenIntent> {
        self.open.iter().map(|open| OpenIntent {
            intent: open.intent.clone(),
            token: open.newest().token,
            attempts: open.attempts.clone(),
        })
    }
}
