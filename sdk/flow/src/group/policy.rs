//! Which member of a group gets the next batch.

use sdk_config::BalanceSelector;
use smallvec::SmallVec;

use crate::Entropy;

/// How a group chooses among its sinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The sinks compete: each batch goes to the next one in line. For a group
    /// of one this is simply that sink.
    Default,
    /// The sink with the highest priority that is not out.
    Failover,
    /// The sinks share the load.
    LoadBalance {
        /// In which order they are asked.
        order: Order,
        /// Whether one that fails is left alone for a while. If not, each is
        /// asked once per batch, and the group pauses when all have failed.
        backoff: bool,
    },
}

/// The order in which a balanced group asks its sinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Beginning one further with each batch.
    RoundRobin,
    /// A fresh permutation for each batch.
    Random,
}

impl From<sdk_config::Policy> for Policy {
    fn from(policy: sdk_config::Policy) -> Policy {
        match policy {
            sdk_config::Policy::Default => Policy::Default,
            sdk_config::Policy::Failover => Policy::Failover,
            sdk_config::Policy::LoadBalance { selector, backoff } => {
                let order = match selector {
                    BalanceSelector::RoundRobin => Order::RoundRobin,
                    BalanceSelector::Random => Order::Random,
                };
                Policy::LoadBalance { order, backoff }
            }
        }
    }
}

/// Members in the order in which they are asked for the batch in hand.
pub(super) struct Turns {
    policy: Policy,
    /// Highest priority first; equal ones as configured.
    ranked: SmallVec<[usize; 4]>,
    order: SmallVec<[usize; 4]>,
    first: usize,
}

impl Turns {
    pub(super) fn new(policy: Policy, priorities: impl Iterator<Item = i64>) -> Turns {
        let priorities: SmallVec<[i64; 4]> = priorities.collect();
        let mut ranked: SmallVec<[usize; 4]> = (0..priorities.len()).collect();
        if policy == Policy::Failover {
            ranked.sort_by_key(|index| std::cmp::Reverse(priorities[*index]));
        }
        Turns { policy, order: ranked.clone(), ranked, first: 0 }
    }

    /// Sets the order for the next batch.
    pub(super) fn next_turn(&mut self, entropy: &dyn Entropy) {
        self.order.clone_from(&self.ranked);
        match self.policy {
            Policy::Failover => (),
            Policy::LoadBalance { order: Order::Random, .. } => {
                for end in (1..self.order.len()).rev() {
                    self.order.swap(end, entropy.below(end as u64 + 1) as usize);
                }
            }
            Policy::Default | Policy::LoadBalance { order: Order::RoundRobin, .. } => {
                self.order.rotate_left(self.first);
                self.first = (self.first + 1) % self.ranked.len();
            }
        }
    }

    /// Who is left to ask for this batch, in order.
    pub(super) fn order(&self) -> &[usize] {
        &self.order
    }

    /// Does not ask `index` again in this turn.
    pub(super) fn skip(&mut self, index: usize) {
        self.order.retain(|left| *left != index);
    }

    /// Whether a failure puts a member out for a while.
    pub(super) fn penalises(&self) -> bool {
        !matches!(self.policy, Policy::LoadBalance { backoff: false, .. })
    }
}
