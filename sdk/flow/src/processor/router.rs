//! The channel selector: which channels an event goes into.

use std::collections::{BTreeSet, HashMap};

use sdk_config::{MultiplexingSelector, SelectorSpec};

use crate::ChannelSet;

/// Channels that events go into together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) channels: ChannelSet,
    pub(super) optional: ChannelSet,
}

/// A selector, with the channels of every case worked out.
pub(super) struct Router {
    targets: Vec<Target>,
    by_header: Option<ByHeader>,
}

struct ByHeader {
    header: String,
    /// `None`: events with that value go nowhere.
    mapping: HashMap<String, Option<u16>>,
    default: Option<u16>,
}

/// Why a selector cannot be built.
pub(super) enum RouterError<E> {
    /// It names a channel that is not there.
    Channel(E),
    /// It has more targets than [`TARGETS_MAX`].
    Targets,
}

/// Distinct sets of channels in one selector.
pub(super) const TARGETS_MAX: usize = 1 << 15;

impl Router {
    /// `channels` are all of the source's; `number` tells one's number.
    pub(super) fn build<E>(
        spec: &SelectorSpec,
        channels: ChannelSet,
        number: impl Fn(&str) -> Result<u8, E>,
    ) -> Result<Router, RouterError<E>> {
        let set = |names: &[String]| {
            let numbers = names.iter().map(|name| number(name));
            numbers.collect::<Result<ChannelSet, E>>().map_err(RouterError::Channel)
        };
        match spec {
            SelectorSpec::Replicating(spec) => {
                let optional = set(&spec.optional)?.intersection(channels);
                Ok(Router { targets: vec![Target { channels, optional }], by_header: None })
            }
            SelectorSpec::Multiplexing(spec) => by_header(spec, set),
        }
    }

    /// Where every event goes, if that does not depend on the event.
    pub(super) fn only_target(&self) -> Option<&Target> {
        if self.by_header.is_none() { self.targets.first() } else { None }
    }

    /// The header that decides, if one does.
    pub(super) fn header(&self) -> Option<&str> {
        self.by_header.as_ref().map(|by_header| by_header.header.as_str())
    }

    /// The target of an event with this value of the header. `None`: it goes
    /// nowhere.
    pub(super) fn route(&self, value: Option<&str>) -> Option<u16> {
        let Some(by_header) = &self.by_header else { return Some(0) };
        // A blank value counts as none, as in Flume; all others match exactly.
        let value = value.filter(|value| !value.trim().is_empty());
        let mapped = value.and_then(|value| by_header.mapping.get(value));
        mapped.copied().unwrap_or(by_header.default)
    }

    pub(super) fn targets(&self) -> &[Target] {
        &self.targets
    }
}

fn by_header<E>(
    spec: &MultiplexingSelector,
    set: impl Fn(&[String]) -> Result<ChannelSet, RouterError<E>>,
) -> Result<Router, RouterError<E>> {
    let mut targets: Vec<Target> = Vec::new();
    let mut target = |required: ChannelSet, optional: ChannelSet| {
        // Required wins over optional.
        let optional = optional.without(required);
        let wanted = Target { channels: required.union(optional), optional };
        if wanted.channels.is_empty() {
            return Ok(None);
        }
        let known = targets.iter().position(|known| *known == wanted);
        let index = known.unwrap_or_else(|| {
            targets.push(wanted);
            targets.len() - 1
        });
        if index >= TARGETS_MAX {
            return Err(RouterError::Targets);
        }
        Ok(Some(index as u16))
    };
    let always = set(&spec.optional)?;
    let fallback = set(&spec.default)?;
    let default = target(fallback, always)?;
    let values: BTreeSet<&String> =
        spec.mapping.keys().chain(spec.optional_mapping.keys()).collect();
    let mut mapping = HashMap::with_capacity(values.len());
    for value in values {
        let required = match spec.mapping.get(value) {
            Some(names) => set(names)?,
            None => fallback,
        };
        let optional = match spec.optional_mapping.get(value) {
            Some(names) => set(names)?.union(always),
            None => always,
        };
        mapping.insert(value.clone(), target(required, optional)?);
    }
    let by_header = ByHeader { header: spec.header.clone(), mapping, default };
    Ok(Router { targets, by_header: Some(by_header) })
}
