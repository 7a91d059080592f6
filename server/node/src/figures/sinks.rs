//! How each sink is doing, over all its lineages.

use super::Figures;
use crate::drains::Running;
use proto::v1;
use sdk_config::SinkSpec;
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
                    let counts = stats.counts();
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
                if let Some(down) = status.down.iter().find(|down| *down.sink == *member.name) {
                    degrade(sink, "failing", &down.reason);
                } else if let Some(reason) = &status.degraded {
                    degrade(sink, "degraded", reason);
                }
            }
        }
    }

    /// Files and events by the ledger's books: those of a group are its members'.
    fn count_finished(&self, sinks: &mut BTreeMap<(String, String), v1::Sink>) {
        for book in self.books() {
            let (row, total) = (&book.row, book.row.total());
            let members = sinks
                .values_mut()
                .filter(|sink| sink.flow == row.name && sink.group == row.key.group);
            members.for_each(|sink| sink.backlog_events += book.pending);
            let first = sinks
                .values_mut()
                .find(|sink| sink.flow == row.name && sink.group == row.key.group);
            let Some(sink) = first else { continue };
            sink.files_rolled += total.files;
            sink.bytes += total.bytes;
            // Sinks without files have told what they did themselves.
            if sink.r#type == "files" {
                sink.events += total.in_files;
                sink.dead_lettered += total.dead_lettered;
            }
        }
    }
}

fn degrade(sink: &mut v1::Sink, state: &str, reason: &str) {
    if sink.state == "ok" {
        sink.state = state.to_owned();
        sink.reason = reason.to_owned();
    }
}
