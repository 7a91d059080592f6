//! Placing events one after the other without rendering a path for each.

use std::sync::Arc;

use sdk_event::{Block, EventRef, HeaderKey};
use smallvec::SmallVec;

use super::{DeadReason, HeaderValue, Layout, TIMESTAMP_HEADER, Window};

/// Places the events of one sink, remembering where the last one went: as long as the timestamp
/// stays in the same stretch of time and the headers in the path keep their values, nothing is
/// rendered and nothing is looked up. For a block without own headers the values are compared once.
#[derive(Debug)]
pub struct Placer {
    layout: Arc<Layout>,
    put_time_ms: i64,
    /// Timestamps above and below are dead letters, for this put.
    ahead_limit_ms: i64,
    behind_limit_ms: i64,
    /// Which block the keys belong to: its address, never followed, good within one put.
    block: usize,
    keys: SmallVec<[Option<HeaderKey>; 4]>,
    /// Whether the block's headers are the same for all its events, and are those remembered.
    match_of_block: Match,
    remembered: Option<Remembered>,
    directory: String,
    prefix: String,
}

/// The place of the last event, and for which others it is right.
#[derive(Debug)]
struct Remembered {
    window: Window,
    /// The values of the headers in the path, in the order of [`Layout::headers`].
    values: Vec<Option<String>>,
    place: Place,
    /// A put after this makes the event late.
    in_time_until_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    /// No event of the block can differ from what is remembered.
    All,
    /// Each event has to be looked at.
    Look,
    /// What is remembered is another value, for every event of the block.
    None,
}

/// Where an event goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// To the bucket with this number.
    Bucket(u32),
    /// To the dead letters.
    Dead(DeadReason),
}

impl Placer {
    /// A placer that remembers nothing yet.
    pub fn new(layout: Arc<Layout>) -> Placer {
        Placer {
            layout,
            put_time_ms: 0,
            ahead_limit_ms: i64::MAX,
            behind_limit_ms: i64::MIN,
            block: 0,
            keys: SmallVec::new(),
            match_of_block: Match::None,
            remembered: None,
            directory: String::new(),
            prefix: String::new(),
        }
    }

    /// The layout it renders.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Begins the events of one put.
    pub fn begin_put(&mut self, put_time_ms: i64) {
        self.put_time_ms = put_time_ms;
        self.ahead_limit_ms = self.layout.ahead_limit(put_time_ms);
        self.behind_limit_ms = self.layout.behind_limit(put_time_ms);
        self.block = 0;
    }

    /// The put time of the current put.
    pub fn put_time_ms(&self) -> i64 {
        self.put_time_ms
    }

    /// Forgets which bucket the last event went to. For when buckets' numbers are given anew.
    pub fn forget(&mut self) {
        self.remembered = None;
        self.match_of_block = Match::None;
    }

    /// Whether the last event placed came after its directory's time had passed.
    pub fn late(&self) -> bool {
        self.remembered.as_ref().is_some_and(|last| self.put_time_ms > last.in_time_until_ms)
    }

    /// Where `event` of the current put goes. `bucket` gives the number of a directory and prefix;
    /// it is asked only when they are not those of the event before.
    #[inline]
    pub fn place(&mut self, event: &EventRef<'_>, bucket: impl FnOnce(&str, &str) -> u32) -> Place {
        let block = std::ptr::from_ref(event.block()).addr();
        if block != self.block {
            self.block = block;
            self.enter(event.block());
        }
        let timestamp_ms = match event.timestamp_ms() {
            Some(timestamp_ms)
                if self.behind_limit_ms <= timestamp_ms && timestamp_ms <= self.ahead_limit_ms =>
            {
                timestamp_ms
            }
            _ => match self.layout.timestamp(event, self.put_time_ms) {
                Ok(timestamp_ms) => timestamp_ms,
                Err(reason) => return Place::Dead(reason),
            },
        };
        if let Some(last) = &self.remembered
            && last.window.contains(timestamp_ms)
            && (self.match_of_block == Match::All
                || self.match_of_block == Match::Look && same_values(&self.keys, event, last))
        {
            return last.place;
        }
        self.place_anew(event, timestamp_ms, bucket)
    }

    fn enter(&mut self, block: &Block) {
        self.keys = self.layout.headers.iter().map(|name| block.key(name)).collect();
        self.match_of_block = if self.keys.is_empty() {
            Match::All
        } else if block.has_own_headers() {
            Match::Look
        } else {
            let shared = self.layout.headers.iter().map(|name| block.shared_header(name));
            let same = self
                .remembered
                .as_ref()
                .is_some_and(|last| shared.eq(last.values.iter().map(|value| value.as_deref())));
            if same { Match::All } else { Match::None }
        };
    }

    #[cold]
    fn place_anew(
        &mut self,
        event: &EventRef<'_>,
        timestamp_ms: i64,
        bucket: impl FnOnce(&str, &str) -> u32,
    ) -> Place {
        let layout = &self.layout;
        let value = |name: &str| {
            let index = layout.headers.iter().position(|known| known == name);
            match index.and_then(|index| event.header_at(self.keys[index]?)) {
                Some(value) => HeaderValue::Text(value),
                None if name == TIMESTAMP_HEADER => HeaderValue::Number(timestamp_ms),
                None => HeaderValue::Missing,
            }
        };
        let rendered = layout.render(timestamp_ms, value, &mut self.directory, &mut self.prefix);
        let place = match rendered {
            Ok(()) => Place::Bucket(bucket(&self.directory, &self.prefix)),
            Err(reason) => Place::Dead(reason),
        };
        let window = match layout.unit {
            None => Some(Window::EVER),
            Some(unit) => layout.calendar.window(timestamp_ms, unit),
        };
        let Some(window) = window else {
            self.remembered = None;
            return place;
        };
        // The strings of the place before are used again.
        let mut values = self.remembered.take().map_or_else(Vec::new, |last| last.values);
        values.resize(self.keys.len(), None);
        for (slot, key) in values.iter_mut().zip(&self.keys) {
            match key.and_then(|key| event.header_at(key)) {
                Some(value) => {
                    let text = slot.get_or_insert_default();
                    text.clear();
                    text.push_str(value);
                }
                None => *slot = None,
            }
        }
        if self.match_of_block == Match::None {
            self.match_of_block = Match::All;
        }
        let in_time_until_ms = window.end_ms.saturating_add(layout.late_after_ms);
        self.remembered = Some(Remembered { window, values, place, in_time_until_ms });
        place
    }
}

fn same_values(keys: &[Option<HeaderKey>], event: &EventRef<'_>, last: &Remembered) -> bool {
    let values = keys.iter().map(|key| key.and_then(|key| event.header_at(key)));
    values.eq(last.values.iter().map(|value| value.as_deref()))
}
