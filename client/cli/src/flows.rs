//! `flows`: list, get, check, apply.

use crate::arguments::{Flows, Global, Output};
use crate::print::{age, count, json, line, table, text};
use crate::{Verdict, admin};
use anyhow::{Context, Result};
use proto::v1::{ApplyFlowsReply, ApplyFlowsRequest, GetFlowRequest, ListFlowsRequest};
use std::path::Path;

pub(crate) async fn run(global: &Global, command: &Flows) -> Result<Verdict> {
    let mut node = admin::connect(global).await?;
    match command {
        Flows::List => {
            let reply =
                node.list_flows(ListFlowsRequest {}).await.map_err(admin::refusal)?.into_inner();
            if global.output == Output::Json {
                json(&reply)?;
            } else {
                table(
                    ["FLOW", "ID", "SHARDS", "VERSION", "EVENTS/S", "ACKNOWLEDGED", "OLDEST"],
                    reply.flows.iter().map(|flow| {
                        [
                            text(&flow.name),
                            count(flow.id),
                            count(flow.shards.into()),
                            count(flow.version),
                            count(flow.events_per_second.round() as u64),
                            count(flow.acknowledged_events),
                            text(age(flow.oldest_pending_ms)),
                        ]
                    }),
                );
            }
            Ok(Verdict::Well)
        }
        Flows::Get { name } => {
            let request = GetFlowRequest { name: name.clone() };
            let reply = node.get_flow(request).await.map_err(admin::refusal)?.into_inner();
            if global.output == Output::Json {
                json(&reply)?
            } else {
                line(reply.toml.trim_end())
            }
            Ok(Verdict::Well)
        }
        Flows::Check { file } => {
            let reply = node.check_flows(request(file, false)?).await.map_err(admin::refusal)?;
            show(global, &reply.into_inner(), "would change")
        }
        Flows::Apply { file, discard } => {
            let reply = node.apply_flows(request(file, *discard)?).await.map_err(admin::refusal)?;
            show(global, &reply.into_inner(), "changed")
        }
    }
}

fn request(file: &Path, discard: bool) -> Result<ApplyFlowsRequest> {
    let toml = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    Ok(ApplyFlowsRequest { toml, file: file.display().to_string(), discard })
}

fn show(global: &Global, reply: &ApplyFlowsReply, done: &str) -> Result<Verdict> {
    if global.output == Output::Json {
        json(reply)?;
    } else {
        if !reply.diagnostics.is_empty() {
            line(reply.diagnostics.trim_end());
        }
        for change in &reply.changes {
            line(&format!("{done}: {change}"));
        }
        if reply.valid {
            line("valid");
        }
    }
    Ok(if reply.valid { Verdict::Well } else { Verdict::Bad })
}
