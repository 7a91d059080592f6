//! Running totals of a lineage, by channel: one side of the books.

use std::sync::Arc;

use bytes::{BufMut as _, BytesMut};
use sdk_flow::{ChannelSet, Dropped};
use smallvec::SmallVec;

use crate::record::{Fields, RecordError, put_text};

/// The rule under which an optional channel's events are dropped at its limit.
pub const CHANNEL_FULL: &str = "channel:full";

/// The rule that counts what more than [`Totals::RULES_MAX`] rules drop.
const OTHER: &str = "other";

/// What was put into the channels of a lineage below some offset.
///
/// Every put record carries them, itself included, so the last one below the
/// watermark says what is stored. They are counted when a put is accepted and
/// never from what a sink did, so that books can be compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    channels: Vec<ChannelTotals>,
    /// Bytes of all the lineage's records, roughly.
    pub log_bytes: u64,
}

/// The totals of one channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelTotals {
    /// The channel's number.
    pub channel: u8,
    /// Events put into it.
    pub put: u64,
    /// Bytes of their blocks, as they are stored.
    pub bytes: u64,
    /// Events dropped on their way to it, by rule.
    pub dropped: Vec<(Arc<str>, u64)>,
}

/// What one record adds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Delta {
    /// Channels, events, bytes of the block.
    pub(crate) parts: SmallVec<[(ChannelSet, u32, u64); 1]>,
    pub(crate) dropped: Vec<Dropped>,
    pub(crate) log_bytes: u64,
}

impl ChannelTotals {
    fn none(channel: u8) -> ChannelTotals {
        ChannelTotals { channel, put: 0, bytes: 0, dropped: Vec::new() }
    }

    /// Events accepted for the channel: put, or dropped by a rule.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.put + self.dropped()
    }

    /// Events dropped by any rule.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.iter().map(|(_, events)| events).sum()
    }
}

impl Totals {
    /// Rules counted apart for one channel; the others are counted together.
    pub const RULES_MAX: usize = 64;

    /// The totals of one channel; zeros if it never had anything.
    #[must_use]
    pub fn channel(&self, channel: u8) -> ChannelTotals {
        let found = self.channels.iter().find(|totals| totals.channel == channel);
        found.cloned().unwrap_or(ChannelTotals::none(channel))
    }

    /// All channels that ever had anything, by number.
    #[must_use]
    pub fn channels(&self) -> &[ChannelTotals] {
        &self.channels
    }

    pub(crate) fn add(&mut self, delta: &Delta) {
        self.log_bytes += delta.log_bytes;
        for (channels, events, bytes) in &delta.parts {
            for channel in channels.iter() {
                let totals = self.channel_mut(channel);
                totals.put += u64::from(*events);
                totals.bytes += bytes;
            }
        }
        for dropped in &delta.dropped {
            for channel in dropped.channels.iter() {
                *self.rule_mut(channel, &dropped.rule) += u64::from(dropped.events);
            }
        }
    }

    /// Takes back the last [`Totals::add`].
    pub(crate) fn subtract(&mut self, delta: &Delta) {
        self.log_bytes -= delta.log_bytes;
        for (channels, events, bytes) in &delta.parts {
            for channel in channels.iter() {
                let totals = self.channel_mut(channel);
                totals.put -= u64::from(*events);
                totals.bytes -= bytes;
            }
        }
        for dropped in &delta.dropped {
            for channel in dropped.channels.iter() {
                *self.rule_mut(channel, &dropped.rule) -= u64::from(dropped.events);
                self.channel_mut(channel).dropped.retain(|(_, events)| *events > 0);
            }
        }
        self.channels.retain(|totals| *totals != ChannelTotals::none(totals.channel));
    }

    fn rule_mut(&mut self, channel: u8, rule: &Arc<str>) -> &mut u64 {
        let rules = &mut self.channel_mut(channel).dropped;
        let known = rules.iter().position(|(known, _)| known == rule);
        let at = known.unwrap_or_else(|| {
            match rules.len() {
                len if len + 1 < Totals::RULES_MAX => rules.push((Arc::clone(rule), 0)),
                len if len < Totals::RULES_MAX => rules.push((Arc::from(OTHER), 0)),
                _ => (),
            }
            rules.len() - 1
        });
        &mut rules[at].1
    }

    fn channel_mut(&mut self, channel: u8) -> &mut ChannelTotals {
        let at = self.channels.partition_point(|totals| totals.channel < channel);
        if self.channels.get(at).is_none_or(|totals| totals.channel != channel) {
            self.channels.insert(at, ChannelTotals::none(channel));
        }
        &mut self.channels[at]
    }

    pub(crate) fn encode(&self, bytes: &mut BytesMut) {
        bytes.put_u64_le(self.log_bytes);
        bytes.put_u8(self.channels.len() as u8);
        for totals in &self.channels {
            bytes.put_u8(totals.channel);
            bytes.put_u8(totals.dropped.len() as u8);
            bytes.put_u64_le(totals.put);
            bytes.put_u64_le(totals.bytes);
            for (rule, events) in &totals.dropped {
                put_text(bytes, rule);
                bytes.put_u64_le(*events);
            }
        }
    }

    pub(crate) fn decode(fields: &mut Fields) -> Result<Totals, RecordError> {
        let log_bytes = fields.u64()?;
        let count = fields.u8()?;
        let mut channels: Vec<ChannelTotals> = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let (channel, rules) = (fields.u8()?, fields.u8()?);
            if channels.last().is_some_and(|last| last.channel >= channel) {
                return Err(RecordError::Malformed("a channel is out of place"));
            }
            let (put, size) = (fields.u64()?, fields.u64()?);
            let mut dropped = Vec::with_capacity(usize::from(rules));
            for _ in 0..rules {
                dropped.push((Arc::from(fields.text()?), fields.u64()?));
            }
            channels.push(ChannelTotals { channel, put, bytes: size, dropped });
        }
        Ok(Totals { channels, log_bytes })
    }
}
