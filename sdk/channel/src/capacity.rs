//! How much a channel may hold.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use sdk_event::Lineage;

/// The room of one channel on this node, shared by all its shards and lineages.
///
/// A channel has two limits: the bytes of its own blocks that are not delivered
/// yet, and the span of the log that its slowest cursor keeps from being freed.
#[derive(Debug)]
pub struct Capacity {
    name: Arc<str>,
    bytes_max: u64,
    span_max: u64,
    used: AtomicU64,
    span: AtomicU64,
    spans: Mutex<BTreeMap<Lineage, u64>>,
}

impl Capacity {
    /// Room for `bytes_max` bytes of blocks, and for `span_max` bytes of log
    /// (`u64::MAX` for as much as the log has).
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, bytes_max: u64, span_max: u64) -> Arc<Capacity> {
        Arc::new(Capacity {
            name: name.into(),
            bytes_max,
            span_max,
            used: AtomicU64::new(0),
            span: AtomicU64::new(0),
            spans: Mutex::default(),
        })
    }

    /// The channel's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The most bytes of blocks.
    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Bytes of blocks that are not delivered yet.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes of log from the slowest cursor to the end.
    #[must_use]
    pub fn span(&self) -> u64 {
        self.span.load(Ordering::Relaxed)
    }

    /// Takes room for `bytes`, if there is some. An empty channel takes one put
    /// of any size, so that a limit below a block's size cannot stop it for ever.
    pub(crate) fn reserve(&self, bytes: u64) -> bool {
        if self.span() > self.span_max {
            return false;
        }
        let take = |used: u64| {
            let sum = used.saturating_add(bytes);
            (used == 0 || sum <= self.bytes_max).then_some(sum)
        };
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Counts what is there already.
    pub(crate) fn add(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives room back.
    pub(crate) fn release(&self, bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(bytes));
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    pub(crate) fn limits_span(&self) -> bool {
        self.span_max != u64::MAX
    }

    /// The span that the cursor in `lineage` keeps; zero when it keeps none.
    pub(crate) fn set_span(&self, lineage: Lineage, bytes: u64) {
        let mut spans = self.spans.lock().expect("no panic while the lock is held");
        match bytes {
            0 => spans.remove(&lineage),
            _ => spans.insert(lineage, bytes),
        };
        self.span.store(spans.values().copied().max().unwrap_or(0), Ordering::Relaxed);
    }
}
