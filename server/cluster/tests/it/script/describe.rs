//! From replies and states to lines.

use std::fmt::Write;

use sdk_config::ledger::{Grant, Span};
use server_cluster::state::{Book, Bucket, Ledger};
use server_cluster::{Reply, State};

pub(crate) fn reply(reply: &Reply) -> String {
    let text = match reply {
        Reply::Done => "done".to_owned(),
        Reply::Rejected(rejected) => format!("rejected: {rejected}"),
        Reply::Node { node, incarnation } => format!("node {node} incarnation {incarnation}"),
        Reply::Flow { flow, version } => format!("flow {flow} version {version}"),
        Reply::Root(id) => format!("root id {}", id.0[0]),
        Reply::Sealed(seals) => {
            let lines: Vec<String> = seals
                .iter()
                .map(|seal| match seal {
                    Ok(seal) => format!(
                        "{} at {}{}, now {}",
                        if seal.first { "sealed" } else { "was sealed" },
                        seal.end,
                        seal.raised.map_or(String::new(), |it| format!(" (lacks {})", span(&it))),
                        seal.current
                    ),
                    Err(rejected) => format!("rejected: {rejected}"),
                })
                .collect();
            lines.join("\n")
        }
        Reply::Granted(Ok(it)) => grant(it),
        Reply::Granted(Err(refusal)) => format!("refused: {refusal}"),
        Reply::Ledger(Err(refusal)) => format!("refused: {refusal}"),
        Reply::Ledger(Ok(answer)) => {
            let mut text = "ok".to_owned();
            for (position, refusal) in &answer.refused {
                write!(text, "\n  item {position} refused: {refusal}").unwrap();
            }
            text
        }
    };
    text + "\n"
}

fn grant(grant: &Grant) -> String {
    let mut text = format!("granted token {} floor {}", grant.token, grant.floor);
    if let Some(end) = grant.sealed_end {
        write!(text, " end {end}").unwrap();
    }
    for (token, root) in &grant.earlier {
        write!(text, "\n  fence token {token} at {}:{}", root.path, root.id.0[0]).unwrap();
    }
    for root in &grant.roots {
        write!(text, "\n  root {}:{}", root.path, root.id.0[0]).unwrap();
    }
    for (path, refusal) in &grant.refused_roots {
        write!(text, "\n  no root {path}: {refusal}").unwrap();
    }
    for open in &grant.intents {
        let intent = &open.intent;
        write!(text, "\n  open {}/{}", intent.bucket.directory, intent.name).unwrap();
        for attempt in &open.attempts {
            write!(text, " [{} {} {}]", attempt.token, attempt.length, attempt.crc).unwrap();
        }
    }
    for bucket in &grant.buckets {
        let committed: Vec<String> = bucket.committed.iter().map(span).collect();
        let holes: Vec<String> = bucket.holes.iter().map(|hole| span(&hole.span)).collect();
        let directory = &bucket.bucket.directory;
        write!(text, "\n  bucket {directory} end {:?} committed {committed:?}", bucket.end)
            .unwrap();
        if !holes.is_empty() {
            write!(text, " holes {holes:?}").unwrap();
        }
        if let Some(reason) = &bucket.quarantine {
            write!(text, " quarantined: {reason}").unwrap();
        }
    }
    if !grant.lost.is_empty() {
        let lost: Vec<String> = grant.lost.iter().map(span).collect();
        write!(text, "\n  lost {lost:?}").unwrap();
    }
    text
}

fn span(span: &Span) -> String {
    format!("{}-{}", span.first, span.last)
}

pub(crate) fn state(state: &State) -> String {
    let mut text = String::new();
    for (id, node) in state.nodes() {
        let (inc, at) = (node.incarnation, node.state);
        writeln!(text, "node {id} incarnation {inc} {at:?}").unwrap();
    }
    for (path, id) in state.roots() {
        writeln!(text, "root {path}:{}", id.0[0]).unwrap();
    }
    for (id, flow) in state.flows() {
        writeln!(text, "flow {id} {}", flow.name).unwrap();
        for (number, version) in &flow.versions {
            let sinks: Vec<String> =
                version.sinks.iter().map(|(name, it)| format!("{name}={}", it.number)).collect();
            let groups: Vec<String> =
                version.groups.iter().map(|(name, it)| format!("{name}={}", it.number)).collect();
            let channels: Vec<String> =
                version.channels.iter().map(|(name, it)| format!("{name}={it}")).collect();
            writeln!(
                text,
                "  version {number} {}: channels {} sinks {} groups {}",
                version.spec,
                channels.join(" "),
                sinks.join(" "),
                groups.join(" ")
            )
            .unwrap();
        }
        for (key, it) in &flow.books {
            writeln!(text, "  finished {} {}: {}", key.channel, key.group, book(it)).unwrap();
        }
    }
    for (lineage, it) in state.lineages() {
        write!(text, "lineage {lineage} owner {}.{}", it.owner, it.incarnation).unwrap();
        write!(text, " replicas {:?} version {}", it.replicas, it.version).unwrap();
        if let Some(end) = it.sealed {
            let abandoned = if it.abandoned { "abandoned" } else { "sealed" };
            write!(text, " {abandoned} at {end} held by {:?}", it.holders).unwrap();
        }
        for lost in &it.lost {
            write!(text, " lost {}", span(&lost.span)).unwrap();
        }
        text.push('\n');
        for (group, it) in &it.ledgers {
            ledger(&mut text, *group, it);
        }
    }
    for it in state.penalties() {
        writeln!(
            text,
            "penalty {} {} node {}: {} ms after {} failures{}{}: {}",
            it.flow_name,
            it.sink_name,
            it.node,
            it.penalty.duration_ms,
            it.penalty.failures,
            if it.cluster_wide { ", cluster-wide" } else { "" },
            it.prober.map_or(String::new(), |node| format!(", node {node} probes")),
            it.penalty.reason
        )
        .unwrap();
    }
    text
}

fn ledger(text: &mut String, group: u32, ledger: &Ledger) {
    write!(text, "  group {group} floor {} token {}", ledger.floor, ledger.token).unwrap();
    if let Some(holder) = ledger.holder {
        write!(text, " held by {}.{}", holder.node, holder.incarnation).unwrap();
    }
    if !ledger.earlier.is_empty() {
        let tokens: Vec<u64> = ledger.earlier.iter().map(|(token, _)| *token).collect();
        write!(text, " unfenced {tokens:?}").unwrap();
    }
    writeln!(text, ": {}", book(&ledger.book)).unwrap();
    for (key, it) in &ledger.buckets {
        writeln!(text, "    {}: {}", key.directory, bucket(it)).unwrap();
    }
}

fn bucket(bucket: &Bucket) -> String {
    let mut parts = Vec::new();
    parts.extend(bucket.committed.iter().map(|it| format!("committed {}", span(it))));
    parts.extend(bucket.open.iter().map(|open| {
        format!("open {}{}", span(&open.span), if open.pinned { " pinned" } else { "" })
    }));
    parts.extend(bucket.end.map(|end| format!("end {end}")));
    let holes = bucket.holes.iter();
    parts.extend(holes.map(|it| format!("hole {} of {}", span(&it.span), it.events)));
    parts.extend(bucket.quarantine.iter().map(|reason| format!("quarantined: {reason}")));
    parts.join(", ")
}

fn book(book: &Book) -> String {
    let mut text = format!("stored {} in files {}", book.stored, book.in_files);
    if book.dead_lettered > 0 {
        write!(text, " dead {}", book.dead_lettered).unwrap();
    }
    for (rule, events) in &book.dropped {
        write!(text, " dropped {events} by {rule}").unwrap();
    }
    if book.lost > 0 {
        write!(text, " lost {}", book.lost).unwrap();
    }
    if book.files > 0 {
        write!(text, " ({} files, crc sum {})", book.files, book.crc_sum).unwrap();
    }
    text
}

/// `? seals NODE INCARNATION`, `? drains NODE`, `? use FLOW SINK NODE`, `? needed LINEAGE`, `? audit`
pub(crate) fn query(state: &State, line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |at: usize| words[at].parse::<u64>().unwrap();
    let mut text = String::new();
    match words[0] {
        "seals" => {
            for due in state.seals_due(number(1), number(2)) {
                let why = (due.restarted, due.new_version);
                writeln!(text, "{} restarted {} new version {}", due.lineage, why.0, why.1)
                    .unwrap();
            }
        }
        "drains" => {
            for drain in state.drains(number(1)) {
                let discard = if drain.discard { " discard" } else { "" };
                let (name, channel) = (&drain.name, &drain.channel);
                let (lineage, floor) = (drain.lineage, drain.floor);
                writeln!(text, "{lineage} {name} of {channel} from {floor}{discard}").unwrap();
            }
        }
        "use" => {
            let may = state.may_use(number(1), number(2) as u32, number(3));
            let may = format!("{may:?}");
            writeln!(text, "{}", may.split([' ', '(']).next().unwrap()).unwrap();
        }
        "needed" => writeln!(text, "{:?}", state.first_needed(words[1].parse().unwrap())).unwrap(),
        "audit" => {
            for row in state.audit() {
                let lineages: Vec<String> =
                    row.living.iter().map(|it| format!("{}<{}", it.lineage, it.floor)).collect();
                let (channel, group) = (&row.key.channel, &row.key.group);
                let total = book(&row.total());
                writeln!(text, "{} {channel} {group}: {total} {lineages:?}", row.name).unwrap();
            }
        }
        "place" => {
            let mut owners = std::collections::BTreeMap::<u64, u32>::new();
            for shard in 0..number(1) as u32 {
                let opening = state.place("web", shard, number(2) as usize).unwrap();
                *owners.entry(opening.owner).or_default() += 1;
            }
            writeln!(text, "{owners:?}").unwrap();
        }
        other => panic!("no query {other}"),
    }
    text
}
