//! `status`: how everything is, with a sentence for what is not well.

use crate::arguments::{Global, Output, StatusArguments};
use crate::print::{age, bytes, count, in_bytes, json, line, span, state, table, text};
use crate::{Verdict, admin};
use anyhow::Result;
use proto::v1::{StatusReply, StatusRequest};
use std::time::Duration;

const AGAIN_AFTER: Duration = Duration::from_secs(2);

pub(crate) async fn run(global: &Global, arguments: &StatusArguments) -> Result<Verdict> {
    loop {
        let answer = ask(global).await;
        if arguments.watch {
            // Home and clear, as `watch` does.
            line("\x1b[H\x1b[2J");
        }
        match answer {
            Ok(status) => {
                let verdict = if status.healthy { Verdict::Well } else { Verdict::Bad };
                if !arguments.exit_when_healthy || verdict == Verdict::Well {
                    show(global, &status)?;
                }
                if !arguments.watch && !arguments.exit_when_healthy
                    || arguments.exit_when_healthy && status.healthy
                {
                    return Ok(verdict);
                }
            }
            Err(error) if !arguments.watch && !arguments.exit_when_healthy => return Err(error),
            Err(error) => crate::print::complaint(&format!("{error:#}")),
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// The status of whoever answers.
pub(crate) async fn ask(global: &Global) -> Result<StatusReply> {
    let mut node = admin::connect(global).await?;
    Ok(node.status(StatusRequest {}).await.map_err(admin::refusal)?.into_inner())
}

fn show(global: &Global, status: &StatusReply) -> Result<()> {
    if global.output == Output::Json {
        return json(status);
    }
    line(if status.healthy { "healthy" } else { "degraded:" });
    for reason in &status.reasons {
        line(&format!("  - {reason}"));
    }
    if let Some(cluster) = &status.cluster {
        line(&format!(
            "cluster {}  leader {}  term {}",
            cluster.uuid, cluster.leader, cluster.term
        ));
    }
    line("");
    table(
        ["NODE", "STATE", "INGEST", "ADMIN", "UP", "MEMORY", "CONNECTIONS"],
        status.nodes.iter().map(|node| {
            [
                text(&node.id),
                state(&node.state, node.state == "up"),
                text(&node.ingest),
                text(&node.admin),
                text(span(node.uptime_ms)),
                bytes(node.resident_bytes),
                count(node.connections),
            ]
        }),
    );
    line("");
    table(
        ["FLOW", "EVENTS/S", "BYTES/S", "ACKNOWLEDGED", "WAITING", "OLDEST", "FINAL BEFORE"],
        status.flows.iter().map(|flow| {
            let waiting = flow.channels.iter().map(|channel| channel.pending_events).max();
            [
                text(&flow.name),
                count(flow.events_per_second.round() as u64),
                text(format!("{}/s", in_bytes(flow.bytes_per_second as u64))),
                count(flow.acknowledged_events),
                count(waiting.unwrap_or(0)),
                text(age(flow.oldest_pending_ms)),
                text(if flow.final_before.is_empty() { "unknown" } else { &flow.final_before }),
            ]
        }),
    );
    line("");
    sinks(status);
    line("");
    table(
        ["DISK", "USED", "QUOTA", "FREE", "MARK", "PATH"],
        status.disks.iter().map(|disk| {
            [
                text(&disk.purpose),
                bytes(disk.used_bytes),
                bytes(disk.quota_bytes),
                bytes(disk.free_bytes),
                state(&disk.mark, disk.mark == "ok"),
                text(&disk.path),
            ]
        }),
    );
    if !status.penalties.is_empty() {
        line("");
        crate::penalties::show(&status.penalties);
    }
    Ok(())
}

/// The sinks of a status, as a table.
pub(crate) fn sinks(status: &StatusReply) {
    table(
        ["SINK", "STATE", "BACKLOG", "OPEN", "FILES", "EVENTS", "DEAD", "PATH"],
        status.sinks.iter().map(|sink| {
            [
                text(format!("{}/{}", sink.flow, sink.name)),
                state(&sink.state, sink.state == "ok"),
                count(sink.backlog_events),
                count(sink.open_files),
                count(sink.files_rolled),
                count(sink.events),
                count(sink.dead_lettered),
                text(&sink.path),
            ]
        }),
    );
}
