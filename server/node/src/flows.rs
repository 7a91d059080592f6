//! The flows of this node, by name, and where each producer's events go.

use crate::shard::Slot;
use crate::version::Version;
use arc_swap::ArcSwap;
use sdk_event::ProducerId;
use server_cluster::FlowId;
use server_ingest::{RouteError, Router, ShardHandle};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How soon a producer asks again while its shard moves.
const MOVING_RETRY: Duration = Duration::from_millis(100);

/// A flow as this node serves it.
pub(crate) struct Flow {
    pub(crate) id: FlowId,
    pub(crate) name: Arc<str>,
    pub(crate) shards: Vec<Slot>,
    /// The newest version.
    pub(crate) version: ArcSwap<Version>,
}

impl Flow {
    pub(crate) fn new(version: Arc<Version>, shards: u32) -> Arc<Self> {
        let name = Arc::clone(&version.flow_name);
        let shards = (0..shards).map(|_| Slot::default()).collect();
        Arc::new(Self { id: version.flow, name, shards, version: ArcSwap::new(version) })
    }

    /// The shard of a producer: rendezvous hashing over the shards' numbers alone, so that it never
    /// changes in the life of a flow.
    pub(crate) fn shard_of(&self, producer: ProducerId) -> usize {
        let weight = |shard: &usize| {
            let mut key = [0; 24];
            key[..16].copy_from_slice(&producer.0);
            key[16..].copy_from_slice(&(*shard as u64).to_le_bytes());
            mix(&key)
        };
        (0..self.shards.len()).max_by_key(weight).unwrap_or(0)
    }

    /// The shard of a source that runs on the node.
    pub(crate) fn shard_of_source(&self, name: &str) -> usize {
        let shards = u64::try_from(self.shards.len()).unwrap_or(1).max(1);
        usize::try_from(mix(name.as_bytes()) % shards).unwrap_or(0)
    }
}

/// FNV-1a, then the finaliser of MurmurHash3 so that every bit counts. Part of the contract between
/// releases: another function would send producers to other shards.
fn mix(key: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in key {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// All flows. Clones are one.
#[derive(Clone, Default)]
pub(crate) struct Flows {
    by_name: Arc<ArcSwap<BTreeMap<String, Arc<Flow>>>>,
}

impl Flows {
    /// Every flow, by name.
    pub(crate) fn all(&self) -> Arc<BTreeMap<String, Arc<Flow>>> {
        self.by_name.load_full()
    }

    /// The flow of that name; the only one if the name is empty.
    pub(crate) fn named(&self, name: &str) -> Result<Arc<Flow>, String> {
        let flows = self.by_name.load();
        if !name.is_empty() {
            return flows.get(name).cloned().ok_or_else(|| {
                let known: Vec<&str> = flows.keys().map(String::as_str).collect();
                format!("there is no flow `{name}`; there are: {}", known.join(", "))
            });
        }
        let mut all = flows.values();
        match (all.next(), all.next()) {
            (Some(only), None) => Ok(Arc::clone(only)),
            (None, _) => Err("the node has no flow".to_owned()),
            _ => {
                let known: Vec<&str> = flows.keys().map(String::as_str).collect();
                Err(format!("name a flow, there are several: {}", known.join(", ")))
            }
        }
    }

    /// A flow by its number.
    pub(crate) fn by_id(&self, id: FlowId) -> Option<Arc<Flow>> {
        self.by_name.load().values().find(|flow| flow.id == id).cloned()
    }

    /// Adds a flow.
    pub(crate) fn add(&self, flow: Arc<Flow>) {
        self.by_name.rcu(|flows| {
            let mut flows = BTreeMap::clone(flows);
            flows.insert(flow.name.to_string(), Arc::clone(&flow));
            flows
        });
    }
}

impl Router for Flows {
    fn name(&self, flow: &str) -> Option<Arc<str>> {
        match flow {
            "" => self.named(flow).ok().map(|flow| Arc::clone(&flow.name)),
            _ => Some(flow.into()),
        }
    }

    fn route(&self, flow: &str, producer: ProducerId) -> Result<Arc<dyn ShardHandle>, RouteError> {
        let flow = self.named(flow).map_err(RouteError::Flow)?;
        if flow.version.load().ingest.is_none() {
            return Err(RouteError::Flow(format!(
                "flow `{}` has no source of type `collector`",
                flow.name
            )));
        }
        let slot = &flow.shards[flow.shard_of(producer)];
        match slot.get().and_then(|open| open.ingest.clone()) {
            Some(ingest) => Ok(ingest),
            None => Err(RouteError::Unavailable {
                reason: "the shard is moving".to_owned(),
                retry_after: MOVING_RETRY,
            }),
        }
    }
}
