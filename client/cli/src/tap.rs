//! `tap`: events as they are stored.

use crate::arguments::{Global, Output, TapArguments};
use crate::print::{complaint, json, line};
use crate::{Verdict, admin};
use anyhow::Result;
use proto::v1::{TapEvent, TapRequest};

pub(crate) async fn run(global: &Global, arguments: &TapArguments) -> Result<Verdict> {
    let mut node = admin::connect(global).await?;
    let request = TapRequest { flow: arguments.flow.clone(), limit: arguments.limit };
    let mut events = node.tap(request).await.map_err(admin::refusal)?.into_inner();
    let mut seen = 0;
    loop {
        let next = tokio::select! {
            next = events.message() => next.map_err(admin::refusal)?,
            _ = tokio::signal::ctrl_c() => return Ok(Verdict::Well),
        };
        let Some(event) = next else { return Ok(Verdict::Well) };
        if event.skipped > 0 {
            complaint(&format!("… {} events passed over", event.skipped));
        }
        if global.output == Output::Json {
            json(&event)?;
        } else {
            line(&readable(&event));
        }
        seen += 1;
        if seen == arguments.limit {
            return Ok(Verdict::Well);
        }
    }
}

fn readable(event: &TapEvent) -> String {
    let headers: Vec<String> =
        event.headers.iter().map(|header| format!("{}={}", header.key, header.value)).collect();
    // Control characters of a body must not reach the terminal.
    let body: String = String::from_utf8_lossy(&event.body)
        .chars()
        .map(|c| if c.is_control() { '.' } else { c })
        .collect();
    format!("{}@{} {{{}}} {body}", event.lineage, event.offset, headers.join(", "))
}
