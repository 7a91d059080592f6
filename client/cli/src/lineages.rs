//! `lineages abandon`: the way out when a lineage cannot be drained.

use crate::arguments::{Global, Lineages, Output};
use crate::print::{json, line};
use crate::{Verdict, admin};
use anyhow::Result;
use proto::v1::AbandonLineageRequest;

pub(crate) async fn run(global: &Global, command: &Lineages) -> Result<Verdict> {
    let Lineages::Abandon { lineage, yes } = command;
    if !yes {
        line(&format!(
            "this ends lineage {lineage} where it is; what it still waits for is booked as lost, and producers are told so. \
             Look at `collector-cli audit` first, then say it again with --yes"
        ));
        return Ok(Verdict::Bad);
    }
    let mut node = admin::connect(global).await?;
    let request = AbandonLineageRequest { lineage: lineage.clone() };
    let reply = node.abandon_lineage(request).await.map_err(admin::refusal)?.into_inner();
    if global.output == Output::Json {
        json(&reply)?
    } else {
        line(&reply.outcome)
    }
    Ok(Verdict::Well)
}
