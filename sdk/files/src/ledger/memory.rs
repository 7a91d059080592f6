//! A ledger in memory: for memory channels, which die with their process, and for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use sdk_config::ledger::{
    BucketKey, CommitFile, Grant, Hole, Intent, Refusal, Root, RootClaim, RootId, Span,
};

use super::book::Book;
use super::bucket::Bucket;
use super::{FILES_PER_BATCH_MAX, Ledger, LedgerError, Raise};

/// A [`Ledger`] that lasts as long as the process. Clones are the same ledger.
#[derive(Debug, Clone, Default)]
pub struct MemoryLedger {
    state: Arc<Mutex<State>>,
    roots: MemoryRoots,
}

/// The recorded ids of roots, shared by the ledgers of one process.
#[derive(Debug, Clone, Default)]
pub struct MemoryRoots {
    ids: Arc<Mutex<BTreeMap<String, RootId>>>,
}

#[derive(Debug, Default)]
struct State {
    token: u64,
    roots: Vec<Root>,
    earlier: Vec<(u64, Root)>,
    floor: u64,
    sealed_end: Option<u64>,
    buckets: BTreeMap<BucketKey, Bucket>,
    lost: Vec<Span>,
    book: Book,
    epochs: Option<BTreeSet<u64>>,
}

impl MemoryRoots {
    /// An operator's word that a root has another id from now on.
    pub fn adopt(&self, root: Root) {
        self.lock().insert(root.path, root.id);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, RootId>> {
        self.ids.lock().expect("no panic while the lock is held")
    }

    fn judge(&self, claim: &RootClaim) -> Result<Root, Refusal> {
        match (self.lock().get(&claim.path).copied(), claim.id) {
            (Some(recorded), Some(id)) if recorded == id => {
                Ok(Root { path: claim.path.clone(), id })
            }
            (Some(recorded), Some(_)) => Err(Refusal::OtherRoot { recorded }),
            (recorded, None) => Err(Refusal::NoMarker { recorded }),
            (None, Some(_)) => Err(Refusal::UnrecordedRoot),
        }
    }
}

impl MemoryLedger {
    /// An empty ledger whose roots are recorded in `roots`.
    pub fn new(roots: MemoryRoots) -> MemoryLedger {
        MemoryLedger { state: Arc::default(), roots }
    }

    /// Says which epochs of the shard are not drained yet.
    pub fn set_epochs(&self, epochs: impl IntoIterator<Item = u64>) {
        self.lock().epochs = Some(epochs.into_iter().collect());
    }

    /// The floor.
    pub fn floor(&self) -> u64 {
        self.lock().floor
    }

    /// The books.
    pub fn book(&self) -> Book {
        self.lock().book.clone()
    }

    /// The first offset whose record is still needed.
    pub fn first_needed(&self) -> u64 {
        let state = self.lock();
        let needed = state.buckets.values().flat_map(|bucket| {
            let open = bucket.open.iter().map(|open| open.intent.first);
            open.chain(bucket.holes.iter().map(|hole| hole.span.first))
        });
        needed.min().map_or(state.floor, |first| first.min(state.floor))
    }

    /// The quarantined buckets, with the reasons.
    pub fn quarantined(&self) -> Vec<(BucketKey, String)> {
        let state = self.lock();
        let buckets = state.buckets.iter();
        buckets.filter_map(|(key, it)| Some((key.clone(), it.quarantine.clone()?))).collect()
    }

    /// The accepted Intents that are not committed.
    pub fn open_intents(&self) -> Vec<Intent> {
        let state = self.lock();
        let open = state.buckets.values().flat_map(|bucket| &bucket.open);
        open.map(|open| open.intent.clone()).collect()
    }

    /// An operator's word that what stood in a bucket's way is gone.
    pub fn resolve(&self, bucket: &BucketKey) {
        if let Some(known) = self.lock().buckets.get_mut(bucket) {
            known.quarantine = None;
        }
    }

    /// The lineage ends at `end`.
    pub fn seal(&self, end: u64) {
        self.lock().sealed_end = Some(end);
    }

    /// Nobody can read this range any more.
    pub fn lose(&self, span: Span) {
        self.lock().lost.push(span);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the lock is held")
    }

    fn holder(&self, token: u64) -> Result<MutexGuard<'_, State>, LedgerError> {
        let state = self.lock();
        // A token that was never granted is as little the holder's as an old one.
        if state.token != token || token == 0 {
            return Err(Refusal::StaleToken { current: state.token }.into());
        }
        Ok(state)
    }
}

impl State {
    fn bucket<T>(
        &mut self,
        key: &BucketKey,
        change: impl FnOnce(&mut Bucket) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut bucket = self.buckets.get(key).cloned().unwrap_or_default();
        let result = change(&mut bucket)?;
        if bucket.fold(self.floor) && bucket.quarantine.is_none() {
            self.buckets.remove(key);
        } else {
            self.buckets.insert(key.clone(), bucket);
        }
        Ok(result)
    }

    fn lost_in(&self, span: Span) -> u64 {
        lost_in(&self.lost, span)
    }

    fn check_end(&self, last: u64) -> Result<(), Refusal> {
        match self.sealed_end {
            Some(end) if last >= end => Err(Refusal::BeyondEnd { end }),
            _ => Ok(()),
        }
    }

    fn check_root(&self, bucket: &BucketKey, roots: &MemoryRoots) -> Result<(), Refusal> {
        let under = |root: &Root| {
            let rest = bucket.directory.strip_prefix(root.path.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let root = self.roots.iter().filter(|root| under(root)).max_by_key(|it| it.path.len());
        let root = root.ok_or_else(|| Refusal::Invalid("under no root".to_owned()))?;
        roots.judge(&RootClaim { path: root.path.clone(), id: Some(root.id) })?;
        match self.earlier.iter().find(|(_, earlier)| under(earlier)) {
            Some((token, root)) => {
                Err(Refusal::NotFenced { token: *token, root: root.path.clone() })
            }
            None => Ok(()),
        }
    }

    fn intend(&mut self, token: u64, intent: Intent, roots: &MemoryRoots) -> Result<(), Refusal> {
        check_events(intent.span(), intent.events)?;
        self.check_root(&intent.bucket, roots)?;
        self.check_end(intent.last)?;
        let floor = self.floor;
        let spans = self.lost.clone();
        let lost = move |span| lost_in(&spans, span);
        let key = intent.bucket.clone();
        let given_up = self.bucket(&key, |it| it.intend(token, intent, floor, &lost))?;
        self.book.lost += given_up;
        Ok(())
    }

    fn commit(&mut self, file: CommitFile) -> Result<(), Refusal> {
        let CommitFile { bucket, first, last, length, crc } = file;
        let floor = self.floor;
        let span = Span { first, last };
        if !self.buckets.contains_key(&bucket) {
            return Err(Refusal::Unknown);
        }
        let intent = self.bucket(&bucket, |it| it.commit(span, length, crc, floor))?;
        let book = &mut self.book;
        let column = if intent.dead_letters { &mut book.dead_lettered } else { &mut book.in_files };
        *column += intent.events;
        book.files += 1;
        book.bytes += length;
        Ok(())
    }
}

/// How many offsets of `span` are lost.
fn lost_in(lost: &[Span], span: Span) -> u64 {
    let overlaps = lost.iter().filter(|lost| lost.overlaps(span));
    overlaps.map(|lost| lost.last.min(span.last) - lost.first.max(span.first) + 1).sum()
}

fn check_events(span: Span, events: u64) -> Result<(), Refusal> {
    if span.first > span.last || events == 0 || events - 1 > span.last - span.first {
        return Err(Refusal::Invalid("more events than offsets, or none".to_owned()));
    }
    Ok(())
}

fn check_batch(files: usize) -> Result<(), Refusal> {
    if files > FILES_PER_BATCH_MAX {
        return Err(Refusal::Invalid(format!("a batch has at most {FILES_PER_BATCH_MAX} items")));
    }
    Ok(())
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn acquire(&self, roots: &[RootClaim]) -> Result<Grant, LedgerError> {
        let mut state = self.lock();
        let (mut usable, mut refused) = (Vec::new(), Vec::new());
        for claim in roots {
            match self.roots.judge(claim) {
                Ok(root) => usable.push(root),
                Err(refusal) => refused.push((claim.path.clone(), refusal)),
            }
        }
        if usable.is_empty()
            && let Some((_, refusal)) = refused.first()
        {
            return Err(refusal.clone().into());
        }
        let used = std::mem::replace(&mut state.roots, usable);
        let before = state.token;
        state.earlier.extend(used.into_iter().map(|root| (before, root)));
        state.token += 1;
        Ok(Grant {
            token: state.token,
            floor: state.floor,
            sealed_end: state.sealed_end,
            earlier: state.earlier.clone(),
            intents: state.buckets.values().flat_map(Bucket::intents).collect(),
            buckets: state.buckets.iter().map(|(key, bucket)| bucket.state(key)).collect(),
            lost: state.lost.clone(),
            roots: state.roots.clone(),
            refused_roots: refused,
        })
    }

    async fn recorded_root(&self, path: &str) -> Result<Option<RootId>, LedgerError> {
        Ok(self.roots.lock().get(path).copied())
    }

    async fn record_root(&self, root: Root) -> Result<RootId, LedgerError> {
        Ok(*self.roots.lock().entry(root.path).or_insert(root.id))
    }

    async fn show_roots(
        &self,
        token: u64,
        claims: Vec<RootClaim>,
    ) -> Result<Vec<Result<(), Refusal>>, LedgerError> {
        let mut state = self.holder(token)?;
        check_batch(claims.len())?;
        let answers = claims.iter().map(|claim| {
            let root = self.roots.judge(claim)?;
            if !state.roots.contains(&root) {
                state.roots.push(root);
            }
            Ok(())
        });
        Ok(answers.collect())
    }

    async fn fenced(&self, token: u64, cleaned: Vec<(u64, Root)>) -> Result<(), LedgerError> {
        self.holder(token)?.earlier.retain(|pair| !cleaned.contains(pair));
        Ok(())
    }

    async fn intend(
        &self,
        token: u64,
        intents: Vec<Intent>,
    ) -> Result<Vec<Result<(), Refusal>>, LedgerError> {
        let mut state = self.holder(token)?;
        check_batch(intents.len())?;
        Ok(intents.into_iter().map(|intent| state.intend(token, intent, &self.roots)).collect())
    }

    async fn commit(
        &self,
        token: u64,
        files: Vec<CommitFile>,
    ) -> Result<Vec<Result<(), Refusal>>, LedgerError> {
        let mut state = self.holder(token)?;
        check_batch(files.len())?;
        Ok(files.into_iter().map(|file| state.commit(file)).collect())
    }

    async fn raise_floor(&self, token: u64, raise: Raise) -> Result<(), LedgerError> {
        let Raise { from, to, events, drops } = raise;
        let mut state = self.holder(token)?;
        if from != state.floor {
            return Err(Refusal::Floor { floor: state.floor }.into());
        }
        if to < from {
            return Err(Refusal::Invalid("a floor never falls".to_owned()).into());
        }
        if let Some(end) = state.sealed_end
            && to > end
        {
            return Err(Refusal::BeyondEnd { end }.into());
        }
        if drops.lost > 0
            && (to == from || drops.lost > state.lost_in(Span { first: from, last: to - 1 }))
        {
            return Err(Refusal::NotLost.into());
        }
        let open = state.buckets.values().filter_map(Bucket::first_unpinned).min();
        if let Some(first) = open
            && first < to
        {
            return Err(Refusal::OpenBelow { first }.into());
        }
        state.floor = to;
        state.buckets.retain(|_, bucket| !bucket.fold(to) || bucket.quarantine.is_some());
        state.book.stored += events;
        state.book.lost += drops.lost;
        for (rule, events) in drops.by_rule {
            *state.book.dropped.entry(rule).or_default() += events;
        }
        Ok(())
    }

    async fn quarantine(
        &self,
        token: u64,
        bucket: BucketKey,
        reason: String,
    ) -> Result<(), LedgerError> {
        let mut state = self.holder(token)?;
        state.buckets.entry(bucket).or_default().quarantine = Some(reason);
        Ok(())
    }

    async fn release(&self, token: u64, bucket: BucketKey) -> Result<(), LedgerError> {
        let mut state = self.holder(token)?;
        if state.buckets.contains_key(&bucket) {
            state.bucket(&bucket, |it| {
                it.quarantine = None;
                Ok(())
            })?;
        }
        Ok(())
    }

    async fn add_hole(
        &self,
        token: u64,
        bucket: BucketKey,
        hole: Hole,
        continues: bool,
    ) -> Result<(), LedgerError> {
        let mut state = self.holder(token)?;
        check_events(hole.span, hole.events)?;
        state.check_end(hole.span.last)?;
        let floor = state.floor;
        Ok(state.bucket(&bucket, |it| it.add_hole(hole, continues, floor))?)
    }

    async fn give_up(&self, token: u64, bucket: BucketKey, span: Span) -> Result<(), LedgerError> {
        let mut state = self.holder(token)?;
        if state.lost_in(span) == 0 {
            return Err(Refusal::NotLost.into());
        }
        if !state.buckets.contains_key(&bucket) {
            return Err(Refusal::Unknown.into());
        }
        let floor = state.floor;
        let events = state.bucket(&bucket, |it| it.give_up(span, floor))?;
        state.book.lost += events;
        Ok(())
    }

    async fn epochs(&self) -> Option<BTreeSet<u64>> {
        self.lock().epochs.clone()
    }
}
