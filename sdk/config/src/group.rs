//! Sinks that share one cursor.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::DurationText;

/// One `[flow.F.groups.G]` table. All sinks of a group read the same channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupSpec {
    /// The sinks share the work without preference.
    Default(DefaultGroup),
    /// The one with the highest priority that works does all of it.
    Failover(FailoverGroup),
    /// The sinks take turns.
    LoadBalance(LoadBalanceGroup),
}

impl GroupSpec {
    /// The names of its sinks, by name for failover, as written otherwise.
    pub fn sinks(&self) -> Vec<&str> {
        match self {
            GroupSpec::Default(group) => group.sinks.iter().map(String::as_str).collect(),
            GroupSpec::Failover(group) => group.sinks.keys().map(String::as_str).collect(),
            GroupSpec::LoadBalance(group) => group.sinks.iter().map(String::as_str).collect(),
        }
    }

    /// The longest penalty of a failed sink.
    pub fn max_penalty(&self) -> DurationText {
        match self {
            GroupSpec::Default(group) => group.max_penalty,
            GroupSpec::Failover(group) => group.max_penalty,
            GroupSpec::LoadBalance(group) => group.max_penalty,
        }
    }

    /// The word after `type =`.
    pub fn type_name(&self) -> &'static str {
        match self {
            GroupSpec::Default(_) => "default",
            GroupSpec::Failover(_) => "failover",
            GroupSpec::LoadBalance(_) => "load_balance",
        }
    }
}

/// The longest penalty of a failed sink unless a group says otherwise.
pub const MAX_PENALTY: DurationText = DurationText::from_secs(30);

/// `type = "default"`: what sinks outside any group are in. With one sink, a cursor of its own for
/// that sink; with several, they compete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DefaultGroup {
    /// The sinks. Required.
    pub sinks: Vec<String>,
    /// The longest penalty of a failed sink; penalties double from 2 s.
    pub max_penalty: DurationText,
}

impl Default for DefaultGroup {
    fn default() -> DefaultGroup {
        DefaultGroup { sinks: Vec::new(), max_penalty: MAX_PENALTY }
    }
}

/// `type = "failover"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FailoverGroup {
    /// The sinks with their priorities, the highest first; no two the same. Required.
    pub sinks: BTreeMap<String, i64>,
    /// The longest penalty of a failed sink; penalties double from 2 s.
    pub max_penalty: DurationText,
}

impl Default for FailoverGroup {
    fn default() -> FailoverGroup {
        FailoverGroup { sinks: BTreeMap::new(), max_penalty: MAX_PENALTY }
    }
}

/// `type = "load_balance"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoadBalanceGroup {
    /// The sinks, at least two. Required.
    pub sinks: Vec<String>,
    /// Whose turn it is.
    pub selector: BalanceSelector,
    /// Whether a failed sink is left out until its penalty is over.
    pub backoff: bool,
    /// The longest penalty of a failed sink; penalties double from 2 s.
    pub max_penalty: DurationText,
}

impl Default for LoadBalanceGroup {
    fn default() -> LoadBalanceGroup {
        LoadBalanceGroup {
            sinks: Vec::new(),
            selector: BalanceSelector::RoundRobin,
            backoff: false,
            max_penalty: MAX_PENALTY,
        }
    }
}

/// Whose turn it is in a `load_balance` group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BalanceSelector {
    /// The next one's.
    #[default]
    RoundRobin,
    /// Anyone's.
    Random,
}
