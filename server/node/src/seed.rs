//! The flows of the configuration file seed an empty cluster; afterwards `flows apply` is the only way.

use crate::cluster::{Cluster, ClusterError};
use crate::version::plan;
use sdk_config::{FlowSpec, NodeConfig};
use sdk_flow::BoxError;
use server_cluster::Rejected;
use server_cluster::command::CreateFlow;
use server_cluster::state::Opening;
use std::collections::BTreeMap;
use tracing::{info, warn};

/// Creates the configured flows if the cluster has none; says where file and cluster differ if it has.
pub(crate) async fn seed_flows(cluster: &Cluster, config: &NodeConfig) -> Result<(), BoxError> {
    let known: BTreeMap<String, String> = cluster.read(|state| {
        let flows = state.flows().values();
        flows.map(|flow| (flow.name.clone(), flow.newest().spec.clone())).collect()
    });
    if known.is_empty() {
        for (name, spec) in &config.flows {
            create(cluster, name, spec).await?;
            info!(flow = %name, "flow created");
        }
        return Ok(());
    }
    for (name, spec) in &config.flows {
        let spec = serde_json::to_string(spec)?;
        match known.get(name) {
            Some(known) if *known == spec => (),
            Some(_) => {
                warn!(flow = %name, "the file's flow differs from the cluster's, which holds; \
                `collector-cli flows apply` changes it")
            }
            None => warn!(flow = %name, "the file's flow is not in the cluster; \
                `collector-cli flows apply` adds it"),
        }
    }
    Ok(())
}

/// Creates one flow, all its shards on this node.
pub(crate) async fn create(cluster: &Cluster, name: &str, spec: &FlowSpec) -> Result<(), BoxError> {
    let owner = cluster.node();
    let opening = Opening { owner, replicas: vec![owner] };
    let command = CreateFlow {
        name: name.to_owned(),
        spec: serde_json::to_string(spec)?,
        plan: plan(spec),
        shards: vec![opening; spec.shards as usize],
    };
    match cluster.propose(command).await {
        Ok(_) => Ok(()),
        Err(ClusterError::Rejected(Rejected::Full)) => {
            Err(format!("flow {name} does not fit into the cluster's state").into())
        }
        Err(error) => Err(error.boxed()),
    }
}
