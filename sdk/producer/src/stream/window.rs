//! The blocks that have no answer yet: what to send next, and what an answer means.
//!
//! Pure state: it neither waits nor sends.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use sdk_event::Block;
use tokio::time::Instant;

use super::{Reply, Stored, with_generation};
use crate::error::DeliveryError;

/// Sequences in their order: blocks, and gaps where a block was given up.
///
/// ```text
///   front                                       back
///     ├─ answered ─┼─ sent, unanswered ─┼─ unsent ─┤
///     (in between)          number: Some     number: None
/// ```
pub(super) struct Window {
    entries: VecDeque<Entry>,
    /// Message numbers of this connection, to the first sequence of their entry.
    numbers: HashMap<u64, u64>,
    next_number: u64,
    /// Entries before this sequence are sent, or done.
    unsent_from: u64,
    /// The sequence that the next block must begin at.
    next: u64,
    /// A message was refused, and with it those sent behind it.
    refused: Option<Refused>,
}

struct Entry {
    first: u64,
    next: u64,
    /// `None`: nothing will ever come for these sequences.
    block: Option<Block>,
    /// Under which number it was sent on this connection.
    number: Option<u64>,
    sent_before: bool,
    /// An attempt ended without an answer: it may be stored.
    doubtful: bool,
    deadline: Option<Instant>,
    reply: Option<Reply>,
    done: bool,
}

struct Refused {
    first: u64,
    /// Messages sent behind it that have no answer yet.
    behind: usize,
}

/// What to put on the wire.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    Block(Bytes),
    Gap { first: u64, next: u64 },
}

/// A message and what is known about it.
pub(super) struct Outgoing {
    pub(super) message: Message,
    pub(super) again: bool,
}

/// A block that left the window, with whom to tell.
pub(super) struct Settled {
    pub(super) reply: Reply,
    pub(super) events: u32,
    pub(super) bytes: usize,
    pub(super) result: Result<Stored, DeliveryError>,
}

/// What an answer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subject {
    index: usize,
    pub(super) first: u64,
    pub(super) next: u64,
}

impl Window {
    pub(super) fn new(next: u64) -> Window {
        Window {
            entries: VecDeque::new(),
            numbers: HashMap::new(),
            next_number: 0,
            unsent_from: next,
            next,
            refused: None,
        }
    }

    /// Whether nothing waits for an answer, nor to be declared.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether nobody waits for an answer.
    pub(super) fn is_settled(&self) -> bool {
        self.entries.iter().all(|entry| entry.reply.is_none())
    }

    /// Whether nobody waits for an answer about a sequence before `mark`.
    pub(super) fn is_settled_before(&self, mark: u64) -> bool {
        let before = self.entries.iter().take_while(|entry| entry.first < mark);
        before.into_iter().all(|entry| entry.reply.is_none())
    }

    /// The sequence behind everything that was pushed.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The lowest sequence still to be answered, and whether it was ever sent.
    pub(super) fn lowest(&self) -> (u64, bool) {
        match self.entries.front() {
            Some(entry) => (entry.first, entry.sent_before || entry.doubtful),
            None => (self.next, false),
        }
    }

    /// Takes a block in.
    ///
    /// # Errors
    /// Gives the reply back if the block does not begin at [`next`](Self::next).
    pub(super) fn push(
        &mut self,
        block: Block,
        deadline: Option<Instant>,
        reply: Reply,
    ) -> Result<(), Reply> {
        let header = block.header();
        let (first, next) = (header.first_sequence, header.end_sequence());
        if first != self.next {
            return Err(reply);
        }
        // In order, so that only the front has to be looked at.
        let before = self.entries.back().and_then(|entry| entry.deadline);
        let deadline = deadline.map(|deadline| before.map_or(deadline, |b| b.max(deadline)));
        let entry = Entry { deadline, reply: Some(reply), ..Entry::new(first, next, Some(block)) };
        self.entries.push_back(entry);
        self.next = next;
        Ok(())
    }

    /// Takes a gap in; false if it does not begin at [`next`](Self::next).
    pub(super) fn push_gap(&mut self, first: u64, next: u64) -> bool {
        if first != self.next || next <= first {
            return false;
        }
        self.entries.push_back(Entry::new(first, next, None));
        self.next = next;
        true
    }

    /// A number for a message that is not about an entry.
    pub(super) fn take_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.next_unsent().is_some()
    }

    fn next_unsent(&self) -> Option<usize> {
        let from = self.entries.partition_point(|entry| entry.first < self.unsent_from);
        (from..self.entries.len()).find(|index| self.entries[*index].is_unsent())
    }

    /// How many entries will be sent again.
    pub(super) fn retries(&self) -> usize {
        self.entries.iter().filter(|entry| entry.is_unsent() && entry.sent_before).count()
    }

    /// The next message to send. It counts as sent.
    pub(super) fn take_unsent(&mut self) -> Option<Outgoing> {
        let index = self.next_unsent()?;
        let number = self.take_number();
        let entry = &mut self.entries[index];
        entry.number = Some(number);
        let again = std::mem::replace(&mut entry.sent_before, true);
        self.numbers.insert(number, entry.first);
        self.unsent_from = entry.next;
        let message = match &entry.block {
            Some(block) => Message::Block(block.bytes().clone()),
            None => Message::Gap { first: entry.first, next: entry.next },
        };
        Some(Outgoing { message, again })
    }

    /// What the message `number` was about; `None` if that no longer matters.
    pub(super) fn answered(&mut self, number: u64) -> Option<Subject> {
        let first = self.numbers.remove(&number)?;
        if let Some(refused) = &mut self.refused
            && first > refused.first
        {
            refused.behind = refused.behind.saturating_sub(1);
        }
        let index = self.entries.binary_search_by_key(&first, |entry| entry.first).ok()?;
        let entry = &self.entries[index];
        (entry.number == Some(number) && !entry.done).then_some(Subject {
            index,
            first,
            next: entry.next,
        })
    }

    /// The message is dealt with. Returns whom to tell, if it was a block that somebody waits for.
    pub(super) fn settle(
        &mut self,
        subject: Subject,
        result: Result<Stored, DeliveryError>,
    ) -> Option<Settled> {
        let entry = &mut self.entries[subject.index];
        entry.done = true;
        let settled = entry.settle(result);
        self.pop_done();
        settled
    }

    /// The message was refused and is to be sent again, with those behind it.
    pub(super) fn refuse(&mut self, subject: Subject) {
        let entry = &mut self.entries[subject.index];
        entry.number = None;
        self.unsent_from = self.unsent_from.min(subject.first);
        if self.refused.as_ref().is_none_or(|refused| subject.first < refused.first) {
            let behind = self.entries.range(subject.index + 1..);
            let behind = behind.filter(|entry| entry.number.is_some() && !entry.done).count();
            self.refused = Some(Refused { first: subject.first, behind });
        }
    }

    /// Whether a refusal is being waited out: answers about messages behind it are still to come.
    pub(super) fn is_unwinding(&self) -> bool {
        self.refused.as_ref().is_some_and(|refused| refused.behind > 0)
    }

    /// The refusal is behind us: what is unsent may be sent.
    pub(super) fn resume(&mut self) {
        self.refused = None;
    }

    /// It may be stored, for all that was answered.
    pub(super) fn doubt(&mut self, subject: Subject) {
        self.entries[subject.index].doubtful = true;
    }

    /// The block is given up: its sequences become a gap. Returns whom to tell.
    pub(super) fn give_up(
        &mut self,
        subject: Subject,
        result: Result<Stored, DeliveryError>,
    ) -> Option<Settled> {
        let settled = self.entries[subject.index].settle(result);
        self.refuse(subject);
        settled
    }

    /// Takes everything from `subject` on out; the next block must begin there. The first of those
    /// returned is its own, with `result`; the others are behind it.
    pub(super) fn cut(
        &mut self,
        subject: Subject,
        result: Result<Stored, DeliveryError>,
    ) -> Vec<Settled> {
        let mut result = Some(result);
        let mut settled = Vec::new();
        for mut entry in self.entries.drain(subject.index..) {
            let result = result.take().unwrap_or(Err(DeliveryError::Behind));
            settled.extend(entry.settle(result));
        }
        self.next = subject.first;
        self.unsent_from = self.unsent_from.min(subject.first);
        self.refused = None;
        self.pop_done();
        settled
    }

    /// The node expects `expected`. Declares what lies below our lowest, and drops gaps that are
    /// passed already. What is sent before our lowest again has been answered or given up.
    pub(super) fn expect(&mut self, expected: u64) {
        while let Some(front) = self.entries.front_mut() {
            if front.block.is_some() || front.number.is_some() {
                break;
            }
            if front.next > expected {
                front.first = front.first.max(expected);
                break;
            }
            self.entries.pop_front();
        }
        if let Some(front) = self.entries.front()
            && expected < front.first
        {
            self.entries.push_front(Entry::new(expected, front.first, None));
            self.unsent_from = expected;
        }
    }

    /// Whether this is a gap that the node has passed already.
    pub(super) fn is_passed_gap(&self, subject: Subject, expected: u64) -> bool {
        self.entries[subject.index].block.is_none() && expected >= subject.next
    }

    /// The connection is gone, with every answer that was still to come.
    pub(super) fn disconnected(&mut self) {
        self.numbers.clear();
        self.next_number = 0;
        self.refused = None;
        for entry in &mut self.entries {
            entry.doubtful |= entry.number.take().is_some() && !entry.done;
        }
        self.unsent_from = self.entries.front().map_or(self.next, |entry| entry.first);
        self.merge_gaps();
    }

    /// When the first block's deadline passes.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.entries.iter().find(|entry| entry.reply.is_some())?.deadline
    }

    /// Gives up the blocks whose deadline has passed.
    pub(super) fn expire(&mut self, now: Instant, reason: &Arc<str>) -> Vec<Settled> {
        let mut settled = Vec::new();
        for entry in &mut self.entries {
            if entry.reply.is_none() {
                continue;
            }
            if entry.deadline.is_none_or(|deadline| deadline > now) {
                break;
            }
            settled.extend(entry.abandon(reason));
        }
        if !settled.is_empty() {
            self.merge_gaps();
        }
        settled
    }

    /// Gives up everything, as if its deadline had passed, and begins anew at `next`.
    pub(super) fn restart(&mut self, next: u64, reason: &Arc<str>) -> Vec<Settled> {
        let settled = self.entries.iter_mut().filter_map(|entry| entry.abandon(reason)).collect();
        self.entries.clear();
        self.next = next;
        self.unsent_from = next;
        self.refused = None;
        settled
    }

    /// Empties the window: everybody who waits is told what `answer` makes of whether it may be
    /// stored.
    pub(super) fn fail_all(
        &mut self,
        mut answer: impl FnMut(bool) -> DeliveryError,
    ) -> Vec<Settled> {
        let entries = std::mem::take(&mut self.entries);
        self.unsent_from = self.next;
        self.refused = None;
        let fail = |mut entry: Entry| {
            let error = answer(entry.may_be_stored());
            entry.settle(Err(error))
        };
        entries.into_iter().filter_map(fail).collect()
    }

    /// Moves what is left into another generation, as if it had never been sent. Doubtful blocks are
    /// given up unless `resend_doubtful`; also returns how many of their events are sent again.
    pub(super) fn regenerate(
        &mut self,
        generation: u64,
        resend_doubtful: bool,
    ) -> (Vec<Settled>, u64) {
        let (mut settled, mut resent) = (Vec::new(), 0);
        for entry in &mut self.entries {
            let doubtful = entry.may_be_stored();
            if doubtful && !resend_doubtful {
                let error = DeliveryError::ProducerExpired { perhaps_stored: true };
                settled.extend(entry.settle(Err(error)));
            }
            if let Some(block) = &mut entry.block {
                resent += if doubtful { u64::from(block.header().count) } else { 0 };
                *block = with_generation(block, generation);
            }
            (entry.number, entry.sent_before, entry.doubtful) = (None, false, false);
        }
        // A new numbering may begin anywhere.
        while self.entries.pop_front_if(|entry| entry.block.is_none()).is_some() {}
        self.unsent_from = self.entries.front().map_or(self.next, |entry| entry.first);
        (settled, resent)
    }

    fn pop_done(&mut self) {
        while self.entries.pop_front_if(|entry| entry.done).is_some() {}
    }

    /// Makes one of gaps that follow each other, so that a long outage does not pile them up.
    fn merge_gaps(&mut self) {
        self.pop_done();
        let mut merged: VecDeque<Entry> = VecDeque::with_capacity(self.entries.len());
        for entry in self.entries.drain(..) {
            match merged.back_mut() {
                Some(before) if before.is_unsent_gap() && entry.is_unsent_gap() => {
                    before.next = entry.next;
                    before.sent_before |= entry.sent_before;
                    before.doubtful |= entry.doubtful;
                }
                _ => merged.push_back(entry),
            }
        }
        self.entries = merged;
    }
}

impl Entry {
    fn new(first: u64, next: u64, block: Option<Block>) -> Entry {
        Entry {
            first,
            next,
            block,
            number: None,
            sent_before: false,
            doubtful: false,
            deadline: None,
            reply: None,
            done: false,
        }
    }

    fn is_unsent(&self) -> bool {
        self.number.is_none() && !self.done
    }

    fn is_unsent_gap(&self) -> bool {
        self.is_unsent() && self.block.is_none()
    }

    fn may_be_stored(&self) -> bool {
        self.doubtful || self.number.is_some()
    }

    /// Takes the block out, for good.
    fn settle(&mut self, result: Result<Stored, DeliveryError>) -> Option<Settled> {
        let block = self.block.take();
        let (events, bytes) =
            block.map_or((0, 0), |block| (block.header().count, block.bytes().len()));
        let reply = self.reply.take()?;
        Some(Settled { reply, events, bytes, result })
    }

    /// Its time is over.
    fn abandon(&mut self, reason: &Arc<str>) -> Option<Settled> {
        let reason = Arc::clone(reason);
        let error = if self.may_be_stored() {
            DeliveryError::Unknown { reason }
        } else {
            DeliveryError::Expired { reason }
        };
        self.settle(Err(error))
    }
}

#[cfg(test)]
mod tests;
