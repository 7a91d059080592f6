//! `buckets`: what was set aside because its path does not work.

use crate::arguments::{Buckets, BucketsArguments, Global, Output};
use crate::print::{json, line, state, table, text};
use crate::{Verdict, admin};
use anyhow::Result;
use proto::v1::{ListBucketsRequest, ResolveBucketRequest};

pub(crate) async fn run(global: &Global, arguments: &BucketsArguments) -> Result<Verdict> {
    let mut node = admin::connect(global).await?;
    if let Some(Buckets::Resolve { flow, sink, lineage, directory }) = &arguments.command {
        let request = ResolveBucketRequest {
            flow: flow.clone(),
            sink: sink.clone(),
            lineage: lineage.clone(),
            directory: directory.clone(),
        };
        let reply = node.resolve_bucket(request).await.map_err(admin::refusal)?.into_inner();
        if global.output == Output::Json {
            json(&reply)?
        } else {
            line(&reply.outcome)
        }
        return Ok(Verdict::Well);
    }
    let reply =
        node.list_buckets(ListBucketsRequest {}).await.map_err(admin::refusal)?.into_inner();
    if global.output == Output::Json {
        json(&reply)?;
        return Ok(Verdict::Well);
    }
    table(
        ["BUCKET", "LINEAGE", "OFFSETS", "STATE", "DIRECTORY", "REASON"],
        reply.buckets.iter().map(|bucket| {
            [
                text(format!("{}/{}", bucket.flow, bucket.sink)),
                text(&bucket.lineage),
                text(format!("{}-{}", bucket.first_offset, bucket.last_offset)),
                state(&bucket.state, false),
                text(&bucket.directory),
                text(&bucket.reason),
            ]
        }),
    );
    Ok(Verdict::Well)
}
