//! Flows: what they are, and changing them.

use super::{AdminService, refused};
use crate::cluster::ClusterError;
use crate::seed::create;
use crate::version::plan;
use proto::v1;
use sdk_config::{FlowSpec, SinkSpec, flows_to_toml, parse_flows, process_env};
use sdk_flow::with_causes;
use server_cluster::command::ApplySpec;
use server_cluster::{FlowId, Rejected};
use std::collections::BTreeMap;
use tonic::Status;

/// What a file would change.
pub(super) struct Planned {
    pub(super) reply: v1::ApplyFlowsReply,
    changes: Vec<Change>,
}

enum Change {
    Create(String, FlowSpec),
    Apply { flow: FlowId, base: u32, spec: FlowSpec, removed_groups: Vec<String> },
}

impl AdminService {
    pub(super) fn flow_text(&self, name: &str) -> Result<v1::GetFlowReply, Status> {
        let flow = self.flows.named(name).map_err(Status::not_found)?;
        let version = flow.version.load();
        let one = BTreeMap::from([(flow.name.to_string(), version.spec.clone())]);
        let toml = flows_to_toml(&one).map_err(|error| Status::internal(error.to_string()))?;
        Ok(v1::GetFlowReply { toml, version: version.number.into() })
    }

    pub(super) fn planned(&self, toml: &str, file: &str) -> Planned {
        let invalid = |diagnostics: String| Planned {
            reply: v1::ApplyFlowsReply { valid: false, diagnostics, changes: Vec::new() },
            changes: Vec::new(),
        };
        let parsed = match parse_flows(toml, file, &process_env) {
            Ok(parsed) => parsed,
            Err(diagnostics) => return invalid(diagnostics.to_string()),
        };
        let (mut said, mut changes) = (Vec::new(), Vec::new());
        for (name, spec) in parsed.value {
            if let Some(sink) = unknown_file_system(&spec) {
                return invalid(format!(
                    "flow {name}, sink {sink}: this release writes to local directories only"
                ));
            }
            let Ok(flow) = self.flows.named(&name) else {
                said.push(format!("flow {name} is new"));
                changes.push(Change::Create(name, spec));
                continue;
            };
            let version = flow.version.load();
            if version.spec == spec {
                said.push(format!("flow {name} stays as it is"));
                continue;
            }
            if version.spec.shards != spec.shards {
                return invalid(format!(
                    "flow {name}: a flow keeps its number of shards ({}); another number is a new flow",
                    version.spec.shards
                ));
            }
            said.extend(differences(&name, &version.spec, &spec));
            let kept = spec.sink_groups();
            let removed_groups = version.groups.iter().map(|group| group.name.to_string());
            let removed_groups = removed_groups
                .filter(|name| !kept.iter().any(|group| group.name == *name))
                .collect();
            changes.push(Change::Apply {
                flow: flow.id,
                base: version.number,
                spec,
                removed_groups,
            });
        }
        let diagnostics = parsed.warnings.to_string();
        Planned { reply: v1::ApplyFlowsReply { valid: true, diagnostics, changes: said }, changes }
    }

    pub(super) async fn apply(
        &self,
        toml: &str,
        file: &str,
        discard: bool,
    ) -> Result<v1::ApplyFlowsReply, Status> {
        let Planned { reply, changes } = self.planned(toml, file);
        let mut refused = None;
        for change in changes {
            if let Err(status) = self.change(change, discard).await {
                refused = Some(status);
                break;
            }
        }
        // What is stored is delivered by the spec under which it was stored: seal, and open anew. Also
        // what was changed before a refusal is in force.
        let settled = self.lineages.settle().await;
        // Also if not: what is not sealed or opened yet is tried again.
        self.sources.settle();
        settled.map_err(|error| Status::internal(with_causes(&error)))?;
        refused.map_or(Ok(reply), Err)
    }

    async fn change(&self, change: Change, discard: bool) -> Result<(), Status> {
        let (flow, base, spec, removed_groups) = match change {
            Change::Create(name, spec) => {
                let created = create(&self.cluster, &name, &spec).await;
                return created.map_err(|error| refused(error.to_string()));
            }
            Change::Apply { flow, base, spec, removed_groups } => {
                (flow, base, spec, removed_groups)
            }
        };
        let text =
            serde_json::to_string(&spec).map_err(|error| Status::internal(error.to_string()))?;
        let discard = if discard { removed_groups } else { Vec::new() };
        let command = ApplySpec { flow, base, spec: text, plan: plan(&spec), discard };
        match self.cluster.propose(command).await {
            Ok(_) => Ok(()),
            Err(ClusterError::Rejected(Rejected::OtherVersion { .. })) => {
                Err(refused("the flow was changed meanwhile: look at it, apply again"))
            }
            Err(error) => Err(refused(error.to_string())),
        }
    }
}

fn unknown_file_system(spec: &FlowSpec) -> Option<&str> {
    spec.sinks.iter().find_map(|(name, sink)| match sink {
        SinkSpec::Files(files) if files.path.contains("://") => Some(name.as_str()),
        _ => None,
    })
}

fn differences(name: &str, before: &FlowSpec, after: &FlowSpec) -> Vec<String> {
    fn parts<T: PartialEq>(
        flow: &str,
        kind: &str,
        before: &BTreeMap<String, T>,
        after: &BTreeMap<String, T>,
    ) -> Vec<String> {
        let gone = before.keys().filter(|name| !after.contains_key(*name));
        let gone = gone.map(|name| {
            format!("flow {flow}: {kind} {name} is removed, after it has delivered what it has")
        });
        let changed = after.iter().filter_map(|(name, spec)| match before.get(name) {
            None => Some(format!("flow {flow}: {kind} {name} is new")),
            Some(known) if known != spec => Some(format!("flow {flow}: {kind} {name} changes")),
            Some(_) => None,
        });
        gone.chain(changed).collect()
    }
    let mut said = parts(name, "source", &before.sources, &after.sources);
    said.extend(parts(name, "interceptor", &before.interceptors, &after.interceptors));
    said.extend(parts(name, "channel", &before.channels, &after.channels));
    said.extend(parts(name, "sink", &before.sinks, &after.sinks));
    said.extend(parts(name, "group", &before.groups, &after.groups));
    said
}
