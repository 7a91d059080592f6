//! Which of a flow's channels something goes to.

use std::fmt;

/// A set of channel numbers of one flow.
///
/// Channels are numbered by one version of the flow's spec, in the order of
/// their names, so a number means something only together with a lineage.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelSet(u64);

impl ChannelSet {
    /// A flow has at most so many channels.
    pub const CHANNELS_MAX: usize = 64;

    /// No channel.
    pub const EMPTY: ChannelSet = ChannelSet(0);

    /// The set whose bit `n` stands for channel `n`.
    #[must_use]
    pub const fn from_bits(bits: u64) -> ChannelSet {
        ChannelSet(bits)
    }

    /// Bit `n` stands for channel `n`.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The set of one channel.
    ///
    /// # Panics
    /// If `channel` is 64 or more; a flow's spec is checked for that.
    #[must_use]
    pub const fn of(channel: u8) -> ChannelSet {
        assert!((channel as usize) < ChannelSet::CHANNELS_MAX, "a flow has at most 64 channels");
        ChannelSet(1 << channel)
    }

    /// Whether `channel` is in the set.
    #[must_use]
    pub const fn contains(self, channel: u8) -> bool {
        (channel as usize) < ChannelSet::CHANNELS_MAX && self.0 & (1 << channel) != 0
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: ChannelSet) -> ChannelSet {
        ChannelSet(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn intersection(self, other: ChannelSet) -> ChannelSet {
        ChannelSet(self.0 & other.0)
    }

    /// What is in this one and not in `other`.
    #[must_use]
    pub const fn without(self, other: ChannelSet) -> ChannelSet {
        ChannelSet(self.0 & !other.0)
    }

    /// Whether no channel is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many channels are in the set.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The numbers, ascending.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..64u8).filter(move |channel| self.contains(*channel))
    }
}

impl FromIterator<u8> for ChannelSet {
    fn from_iter<I: IntoIterator<Item = u8>>(channels: I) -> ChannelSet {
        channels.into_iter().map(ChannelSet::of).fold(ChannelSet::EMPTY, ChannelSet::union)
    }
}

impl fmt::Debug for ChannelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
