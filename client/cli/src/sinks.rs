//! `sinks`: what delivers, and `adopt-root`.

use crate::arguments::{Global, Output, Sinks, SinksArguments};
use crate::print::{json, line};
use crate::{Verdict, admin};
use anyhow::Result;
use proto::v1::{AdoptRootRequest, ListSinksRequest, StatusReply};

pub(crate) async fn run(global: &Global, arguments: &SinksArguments) -> Result<Verdict> {
    let mut node = admin::connect(global).await?;
    if let Some(Sinks::AdoptRoot { flow, sink }) = &arguments.command {
        let request = AdoptRootRequest { flow: flow.clone(), sink: sink.clone() };
        let reply = node.adopt_root(request).await.map_err(admin::refusal)?.into_inner();
        if global.output == Output::Json {
            json(&reply)?;
        } else {
            for root in &reply.adopted {
                line(&format!("adopted {root}"));
            }
        }
        return Ok(Verdict::Well);
    }
    let reply = node.list_sinks(ListSinksRequest {}).await.map_err(admin::refusal)?.into_inner();
    if global.output == Output::Json {
        json(&reply)?;
        return Ok(Verdict::Well);
    }
    crate::status::sinks(&StatusReply { sinks: reply.sinks.clone(), ..StatusReply::default() });
    for sink in reply.sinks.iter().filter(|sink| !sink.reason.is_empty()) {
        line(&format!("  - {}/{}: {}", sink.flow, sink.name, sink.reason));
    }
    Ok(Verdict::Well)
}
