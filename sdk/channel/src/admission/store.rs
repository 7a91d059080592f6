//! The entries of a table: those in use in memory, the others in a view.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use sdk_event::{Lineage, ProducerId};
use sdk_wal::{View, ViewError};

use super::entry::Entry;

/// The tree of the view that cold entries are in.
const TREE: &str = "producers";

/// Entries of one table kept in memory when there is a view to put the others in.
const HOT_MAX: usize = 8192;

/// The view no longer has what was put there. The log does: the table is read
/// again from it when the lineage is opened anew.
#[derive(Debug, thiserror::Error)]
#[error("the view lost what it was given of producer {producer}")]
pub(crate) struct StoreError {
    producer: ProducerId,
    #[source]
    source: Option<ViewError>,
}

/// Every producer that a shard knows.
pub(super) struct Store {
    lineage: Lineage,
    view: Option<Arc<dyn View>>,
    hot_max: usize,
    hot: BTreeMap<ProducerId, Hot>,
    /// All of them, hot or cold, with as much as memory needs to hold.
    known: BTreeMap<ProducerId, Known>,
    /// Where the search for something to cool goes on; `None` for the beginning.
    hand: Option<ProducerId>,
}

struct Hot {
    entry: Entry,
    /// Used since the hand came by.
    used: bool,
    /// Differs from what the view has, if it has any.
    dirty: bool,
}

#[derive(Clone, Copy, Default)]
struct Known {
    /// From which minute of the epoch on it may be forgotten for another.
    evictable: u32,
    /// CRC32C of the entry in the view, by which a lost or stale one is noticed.
    cold_crc: Option<u32>,
}

impl Store {
    /// An empty store. In the view it uses keys of its own lineage.
    pub(super) fn new(lineage: Lineage, view: Option<Arc<dyn View>>) -> Store {
        Store {
            lineage,
            view,
            hot_max: HOT_MAX,
            hot: BTreeMap::new(),
            known: BTreeMap::new(),
            hand: None,
        }
    }

    pub(super) fn set_hot_max(&mut self, hot_max: usize) {
        self.hot_max = hot_max.max(1);
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn contains(&self, producer: &ProducerId) -> bool {
        self.known.contains_key(producer)
    }

    pub(super) fn get(&mut self, producer: &ProducerId) -> Result<Option<&Entry>, StoreError> {
        if !self.warm(producer)? {
            return Ok(None);
        }
        let hot = self.hot.get_mut(producer).expect("it was warmed");
        hot.used = true;
        Ok(Some(&hot.entry))
    }

    /// Sets an entry, and from when on it may be forgotten.
    pub(super) fn set(&mut self, producer: &ProducerId, entry: Entry, evictable: u32) {
        self.known.entry(*producer).or_default().evictable = evictable;
        if self.hot.insert(*producer, Hot { entry, used: true, dirty: true }).is_none() {
            self.cool(producer);
        }
    }

    pub(super) fn remove(&mut self, producer: &ProducerId) {
        self.hot.remove(producer);
        if let Some(Known { cold_crc: Some(_), .. }) = self.known.remove(producer)
            && let Some(view) = &self.view
        {
            // A copy that stays behind does no harm: `known` says what counts.
            let _ = view.remove(TREE, &self.key(producer));
        }
    }

    /// Up to `max` producers that may be forgotten at `minute`, those first that
    /// could have been for longest; with none, when the first will be.
    pub(super) fn evictable(&self, minute: u32, max: usize) -> Result<Vec<ProducerId>, u32> {
        let ripe = self.known.iter().filter(|(_, known)| known.evictable <= minute);
        let mut ripe: Vec<_> = ripe.map(|(producer, known)| (known.evictable, *producer)).collect();
        if ripe.is_empty() {
            let first = self.known.values().map(|known| known.evictable).min();
            return Err(first.unwrap_or(minute));
        }
        if ripe.len() > max {
            ripe.select_nth_unstable(max);
            ripe.truncate(max);
        }
        ripe.sort_unstable();
        Ok(ripe.into_iter().map(|(_, producer)| producer).collect())
    }

    pub(super) fn evictable_from(&self, producer: &ProducerId) -> Option<u32> {
        self.known.get(producer).map(|known| known.evictable)
    }

    /// The producers from `low` on, below `high`, in order.
    pub(super) fn ids<'a>(
        &'a self,
        low: &ProducerId,
        high: Option<&ProducerId>,
    ) -> impl Iterator<Item = ProducerId> + use<'a> {
        let high = high.map_or(Bound::Unbounded, |high| Bound::Excluded(*high));
        let bounds = (Bound::Included(*low), high);
        // An empty range that is the wrong way round would panic.
        let wrong = matches!(high, Bound::Excluded(high) if high <= *low);
        let range = (!wrong).then(|| self.known.range(bounds));
        range.into_iter().flatten().map(|(producer, _)| *producer)
    }

    /// An entry without making it hot.
    pub(super) fn peek(&self, producer: &ProducerId) -> Result<Option<Entry>, StoreError> {
        match self.hot.get(producer) {
            Some(hot) => Ok(Some(hot.entry.clone())),
            None if self.known.contains_key(producer) => self.cold(producer).map(Some),
            None => Ok(None),
        }
    }

    /// Makes the entry hot; `false` if there is none.
    fn warm(&mut self, producer: &ProducerId) -> Result<bool, StoreError> {
        if self.hot.contains_key(producer) {
            return Ok(true);
        }
        if !self.known.contains_key(producer) {
            return Ok(false);
        }
        let entry = self.cold(producer)?;
        self.hot.insert(*producer, Hot { entry, used: true, dirty: false });
        self.cool(producer);
        Ok(true)
    }

    /// Reads an entry from the view, and does not believe a wrong one.
    fn cold(&self, producer: &ProducerId) -> Result<Entry, StoreError> {
        let lost = |source| StoreError { producer: *producer, source };
        let view = self.view.as_ref().ok_or(lost(None))?;
        let value = view.get(TREE, &self.key(producer)).map_err(|error| lost(Some(error)))?;
        let value = value.ok_or(lost(None))?;
        let crc = self.known.get(producer).and_then(|known| known.cold_crc);
        if crc != Some(crc32c::crc32c(&value)) {
            return Err(lost(None));
        }
        Entry::decode(Bytes::from(value)).map_err(|error| lost(Some(error.into())))
    }

    /// Moves what was not used for longest into the view, a second chance each.
    fn cool(&mut self, keep: &ProducerId) {
        let Some(view) = self.view.clone() else { return };
        while self.hot.len() > self.hot_max {
            let from = self.hand.map_or(Bound::Unbounded, Bound::Excluded);
            let Some((producer, hot)) = self.hot.range_mut((from, Bound::Unbounded)).next() else {
                self.hand = None;
                continue;
            };
            let producer = *producer;
            self.hand = Some(producer);
            if std::mem::take(&mut hot.used) || producer == *keep {
                continue;
            }
            if hot.dirty {
                let value = hot.entry.encode();
                if let Err(error) = view.put(TREE, &self.key(&producer), &value) {
                    // A full disk, most likely. Memory has room for all of the table.
                    tracing::warn!(%error, "view takes no producers, keeping all in memory");
                    self.hot_max = usize::MAX;
                    return;
                }
                let known = self.known.get_mut(&producer).expect("what is hot is known");
                known.cold_crc = Some(crc32c::crc32c(&value));
            }
            self.hot.remove(&producer);
        }
    }

    fn key(&self, producer: &ProducerId) -> [u8; 36] {
        let mut key = [0; 36];
        key[..8].copy_from_slice(&self.lineage.flow.to_be_bytes());
        key[8..12].copy_from_slice(&self.lineage.shard.to_be_bytes());
        key[12..20].copy_from_slice(&self.lineage.epoch.to_be_bytes());
        key[20..].copy_from_slice(&producer.0);
        key
    }
}

impl Drop for Store {
    /// Another lineage's table uses other keys, so ours go.
    fn drop(&mut self) {
        let Some(view) = self.view.clone() else { return };
        for (producer, known) in &self.known {
            if known.cold_crc.is_some() && view.remove(TREE, &self.key(producer)).is_err() {
                return;
            }
        }
    }
}
