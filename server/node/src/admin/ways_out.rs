//! What an operator may do when something does not go on by itself.

use super::{AdminService, refused};
use proto::v1;
use sdk_config::ledger::{Root, Span};
use sdk_event::Lineage;
use server_cluster::command::{
    Abandon, AdoptRoot, ClearPenalties, Lost, Resolution, ResolveBucket,
};
use server_cluster::state::{LostRange, Opening};
use server_cluster::{Rejected, Reply};
use tonic::Status;

impl AdminService {
    pub(super) async fn clear(&self, sink: &str) -> Result<v1::ClearPenaltiesReply, Status> {
        let running = self.cluster.read(|state| {
            let running = state.penalties().into_iter();
            let meant = running.filter(|it| sink.is_empty() || it.sink_name == sink);
            meant.map(|it| (it.flow, it.sink)).collect::<std::collections::BTreeSet<_>>()
        });
        for (flow, sink) in &running {
            let command = ClearPenalties { flow: Some(*flow), sink: Some(*sink) };
            self.cluster.propose(command).await.map_err(|error| refused(error.to_string()))?;
        }
        Ok(v1::ClearPenaltiesReply { cleared: u32::try_from(running.len()).unwrap_or(u32::MAX) })
    }

    pub(super) fn buckets(&self) -> Vec<v1::Bucket> {
        let mut buckets = Vec::new();
        self.cluster.read(|state| {
            for stuck in state.stuck_buckets() {
                let flow = state.flow(stuck.lineage.flow);
                let held = state.lineage(stuck.lineage);
                let key =
                    flow.zip(held).and_then(|(flow, held)| flow.group(held.version, stuck.group));
                let version = self.lineages.get(stuck.lineage).map(|held| held.version);
                let sink = version.and_then(|version| {
                    let group = version.group(stuck.group)?.clone();
                    let member =
                        group.members.into_iter().find(|it| it.number == stuck.bucket.sink);
                    member.map(|it| it.name.to_string())
                });
                let ledger = state.ledger(stuck.lineage, stuck.group);
                let bucket = ledger.and_then(|ledger| ledger.buckets.get(stuck.bucket));
                let spans = bucket.map(|bucket| {
                    let open = bucket.open.iter().map(|open| open.span);
                    open.chain(bucket.holes.iter().map(|hole| hole.span)).collect::<Vec<_>>()
                });
                let spans = spans.unwrap_or_default();
                buckets.push(v1::Bucket {
                    flow: flow.map(|flow| flow.name.clone()).unwrap_or_default(),
                    group: key.map(|key| key.group).unwrap_or_default(),
                    sink: sink.unwrap_or_else(|| stuck.bucket.sink.to_string()),
                    lineage: stuck.lineage.to_string(),
                    directory: stuck.bucket.directory.clone(),
                    state: if stuck.quarantine.is_some() { "quarantined" } else { "waiting" }
                        .to_owned(),
                    reason: stuck.quarantine.unwrap_or("its file waits for the sink").to_owned(),
                    first_offset: spans.iter().map(|span| span.first).min().unwrap_or(0),
                    last_offset: spans.iter().map(|span| span.last).max().unwrap_or(0),
                });
            }
        });
        buckets
    }

    pub(super) async fn resolve(
        &self,
        request: v1::ResolveBucketRequest,
    ) -> Result<v1::ResolveBucketReply, Status> {
        let v1::ResolveBucketRequest { flow, sink, lineage, directory } = request;
        let lineage = parse_lineage(&lineage)?;
        let known = self.cluster.read(|state| {
            let stuck = state.stuck_buckets().into_iter();
            let meant =
                stuck.filter(|it| it.lineage == lineage && it.bucket.directory == directory);
            meant.map(|it| (it.group, it.bucket.clone())).collect::<Vec<_>>()
        });
        let version = self.lineages.get(lineage).map(|held| held.version);
        let known = known.into_iter().find(|(group, bucket)| {
            version.as_ref().is_some_and(|version| {
                *version.flow_name == *flow
                    && version.group(*group).is_some_and(|group| {
                        group.members.iter().any(|it| it.number == bucket.sink && *it.name == *sink)
                    })
            })
        });
        let Some((group, bucket)) = known else {
            return Err(Status::not_found("no such bucket: `collector-cli buckets` lists them"));
        };
        let command = ResolveBucket { lineage, group, bucket, resolution: Resolution::Retry };
        match self.cluster.propose(command).await {
            Ok(_) => (),
            // It waits although it is not quarantined: have it tried again all the same.
            Err(crate::cluster::ClusterError::Rejected(Rejected::Nothing)) => (),
            Err(error) => return Err(refused(error.to_string())),
        }
        self.drains.refresh(Some(lineage));
        Ok(v1::ResolveBucketReply { outcome: "the bucket is tried again".to_owned() })
    }

    pub(super) async fn adopt(
        &self,
        request: v1::AdoptRootRequest,
    ) -> Result<v1::AdoptRootReply, Status> {
        let v1::AdoptRootRequest { flow, sink } = request;
        let flow = self.flows.named(&flow).map_err(Status::not_found)?;
        let version = flow.version.load_full();
        let mut members = version.groups.iter().flat_map(|group| &group.members);
        let number = members.find(|member| *member.name == *sink).map(|member| member.number);
        let file_sink = number.and_then(|number| self.drains.file_sink(flow.id, number));
        let Some(file_sink) = file_sink else {
            return Err(Status::not_found(format!(
                "flow {} has no file sink {sink} at work",
                flow.name
            )));
        };
        let path = file_sink.layout().root().to_owned();
        let recorded = self.cluster.read(|state| state.roots().get(&path).copied());
        let Some(before) = recorded else {
            return Err(refused(format!(
                "{path} has no recorded marker: the sink records one by itself"
            )));
        };
        let found = {
            let (entropy, deadlines) = (&sdk_flow::SystemEntropy, sdk_files::Deadlines::default());
            // Makes one only where there is none.
            sdk_files::marker::create(&**file_sink.fs(), &path, entropy, deadlines).await
        };
        let found = found.map_err(|error| {
            refused(format!("the marker of {path} cannot be read or written: {error}"))
        })?;
        if found == before {
            return Err(refused(format!(
                "{path} shows the marker that is recorded: nothing to adopt"
            )));
        }
        let root = Root { path: path.clone(), id: found };
        self.cluster
            .propose(AdoptRoot { root, before })
            .await
            .map_err(|error| refused(error.to_string()))?;
        self.drains.refresh(None);
        Ok(v1::AdoptRootReply { adopted: vec![path] })
    }

    /// Ends a lineage where it is: what some group has not delivered of it is listed as lost, and passed.
    pub(super) async fn abandon(&self, lineage: &str) -> Result<v1::AbandonLineageReply, Status> {
        let lineage = parse_lineage(lineage)?;
        let known = self.cluster.read(|state| {
            let found = state.lineage(lineage)?;
            Some((found.sealed, state.flow(lineage.flow)?.latest, state.epoch(lineage)))
        });
        let Some((sealed, version, epoch)) = known else {
            return Err(Status::not_found("no such lineage: it was drained, or never was"));
        };
        if epoch == lineage.epoch {
            return Err(refused(
                "this is the shard's current lineage: it takes events, there is nothing to abandon",
            ));
        }
        let end = match sealed {
            Some(end) => end,
            None => self.end_where_it_is(lineage, version).await?,
        };
        let undelivered = self.undelivered(lineage, end);
        let offsets: u64 = undelivered.iter().map(|span| span.last - span.first + 1).sum();
        if undelivered.is_empty() {
            return Err(refused("all of this lineage is delivered, there is nothing to abandon"));
        }
        let ranges = undelivered.iter().map(|span| LostRange { span: *span, ids: Vec::new() });
        let ranges: Vec<LostRange> = ranges.collect();
        let known = self.lineages.give_up(lineage, &undelivered).await;
        known.map_err(|error| Status::unavailable(sdk_flow::with_causes(&error)))?;
        self.cluster
            .propose(Lost { lineage, ranges })
            .await
            .map_err(|error| refused(error.to_string()))?;
        self.drains.refresh(Some(lineage));
        let spans: Vec<String> =
            undelivered.iter().map(|span| format!("{} to {}", span.first, span.last)).collect();
        let outcome =
            format!("lineage {lineage} ends at {end}; given up: offsets {}", spans.join(", "));
        Ok(v1::AbandonLineageReply { lost_events: offsets, outcome })
    }

    /// What some group still needs of a sealed lineage: everything above its floor, and below it what
    /// waits for a bucket.
    fn undelivered(&self, lineage: Lineage, end: u64) -> Vec<Span> {
        self.cluster.read(|state| {
            let Some(found) = state.lineage(lineage) else { return Vec::new() };
            let mut spans = Vec::new();
            for ledger in found.ledgers.values() {
                if ledger.floor < end {
                    spans.push(Span { first: ledger.floor, last: end - 1 });
                }
                for bucket in ledger.buckets.values() {
                    let open = bucket.open.iter().map(|open| open.span);
                    spans.extend(open.chain(bucket.holes.iter().map(|hole| hole.span)));
                }
            }
            merged(spans)
        })
    }

    async fn end_where_it_is(&self, lineage: Lineage, version: u32) -> Result<u64, Status> {
        let node = self.cluster.node();
        let next = Opening { owner: node, replicas: vec![node] };
        let end = self.lineages.get(lineage).map_or(0, |held| held.held.totals().0);
        let command = Abandon { lineage, end, holders: vec![node], next, version };
        match self.cluster.propose(command).await {
            Ok(Reply::Sealed(sealed)) => match sealed.into_iter().next() {
                Some(Ok(sealed)) => Ok(sealed.end),
                _ => Err(refused("the lineage could not be ended")),
            },
            Ok(reply) => Err(Status::internal(format!("{reply:?}"))),
            Err(error) => Err(refused(error.to_string())),
        }
    }
}

/// The same offsets in as few ranges as may be, ascending.
fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|span| span.first);
    let mut merged: Vec<Span> = Vec::new();
    for span in spans {
        match merged.last_mut() {
            Some(before) if span.first <= before.last.saturating_add(1) => {
                before.last = before.last.max(span.last);
            }
            _ => merged.push(span),
        }
    }
    merged
}

fn parse_lineage(text: &str) -> Result<Lineage, Status> {
    let mut parts = text.split('/');
    let mut next = || parts.next().and_then(|part| part.parse::<u64>().ok());
    let lineage = next().zip(next()).zip(next()).map(|((flow, shard), epoch)| (flow, shard, epoch));
    match lineage {
        Some((flow, shard, epoch)) if text.matches('/').count() == 2 => {
            let shard =
                u32::try_from(shard).map_err(|_| Status::invalid_argument("no such shard"))?;
            Ok(Lineage { flow, shard, epoch })
        }
        _ => {
            Err(Status::invalid_argument(format!("`{text}` is no lineage: write FLOW/SHARD/EPOCH")))
        }
    }
}
