//! How each sink is doing, over all its lineages.

use super::{BookRow, Figures};
use crate::drains::Running;
use proto::v1;
use sdk_config::SinkSpec;
use sdk_files::status::DrainStatus;
use server_cluster::state::Book;
use std::collections::BTreeMap;

impl Figures {
    /// Every sink of the newest versions, and what older lineages still have for it.
    pub(crate) fn sinks(&self) -> Vec<v1::Sink> {
        let mut sinks: BTreeMap<(String, String), v1::Sink> = BTreeMap::new();
        let node = self.cluster.node().to_string();
        for (name, flow) in self.flows.all().iter() {
            let version = flow.version.load();
            for group in &version.groups {
                for member in &group.members {
                    let path = match &member.spec {
                        SinkSpec::Files(files) => files.path.clone(),
                        _ => String::new(),
                    };
                    let sink = v1::Sink {
                        flow: name.clone(),
                        group: group.name.to_string(),
                        name: member.name.to_string(),
                        r#type: member.spec.type_name().to_owned(),
                        node: node.clone(),
                        state: "ok".to_owned(),
                        path,
                        ..v1::Sink::default()
                    };
                    sinks.insert((name.clone(), member.name.to_string()), sink);
                }
            }
        }
        self.count_finished(&mut sinks);
        self.count_living(&mut sinks);
        sinks.into_values().collect()
    }

    /// What the drains have done and what they say.
    fn count_living(&self, sinks: &mut BTreeMap<(String, String), v1::Sink>) {
        for (key, running) in self.drains.running() {
            let Some(held) = self.lineages.get(key.lineage) else { continue };
            let Some(group) = held.version.group(key.group) else { continue };
            let flow = held.version.flow_name.to_string();
            let status = match &running {
                Running::Files(handle) => Some(handle.status()),
                Running::Events(_) => None,
            };
            for member in &group.members {
                let Some(sink) = sinks.get_mut(&(flow.clone(), member.name.to_string())) else {
                    continue;
                };
                if let Some(stats) = running.stats() {
                    let counts = stats.sink(&member.name);
                    sink.events += counts.delivered_events;
                    sink.dead_lettered += counts.dead_lettered_events;
                    let failure = stats.failure().filter(|it| *it.sink == *member.name);
                    if let Some(failure) = failure {
                        degrade(sink, "failing", &failure.reason);
                    }
                }
                let Some(status) = &status else { continue };
                if status.active.as_ref().is_some_and(|active| **active == *member.name) {
                    sink.open_files += status.open_files as u64;
                }
                let own = status.quarantined.iter().filter(|it| it.bucket.sink == member.number);
                for bucket in own {
                    sink.quarantined_buckets += 1;
                    degrade(
                        sink,
                        "degraded",
                        &format!("{}: {}", bucket.bucket.directory, bucket.reason),
                    );
                }
                if let Some(down) = status.down.iter().find(|it| *it.sink == *member.name) {
                    degrade(sink, "failing", &down.reason);
                } else if let Some(own) = status.warned.iter().find(|it| *it.sink == *member.name) {
                    degrade(sink, "degraded", &own.reason);
                } else if let Some(reason) = whole_group(status) {
                    degrade(sink, "degraded", reason);
                }
            }
        }
    }

    /// What sinks with files have done, by the ledger's books. These count by group: of sinks that
    /// share one each says what it has done since the node started, and those that are preferred say
    /// what waits for all.
    fn count_finished(&self, sinks: &mut BTreeMap<(String, String), v1::Sink>) {
        let flows = self.flows.all();
        let books = self.books();
        for (name, flow) in flows.iter() {
            let version = flow.version.load();
            for group in &version.groups {
                let of_group =
                    |book: &&BookRow| book.row.flow == flow.id && book.row.key.group == *group.name;
                let rows: Vec<&BookRow> = books.iter().filter(of_group).collect();
                for (at, member) in group.members.iter().enumerate() {
                    let Some(sink) = sinks.get_mut(&(name.clone(), member.name.to_string())) else {
                        continue;
                    };
                    if at == 0 {
                        sink.backlog_events = rows.iter().map(|book| book.pending).sum();
                    }
                    // Sinks without files tell what they did themselves.
                    if !matches!(member.spec, SinkSpec::Files(_)) {
                        continue;
                    }
                    if group.durable && group.members.len() == 1 {
                        rows.iter().for_each(|book| add(sink, &book.row.total()));
                    } else {
                        let done = self.drains.sink_metrics(name, &member.name);
                        sink.files_rolled = done.files.get();
                        sink.bytes = done.file_bytes.get();
                        sink.events = done.events.get();
                        sink.dead_lettered = done.dead_letters.get();
                    }
                }
            }
        }
    }
}

fn add(sink: &mut v1::Sink, total: &Book) {
    sink.files_rolled += total.files;
    sink.bytes += total.bytes;
    sink.events += total.in_files;
    sink.dead_lettered += total.dead_lettered;
}

/// What is wrong with all sinks of a group alike: what is wrong with one is no other's fault.
fn whole_group(status: &DrainStatus) -> Option<&String> {
    let of_one =
        !(status.down.is_empty() && status.warned.is_empty() && status.quarantined.is_empty());
    status.degraded.as_ref().filter(|_| !of_one)
}

fn degrade(sink: &mut v1::Sink, state: &str, reason: &str) {
    if sink.state == "ok" {
        sink.state = state.to_owned();
        sink.reason = reason.to_owned();
    }
}

#[cfg(test)]
mod tests;
