//! Flows: their versions, the numbers of their parts, their shards, and the books of what is done.

use std::collections::{BTreeMap, BTreeSet};

use sdk_config::FlowSpec;
use sdk_event::Lineage;
use serde::{Deserialize, Serialize};

use super::book::Book;
use super::ledger::Ledger;
use super::lineage::{LineageState, Opening, Shard};
use super::plan::{Plan, PlannedGroup};
use super::size::{Cost, ENTRY};
use crate::id::{GroupNumber, NodeId};

/// A flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Its name, unique among the flows there are.
    pub name: String,
    /// The spec versions that some lineage needs, and the newest.
    pub versions: BTreeMap<u32, SpecVersion>,
    /// The newest version.
    pub latest: u32,
    /// Groups whose remaining events an operator wants dropped.
    pub discarded: BTreeSet<GroupNumber>,
    /// The shards, as many as the flow was created with.
    pub shards: Vec<Shard>,
    /// What became of the lineages that have left the state.
    pub books: BTreeMap<BookKey, Book>,
    pub(crate) sinks_issued: u32,
    pub(crate) groups_issued: u32,
}

/// Whose book it is: by name, since a channel's number may pass to another channel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BookKey {
    /// The channel.
    pub channel: String,
    /// The sink group.
    pub group: String,
}

/// One version of a flow's spec, with the numbers given to its parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecVersion {
    /// The `FlowSpec`, as JSON.
    pub spec: String,
    /// The function that renders its paths.
    pub rendering: u32,
    /// Channels by name: the number of each, below 64 and its own among all kept versions.
    pub channels: BTreeMap<String, u32>,
    /// Sinks by name.
    pub sinks: BTreeMap<String, Sink>,
    /// Sink groups by name, those of one sink included.
    pub groups: BTreeMap<String, Group>,
}

/// A sink of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sink {
    /// Never used again within the flow.
    pub number: u32,
    /// The longest it may be left alone after failures.
    pub max_penalty_ms: u64,
}

/// A sink group of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Never used again within the flow.
    pub number: GroupNumber,
    /// The channel it reads.
    pub channel: String,
    /// Its sinks.
    pub sinks: Vec<String>,
    /// Whether it has a cursor in the state: not if its channel dies with the process.
    pub durable: bool,
}

impl SpecVersion {
    /// The spec itself.
    pub fn flow_spec(&self) -> Result<FlowSpec, serde_json::Error> {
        serde_json::from_str(&self.spec)
    }
}

impl Flow {
    /// The newest version.
    pub fn newest(&self) -> &SpecVersion {
        &self.versions[&self.latest]
    }

    /// The channel and name of a group in the given version.
    pub fn group(&self, version: u32, number: GroupNumber) -> Option<BookKey> {
        let version = self.versions.get(&version)?;
        version
            .groups
            .iter()
            .find(|(_, group)| group.number == number)
            .map(|(name, group)| BookKey { channel: group.channel.clone(), group: name.clone() })
    }

    /// Whether some kept version has the sink.
    pub fn has_sink(&self, number: u32) -> bool {
        self.versions.values().any(|version| version.sinks.values().any(|s| s.number == number))
    }

    /// Gives numbers to the parts of a plan: what the newest version has keeps its number. `None`
    /// when the channels of the kept versions leave no number free.
    pub(crate) fn number(
        &mut self,
        spec: String,
        rendering: u32,
        plan: Plan,
    ) -> Option<SpecVersion> {
        let newest = self.versions.get(&self.latest);
        let mut taken: BTreeSet<u32> =
            self.versions.values().flat_map(|version| version.channels.values().copied()).collect();
        let mut channels = BTreeMap::new();
        for name in plan.channels.keys() {
            let known = newest.and_then(|version| version.channels.get(name)).copied();
            let number = match known {
                Some(number) => number,
                None => (0..64).find(|number| !taken.contains(number))?,
            };
            taken.insert(number);
            channels.insert(name.clone(), number);
        }
        let mut sinks = BTreeMap::new();
        for (name, max_penalty_ms) in plan.sinks {
            let known = newest.and_then(|version| version.sinks.get(&name)).map(|it| it.number);
            let number = known.unwrap_or_else(|| issue(&mut self.sinks_issued));
            sinks.insert(name, Sink { number, max_penalty_ms });
        }
        let mut groups = BTreeMap::new();
        for (name, PlannedGroup { channel, sinks }) in plan.groups {
            // A group that moves to another channel is another group: its cursor means nothing there.
            let known = newest.and_then(|version| version.groups.get(&name));
            let known = known.filter(|group| group.channel == channel).map(|group| group.number);
            let number = known.unwrap_or_else(|| issue(&mut self.groups_issued));
            let durable = plan.channels.get(&channel).copied().unwrap_or(false);
            groups.insert(name, Group { number, channel, sinks, durable });
        }
        Some(SpecVersion { spec, rendering, channels, sinks, groups })
    }

    /// Opens a lineage of the given version.
    pub(crate) fn open(&self, opening: Opening, incarnation: u64, version: u32) -> LineageState {
        let Opening { owner, mut replicas } = opening;
        replicas.sort_unstable();
        replicas.dedup();
        let groups = self.versions[&version].groups.values().filter(|group| group.durable);
        LineageState {
            owner,
            incarnation,
            replicas,
            version,
            sealed: None,
            abandoned: false,
            holders: BTreeSet::new(),
            lost: Vec::new(),
            ledgers: groups.map(|group| (group.number, Ledger::default())).collect(),
        }
    }

    /// Folds the lineage into the books if it is drained; true if it was.
    pub(crate) fn retire(&mut self, lineage: Lineage) -> bool {
        let Some(shard) =
            usize::try_from(lineage.shard).ok().and_then(|shard| self.shards.get_mut(shard))
        else {
            return false;
        };
        if lineage.epoch == shard.epoch
            || !shard.lineages.get(&lineage.epoch).is_some_and(LineageState::drained)
        {
            return false;
        }
        let Some(done) = shard.lineages.remove(&lineage.epoch) else { return false };
        for (number, ledger) in &done.ledgers {
            if let Some(key) = self.group(done.version, *number) {
                self.books.entry(key).or_default().add(&ledger.book);
            }
        }
        self.forget_versions();
        true
    }

    /// Forgets the versions that no lineage needs.
    pub(crate) fn forget_versions(&mut self) {
        let lineages = self.shards.iter().flat_map(|shard| shard.lineages.values());
        let needed: BTreeSet<u32> = lineages.map(|lineage| lineage.version).collect();
        let latest = self.latest;
        self.versions.retain(|version, _| *version == latest || needed.contains(version));
        let groups = self.versions.values().flat_map(|version| version.groups.values());
        let kept: BTreeSet<GroupNumber> = groups.map(|group| group.number).collect();
        self.discarded.retain(|group| kept.contains(group));
    }

    /// Whether `node` keeps a copy of something here, or owns it.
    pub(crate) fn involves(&self, node: NodeId) -> bool {
        let mut lineages = self.shards.iter().flat_map(|shard| shard.lineages.values());
        lineages.any(|lineage| lineage.owner == node || lineage.replicas.contains(&node))
    }

    pub(crate) fn recount(&mut self) {
        let lineages = self.shards.iter_mut().flat_map(|shard| shard.lineages.values_mut());
        lineages.flat_map(|it| it.ledgers.values_mut()).for_each(Ledger::recount);
    }
}

fn issue(issued: &mut u32) -> u32 {
    *issued = issued.saturating_add(1);
    *issued
}

impl Cost for SpecVersion {
    fn cost(&self) -> u64 {
        let sinks: u64 = self.sinks.keys().map(|name| ENTRY + 16 + name.cost()).sum();
        let groups = self.groups.iter().map(|(name, group)| {
            ENTRY + 16 + name.cost() + group.channel.cost() + group.sinks.cost()
        });
        self.spec.cost() + self.channels.cost() + sinks + groups.sum::<u64>()
    }
}

impl Cost for BookKey {
    fn cost(&self) -> u64 {
        self.channel.cost() + self.group.cost()
    }
}

impl Cost for Flow {
    fn cost(&self) -> u64 {
        ENTRY
            + self.name.cost()
            + self.versions.cost()
            + self.discarded.cost()
            + self.shards.cost()
            + self.books.cost()
    }
}
