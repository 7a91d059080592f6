//! `penalties`: sinks that are left alone for a while.

use crate::arguments::{Global, Output, Penalties, PenaltiesArguments};
use crate::print::{count, json, line, span, table, text};
use crate::{Verdict, admin};
use anyhow::Result;
use proto::v1::{ClearPenaltiesRequest, ListPenaltiesRequest, Penalty};

pub(crate) async fn run(global: &Global, arguments: &PenaltiesArguments) -> Result<Verdict> {
    let mut node = admin::connect(global).await?;
    if let Some(Penalties::Clear { sink }) = &arguments.command {
        let request = ClearPenaltiesRequest { sink: sink.clone() };
        let reply = node.clear_penalties(request).await.map_err(admin::refusal)?.into_inner();
        if global.output == Output::Json {
            json(&reply)?;
        } else {
            line(&format!("{} cleared", reply.cleared));
        }
        return Ok(Verdict::Well);
    }
    let reply =
        node.list_penalties(ListPenaltiesRequest {}).await.map_err(admin::refusal)?.into_inner();
    if global.output == Output::Json {
        json(&reply)?
    } else {
        show(&reply.penalties)
    }
    Ok(Verdict::Well)
}

/// Penalties as a table.
pub(crate) fn show(penalties: &[Penalty]) {
    table(
        ["PENALTY", "NODE", "FAILURES", "TRIED AGAIN IN", "REASON"],
        penalties.iter().map(|penalty| {
            [
                text(format!("{}/{}", penalty.flow, penalty.sink)),
                text(if penalty.node.is_empty() { "cluster-wide" } else { &penalty.node }),
                count(penalty.failures.into()),
                text(span(penalty.remaining_ms)),
                text(&penalty.reason),
            ]
        }),
    );
}
