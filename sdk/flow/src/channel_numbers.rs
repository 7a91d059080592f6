//! The numbers of a flow's channels.

use std::sync::Arc;

use sdk_config::FlowSpec;

use crate::ChannelSet;

/// Numbers the channels of one version of a flow's spec: 0, 1, … in the order
/// of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelNumbers {
    names: Arc<[Arc<str>]>,
}

impl ChannelNumbers {
    /// The numbers under `spec`. Channels beyond the 64th have none; reading a
    /// spec refuses those.
    #[must_use]
    pub fn of(spec: &FlowSpec) -> ChannelNumbers {
        let names = spec.channels.keys().take(ChannelSet::CHANNELS_MAX);
        ChannelNumbers { names: names.map(|name| Arc::from(name.as_str())).collect() }
    }

    /// The number of the channel called `name`.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u8> {
        let number = self.names.binary_search_by(|known| (**known).cmp(name)).ok()?;
        u8::try_from(number).ok()
    }

    /// The name of channel `number`.
    #[must_use]
    pub fn name(&self, number: u8) -> Option<&Arc<str>> {
        self.names.get(usize::from(number))
    }

    /// Every channel.
    #[must_use]
    pub fn all(&self) -> ChannelSet {
        self.iter().map(|(number, _)| number).collect()
    }

    /// Numbers and names, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &Arc<str>)> {
        (0u8..).zip(self.names.iter())
    }
}
