//! Small things that a shard remembers beside its producers.

use std::collections::BTreeMap;

use bytes::{BufMut as _, Bytes, BytesMut};
use sdk_event::{Lineage, ProducerId};
use sdk_flow::SourcePosition;

use crate::admission::IDLE_KEPT;
use crate::record::{
    CheckpointPart, CursorCommit, Fields, Loss, PartBuilder, RecordError, SourceName, put_text,
};

/// Keys that a shard remembers at most: files of its sources, nearly all.
pub const FACTS_MAX: usize = 200_000;

/// Losses that a shard remembers at most: each range that is lost is somebody's trouble.
const LOSSES_MAX: usize = 4096;

const SOURCE: u8 = b's';
const POSITION: u8 = b'p';
const CURSOR: u8 = b'c';
const CHANNELS: u8 = b'n';
const LOST: u8 = b'l';
/// How far the wall clock was ahead.
const AHEAD: u8 = b't';
/// The source has stored positions, whether any is left or not.
const SEEN: u8 = b'q';

/// Positions of sources, cursors of a spool, and what belongs to them, by key.
///
/// Kept as bytes, because that is how they stand in a checkpoint: see FORMAT.md.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    entries: BTreeMap<Bytes, Bytes>,
}

/// One of a spool's channels, and who drains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedChannel {
    /// Its number in the lineage.
    pub number: u8,
    /// Its name.
    pub name: String,
    /// The names of its sink groups.
    pub groups: Vec<String>,
}

/// What a fact was before it changed.
pub(crate) type FactBefore = (Bytes, Option<Bytes>);

impl Facts {
    /// The positions that a source has stored, by key. `None` if it never has.
    #[must_use]
    pub fn positions(&self, source: &str) -> Option<BTreeMap<Bytes, Bytes>> {
        let prefix = position_prefix(source);
        let of_source = self.entries.range(prefix.clone()..);
        let of_source = of_source.take_while(|(key, _)| key.starts_with(&prefix));
        let positions = of_source.map(|(key, value)| (key.slice(prefix.len()..), value.clone()));
        self.entries.contains_key(&seen_key(source)).then(|| positions.collect())
    }

    /// Under whose ids a source puts.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<ProducerId> {
        let id = self.entries.get(&source_key(name))?;
        Some(ProducerId(id.as_ref().try_into().ok()?))
    }

    /// The producers that are sources of the flow.
    pub(crate) fn sources(&self) -> impl Iterator<Item = ProducerId> {
        let sources = self.entries.range(Bytes::from_static(&[SOURCE])..);
        let sources = sources.take_while(|(key, _)| key.first() == Some(&SOURCE));
        sources.filter_map(|(_, id)| Some(ProducerId(id.as_ref().try_into().ok()?)))
    }

    /// Where a sink group stands in a lineage of this shard; 0 before its first commit.
    #[must_use]
    pub fn cursor(&self, channel: u8, group: &str, epoch: u64) -> u64 {
        let floor = self.entries.get(&cursor_key(channel, group, epoch));
        floor.and_then(|floor| floor.as_ref().try_into().ok()).map_or(0, u64::from_le_bytes)
    }

    /// A spool's channels as they were numbered in one of its lineages.
    #[must_use]
    pub fn channels(&self, epoch: u64) -> Option<Vec<NamedChannel>> {
        let mut fields = Fields::new(self.entries.get(&channels_key(epoch))?.clone());
        let mut channels = Vec::new();
        while !fields.is_empty() {
            let (number, name) = (fields.u8().ok()?, fields.text().ok()?);
            let groups = fields.u8().ok()?;
            let groups = (0..groups).map(|_| fields.text().ok()).collect::<Option<_>>()?;
            channels.push(NamedChannel { number, name, groups });
        }
        Some(channels)
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn fold(&mut self, position: SourcePosition, before: &mut Vec<FactBefore>) {
        let prefix = position_prefix(&position.source);
        let seen = seen_key(&position.source);
        if !self.entries.contains_key(&seen) {
            self.set(seen, Some(Bytes::new()), before);
        }
        for (key, value) in position.entries {
            let mut whole = BytesMut::with_capacity(prefix.len() + key.len());
            whole.put_slice(&prefix);
            whole.put_slice(&key);
            // Not a slice of the record: it would keep a whole block in memory.
            let value = value.map(|value| Bytes::copy_from_slice(&value));
            self.set(whole.freeze(), value, before);
        }
    }

    pub(crate) fn apply_source(&mut self, source: &SourceName, before: &mut Vec<FactBefore>) {
        let id = Bytes::copy_from_slice(&source.producer.0);
        self.set(source_key(&source.name), Some(id), before);
    }

    pub(crate) fn apply_cursor(&mut self, commit: &CursorCommit, before: &mut Vec<FactBefore>) {
        let key = cursor_key(commit.channel, &commit.group, commit.lineage.epoch);
        let floor = Bytes::copy_from_slice(&commit.floor.to_le_bytes());
        self.set(key, Some(floor), before);
    }

    /// Remembers what was lost, as of a time. What would be too many is not.
    pub(crate) fn lose(&mut self, loss: &Loss, now_ms: i64, before: &mut Vec<FactBefore>) {
        let key = loss_key(loss);
        if self.entries.contains_key(&key) {
            return;
        }
        if self.losses().count() >= LOSSES_MAX {
            tracing::error!(epoch = loss.epoch, from = loss.from, "too many losses to remember");
            return;
        }
        let mut value = BytesMut::new();
        value.put_i64_le(now_ms);
        value.put_slice(&loss.encode());
        self.set(key, Some(value.freeze()), before);
    }

    /// What was lost and is remembered, oldest lineage first.
    pub fn losses(&self) -> impl Iterator<Item = Loss> {
        self.lost_facts().filter_map(|(_, value)| Loss::decode(value.slice(TIME_BYTES..)).ok())
    }

    /// Forgets what was lost so long ago that nobody is remembered from then.
    pub(crate) fn forget_losses(&mut self, now_ms: i64) {
        let kept_ms = IDLE_KEPT.as_millis() as i64;
        let old = |value: &Bytes| {
            let time = value.first_chunk().map_or(0, |time| i64::from_le_bytes(*time));
            now_ms.saturating_sub(time) >= kept_ms
        };
        let gone = self.lost_facts().filter(|(_, value)| old(value));
        let gone: Vec<Bytes> = gone.map(|(key, _)| key.clone()).collect();
        gone.iter().for_each(|key| drop(self.entries.remove(key)));
    }

    /// How far the wall clock was ahead of time that had passed.
    pub(crate) fn ahead_ms(&self) -> i64 {
        let ahead = self.entries.get([AHEAD].as_slice());
        ahead.and_then(|ahead| ahead.as_ref().try_into().ok()).map_or(0, i64::from_le_bytes)
    }

    pub(crate) fn set_ahead_ms(&mut self, ahead_ms: i64) {
        let key = Bytes::from_static(&[AHEAD]);
        match ahead_ms {
            0 => self.entries.remove(&key),
            _ => self.entries.insert(key, Bytes::copy_from_slice(&ahead_ms.to_le_bytes())),
        };
    }

    fn lost_facts(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        let lost = self.entries.range(Bytes::from_static(&[LOST])..);
        let lost = lost.take_while(|(key, _)| key.first() == Some(&LOST));
        lost.filter(|(_, value)| value.len() >= TIME_BYTES)
    }

    pub(crate) fn name_channels(&mut self, lineage: Lineage, channels: &[NamedChannel]) {
        let mut bytes = BytesMut::new();
        for channel in channels {
            bytes.put_u8(channel.number);
            put_text(&mut bytes, &channel.name);
            bytes.put_u8(channel.groups.len() as u8);
            channel.groups.iter().for_each(|group| put_text(&mut bytes, group));
        }
        self.entries.insert(channels_key(lineage.epoch), bytes.freeze());
    }

    /// Forgets cursors and channel names of a lineage that is gone.
    pub(crate) fn forget_epoch(&mut self, epoch: u64) {
        let end = epoch.to_be_bytes();
        self.entries.retain(|key, _| {
            !(matches!(key.first(), Some(&(CURSOR | CHANNELS))) && key.ends_with(&end))
        });
    }

    fn set(&mut self, key: Bytes, value: Option<Bytes>, before: &mut Vec<FactBefore>) {
        let old = match value {
            Some(value) => self.entries.insert(key.clone(), value),
            None => self.entries.remove(&key),
        };
        before.push((key, old));
    }

    pub(crate) fn restore(&mut self, (key, value): FactBefore) {
        match value {
            Some(value) => self.entries.insert(key, value),
            None => self.entries.remove(&key),
        };
    }

    /// Fills a checkpoint's part from `low` on and returns where the next begins.
    pub(crate) fn fill_part(&self, low: &Bytes, part: &mut PartBuilder) -> Option<Bytes> {
        for (key, value) in self.entries.range(low.clone()..) {
            if part.is_full() {
                return Some(key.clone());
            }
            part.entry(key, value);
        }
        None
    }

    /// Makes the part's range what the part says.
    pub(crate) fn apply_part(&mut self, part: &CheckpointPart) -> Result<(), RecordError> {
        let inside =
            |key: &Bytes| *key >= part.low && part.high.as_ref().is_none_or(|high| key < high);
        self.entries.retain(|key, _| !inside(key));
        for (key, value) in &part.entries {
            self.entries.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        }
        Ok(())
    }
}

/// A loss's time, before the loss itself.
const TIME_BYTES: usize = 8;

fn loss_key(loss: &Loss) -> Bytes {
    let mut key = BytesMut::with_capacity(17);
    key.put_u8(LOST);
    key.put_u64(loss.epoch);
    key.put_u64(loss.from);
    key.freeze()
}

fn source_key(name: &str) -> Bytes {
    let mut key = BytesMut::with_capacity(2 + name.len());
    key.put_u8(SOURCE);
    put_text(&mut key, name);
    key.freeze()
}

fn seen_key(source: &str) -> Bytes {
    let mut key = BytesMut::with_capacity(2 + source.len());
    key.put_u8(SEEN);
    put_text(&mut key, source);
    key.freeze()
}

fn position_prefix(source: &str) -> Bytes {
    let mut key = BytesMut::with_capacity(2 + source.len());
    key.put_u8(POSITION);
    put_text(&mut key, source);
    key.freeze()
}

fn cursor_key(channel: u8, group: &str, epoch: u64) -> Bytes {
    let mut key = BytesMut::with_capacity(11 + group.len());
    key.put_u8(CURSOR);
    key.put_u8(channel);
    put_text(&mut key, group);
    key.put_u64(epoch);
    key.freeze()
}

fn channels_key(epoch: u64) -> Bytes {
    let mut key = BytesMut::with_capacity(9);
    key.put_u8(CHANNELS);
    key.put_u64(epoch);
    key.freeze()
}
