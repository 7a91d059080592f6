//! `audit`: the books.

use crate::arguments::{AuditArguments, Global, Output};
use crate::print::{count, json, line, table, text};
use crate::{Verdict, admin};
use anyhow::{Context, Result};
use jiff::Timestamp;
use proto::v1::{AuditReply, AuditRequest};

pub(crate) async fn run(global: &Global, arguments: &AuditArguments) -> Result<Verdict> {
    let since_ms = arguments.since.as_deref().map(since).transpose()?.unwrap_or(0);
    let mut node = admin::connect(global).await?;
    let request = AuditRequest { deep: arguments.deep, since_ms };
    let audit = node.audit(request).await.map_err(admin::refusal)?.into_inner();
    if global.output == Output::Json {
        json(&audit)?;
    } else {
        show(&audit);
    }
    Ok(if audit.balanced { Verdict::Well } else { Verdict::Bad })
}

fn show(audit: &AuditReply) {
    table(
        [
            "FLOW",
            "CHANNEL",
            "GROUP",
            "STORED",
            "ACKNOWLEDGED",
            "IN FILES",
            "DEAD",
            "DROPPED",
            "PENDING",
            "LOST",
            "DUPLICATED",
        ],
        audit.flows.iter().map(|row| {
            [
                text(&row.flow),
                text(&row.channel),
                text(&row.group),
                count(row.stored),
                count(row.acknowledged),
                count(row.in_files),
                count(row.dead_lettered),
                count(row.dropped),
                count(row.pending),
                count(row.lost),
                row.duplicated.map_or_else(|| text("not read"), count),
            ]
        }),
    );
    for finding in &audit.findings {
        line(&format!("  - {finding}"));
    }
    audit.notes.iter().for_each(|note| line(&format!("  ({note})")));
    let read = match (audit.deep, audit.ids) {
        (false, _) => "from the ledger and the log; --deep reads the files back".to_owned(),
        (true, false) => format!("{} files read back: counts and CRC", audit.files_read),
        (true, true) => format!("{} files read back: counts, CRC and ids", audit.files_read),
    };
    line(&format!("{} ({read})", if audit.balanced { "balanced" } else { "NOT balanced" }));
}

/// A point in time, or an age.
fn since(text: &str) -> Result<i64> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_millisecond());
    }
    let age: jiff::Span = text.parse().with_context(|| {
        format!("`{text}` is neither a time (2026-11-21T10:00:00Z) nor an age (2h)")
    })?;
    let age = jiff::SignedDuration::try_from(age)
        .with_context(|| format!("`{text}`: an age is in hours or smaller units"))?;
    let now = Timestamp::try_from(std::time::SystemTime::now())?;
    Ok(now.checked_sub(age)?.as_millisecond())
}
