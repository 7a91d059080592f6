//! The ledger of one (sink group, lineage): floor, buckets, and who may change them.

use std::collections::{BTreeMap, VecDeque};

use sdk_config::ledger::{BucketKey, Grant, Root, RootId, Span};
use serde::{Deserialize, Serialize};

use super::book::Book;
use super::bucket::Bucket;
use super::size::{Cost, ENTRY};
use crate::command::LedgerReply;
use crate::id::NodeId;
use crate::limits::ANSWERS_KEPT;

/// The recorded ids of roots.
pub(crate) type Roots = BTreeMap<String, RootId>;

/// Who holds the newest token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The node.
    pub node: NodeId,
    /// Its incarnation.
    pub incarnation: u64,
}

/// The ledger of one (sink group, lineage).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// The newest token; 0 = none was granted yet.
    pub token: u64,
    /// Who holds it.
    pub holder: Option<Holder>,
    /// The node told to drain, where it is not the shard's owner.
    pub drainer: Option<NodeId>,
    /// Where the newest token may be used.
    pub roots: Vec<Root>,
    /// Staging directories of earlier tokens, not yet reported deleted.
    pub earlier: Vec<(u64, Root)>,
    /// Below it all is final.
    pub floor: u64,
    /// The first offset above every accepted Intent and every floor: the lineage cannot be sealed
    /// below it.
    pub end: u64,
    /// Buckets with something above the floor, or with a hole.
    pub buckets: BTreeMap<BucketKey, Bucket>,
    /// What has become of the events so far.
    pub book: Book,
    /// The number of the proposal expected next under the newest token.
    pub(crate) turn: u64,
    /// The answers to the proposals before it.
    pub(crate) answers: VecDeque<LedgerReply>,
    /// What the buckets take, reckoned.
    #[serde(skip)]
    pub(crate) buckets_size: u64,
}

impl Ledger {
    /// Moves to a fresh token: what the one before may have left in staging is to be fenced.
    pub(crate) fn hand_over(&mut self, token: u64, holder: Holder, roots: Vec<Root>) {
        let used = std::mem::replace(&mut self.roots, roots);
        self.earlier.extend(used.into_iter().map(|root| (self.token, root)));
        self.token = token;
        self.holder = Some(holder);
        self.turn = 1;
        self.answers.clear();
    }

    /// Everything the holder of the newest token has to know.
    pub(crate) fn grant(&self, sealed_end: Option<u64>, lost: Vec<Span>) -> Grant {
        Grant {
            token: self.token,
            floor: self.floor,
            sealed_end,
            earlier: self.earlier.clone(),
            intents: self.buckets.iter().flat_map(|(key, it)| it.to_intents(key)).collect(),
            buckets: self.buckets.iter().map(|(key, it)| it.to_state(key)).collect(),
            lost,
            roots: self.roots.clone(),
            refused_roots: Vec::new(),
        }
    }

    /// Changes one bucket, made if absent and forgotten if nothing is left in it, and keeps the
    /// reckoning.
    pub(crate) fn with_bucket<T>(
        &mut self,
        key: &BucketKey,
        change: impl FnOnce(&mut Bucket) -> T,
    ) -> T {
        let before = self.buckets.get(key).map_or(0, |bucket| entry_cost(key, bucket));
        let bucket = self.buckets.entry(key.clone()).or_default();
        let result = change(bucket);
        let gone = bucket.fold(self.floor) && bucket.quarantine.is_none();
        let after = if gone { 0 } else { entry_cost(key, bucket) };
        if gone {
            self.buckets.remove(key);
        }
        self.buckets_size = self.buckets_size.saturating_sub(before).saturating_add(after);
        result
    }

    /// Raises the floor and forgets what lies below.
    pub(crate) fn raise_floor(&mut self, floor: u64) {
        self.floor = floor;
        self.end = self.end.max(floor);
        let size = &mut self.buckets_size;
        self.buckets.retain(|key, bucket| {
            let before = entry_cost(key, bucket);
            let gone = bucket.fold(floor);
            let after = if gone { 0 } else { entry_cost(key, bucket) };
            *size = size.saturating_sub(before).saturating_add(after);
            !gone
        });
    }

    /// Keeps the answer for a repeat of the proposal.
    pub(crate) fn answered(&mut self, answer: LedgerReply) {
        self.turn += 1;
        self.answers.push_back(answer);
        if self.answers.len() > ANSWERS_KEPT {
            self.answers.pop_front();
        }
    }

    /// The answer given to proposal `number`, if that was recent.
    pub(crate) fn first_answer(&self, number: u64) -> Option<&LedgerReply> {
        let back = usize::try_from(self.turn.checked_sub(number)?).ok()?;
        self.answers.get(self.answers.len().checked_sub(back)?)
    }

    /// Whether the lineage, sealed at `end`, has nothing left to do here.
    pub fn drained(&self, end: u64) -> bool {
        self.floor >= end && self.buckets.values().all(|bucket| bucket.first_needed().is_none())
    }

    /// The first offset whose record this group still needs.
    pub fn first_needed(&self) -> u64 {
        let buckets = self.buckets.values().filter_map(Bucket::first_needed);
        buckets.min().map_or(self.floor, |first| first.min(self.floor))
    }

    pub(crate) fn recount(&mut self) {
        self.buckets_size = self.buckets.iter().map(|(key, it)| entry_cost(key, it)).sum();
    }
}

fn entry_cost(key: &BucketKey, bucket: &Bucket) -> u64 {
    ENTRY + key.cost() + bucket.cost()
}

impl Cost for Ledger {
    fn cost(&self) -> u64 {
        let earlier: u64 = self.earlier.iter().map(Cost::cost).sum();
        // The room for answers is reckoned in full, so that answering needs none.
        let answers = (ANSWERS_KEPT as u64) * 256;
        256 + answers + self.roots.cost() + earlier + self.book.cost() + self.buckets_size
    }
}
