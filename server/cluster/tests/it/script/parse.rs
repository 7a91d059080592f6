//! From a line to a command.

use std::collections::BTreeMap;

use sdk_config::ledger::{
    BucketKey, CommitFile, Drops, Hole, Intent, Root, RootClaim, RootId, Span,
};
use sdk_event::{Lineage, ProducerId};
use server_cluster::command::*;
use server_cluster::state::{LostIds, LostRange, NodeState, Opening, Plan, PlannedGroup};
use server_cluster::{ClusterId, Command, DirectoryId, StartId};

type Parsed<T> = Result<T, String>;

/// The words of a line: those without `=` by position, the others by key.
struct Words<'a> {
    plain: Vec<&'a str>,
    keyed: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn new(line: &'a str) -> Words<'a> {
        let (keyed, plain) = line.split_whitespace().partition::<Vec<_>, _>(|it| it.contains('='));
        Words { plain, keyed: keyed.iter().filter_map(|word| word.split_once('=')).collect() }
    }

    fn at<T: std::str::FromStr>(&self, at: usize) -> Parsed<T> {
        let word = self.plain.get(at).ok_or(format!("word {at} is missing"))?;
        word.parse().map_err(|_| format!("{word}?"))
    }

    fn get<T: std::str::FromStr>(&self, key: &str, default: T) -> Parsed<T> {
        match self.keyed.get(key) {
            Some(word) => word.parse().map_err(|_| format!("{key}={word}?")),
            None => Ok(default),
        }
    }

    fn list<T: std::str::FromStr>(&self, key: &str, default: &'a str) -> Parsed<Vec<T>> {
        let text = self.keyed.get(key).copied().unwrap_or(default);
        let words = text.split(',').filter(|word| !word.is_empty());
        words.map(|word| word.parse().map_err(|_| format!("{key}={text}?"))).collect()
    }
}

pub(crate) fn parse(line: &str) -> Parsed<Command> {
    let words = Words::new(line);
    let node: u64 = words.get("node", 1)?;
    let incarnation: u64 = words.get("inc", 1)?;
    Ok(match words.at::<String>(0)?.as_str() {
        "init" => InitCluster {
            cluster: ClusterId([words.get("cluster", 7)?; 16]),
            directory: DirectoryId([words.get("dir", 1)?; 16]),
            features: words.get("features", 1)?,
        }
        .into(),
        "add" => AddNode {
            directory: DirectoryId([words.get("dir", 2)?; 16]),
            addresses: Vec::new(),
            zone: words.get("zone", String::new())?,
            features: words.get("features", 1)?,
        }
        .into(),
        "up" => {
            let node: u8 = words.at(1)?;
            NodeUp {
                node: node.into(),
                directory: DirectoryId([words.get("dir", node)?; 16]),
                start: StartId([words.get("start", 1)?; 16]),
                addresses: vec![("ingest".to_owned(), format!("host{node}:7400"))],
                zone: words.get("zone", String::new())?,
                features: words.get("features", 1)?,
            }
            .into()
        }
        "set-node" => SetNode {
            node: words.at(1)?,
            incarnation,
            state: match words.at::<String>(2)?.as_str() {
                "up" => NodeState::Up,
                "suspect" => NodeState::Suspect,
                "down" => NodeState::Down,
                _ => NodeState::Draining,
            },
        }
        .into(),
        "remove-node" => RemoveNode { node: words.at(1)? }.into(),
        "features" => RaiseFeatures { level: words.at(1)? }.into(),
        "flow" => {
            let plan = plan(&words)?;
            CreateFlow {
                name: words.at(1)?,
                spec: words.get("spec", "v1".to_owned())?,
                shards: vec![opening(&words)?; plan.shards as usize],
                plan,
            }
            .into()
        }
        "apply" => ApplySpec {
            flow: words.at(1)?,
            base: words.get("base", 1)?,
            spec: words.get("spec", "v2".to_owned())?,
            plan: plan(&words)?,
            discard: words.list("discard", "")?,
        }
        .into(),
        "remove-flow" => RemoveFlow { flow: words.at(1)? }.into(),
        "seal" => {
            let mut shards = Vec::new();
            for word in &words.plain[1..] {
                let (lineage, end) = word.split_once('@').ok_or("lineage@end")?;
                shards.push(ShardSeal {
                    lineage: lineage.parse().map_err(|_| "lineage?")?,
                    end: end.parse().map_err(|_| "end?")?,
                    holders: words.list("holders", "1")?,
                    next: opening(&words)?,
                    version: words.get("version", 1)?,
                });
            }
            Seal { node, incarnation, shards }.into()
        }
        "reopen" => Reopen {
            lineage: words.at(1)?,
            next: opening(&words)?,
            version: words.get("version", 1)?,
        }
        .into(),
        "hold" => {
            let whole = words.get("whole", true)?;
            Hold { node, incarnation, lineage: words.at(1)?, whole }.into()
        }
        "lost" => {
            let mut ranges = Vec::new();
            for word in &words.plain[2..] {
                let span = span(word)?;
                let ids = vec![LostIds {
                    producer: ProducerId([9; 16]),
                    generation: 1,
                    first: span.first,
                    last: span.last,
                }];
                ranges.push(LostRange { span, ids });
            }
            Lost { lineage: words.at(1)?, ranges }.into()
        }
        "abandon" => Abandon {
            lineage: words.at(1)?,
            end: words.get("end", 0)?,
            holders: words.list("holders", "")?,
            next: opening(&words)?,
            version: words.get("version", 1)?,
        }
        .into(),
        "acquire" => {
            let mut roots = Vec::new();
            for word in words.list::<String>("roots", "/r1:1")? {
                let (path, id) = word.split_once(':').ok_or("path:id")?;
                let id = id.parse().ok().map(|id| RootId([id; 16]));
                roots.push(RootClaim { path: path.to_owned(), id });
            }
            let (lineage, group) = (words.at(1)?, words.get("group", 1)?);
            Acquire { lineage, group, node, incarnation, roots }.into()
        }
        "assign" => Assign {
            lineage: words.at(1)?,
            group: words.get("group", 1)?,
            token: words.get("token", 0)?,
            node: words.keyed.get("to").map(|word| word.parse().unwrap()),
        }
        .into(),
        "root" => RecordRoot { root: root(&words.at::<String>(1)?)? }.into(),
        "adopt" => AdoptRoot {
            root: root(&words.at::<String>(1)?)?,
            before: RootId([words.get("before", 1)?; 16]),
        }
        .into(),
        "report" => ReportSink {
            flow: words.at(1)?,
            sink: words.at(2)?,
            node,
            incarnation,
            report: words.get("report", 1)?,
            outcome: match words.at::<String>(3)?.as_str() {
                "worked" => Outcome::Worked,
                _ => Outcome::Failed {
                    failures: words.get("failures", 1)?,
                    reason: "connection refused".to_owned(),
                    jitter_permille: words.get("jitter", 0)?,
                },
            },
        }
        .into(),
        "probe" => {
            ProbeSink { flow: words.at(1)?, sink: words.at(2)?, serial: words.get("serial", 0)? }
                .into()
        }
        "clear" => ClearPenalties {
            flow: words.keyed.get("flow").map(|word| word.parse().unwrap()),
            sink: words.keyed.get("sink").map(|word| word.parse().unwrap()),
        }
        .into(),
        "resolve" => ResolveBucket {
            lineage: words.at(1)?,
            group: words.get("group", 1)?,
            bucket: bucket(&words.at::<String>(2)?)?,
            resolution: match words.at::<String>(3)?.as_str() {
                "retry" => Resolution::Retry,
                _ => Resolution::Discard,
            },
        }
        .into(),
        "on" => {
            let (head, items) = line.split_once(':').ok_or("on LINEAGE … : action")?;
            let words = Words::new(head);
            OnLedger {
                lineage: words.at(1)?,
                group: words.get("group", 1)?,
                token: words.get("token", 1)?,
                number: words.get("n", 1)?,
                action: action(items.trim())?,
            }
            .into()
        }
        other => return Err(format!("no command {other}")),
    })
}

fn action(text: &str) -> Parsed<LedgerAction> {
    let (verb, items) = text.split_once(' ').unwrap_or((text, ""));
    let items: Vec<&str> = items.split(';').map(str::trim).filter(|it| !it.is_empty()).collect();
    let first = Words::new(items.first().copied().unwrap_or_default());
    let word = || first.at::<String>(0);
    Ok(match verb {
        "fenced" => {
            let pair = |item: &&str| {
                let (token, path) = item.split_once(' ').ok_or("token path:id")?;
                Ok((token.parse().map_err(|_| "token?")?, root(path)?))
            };
            LedgerAction::Fenced(items.iter().map(pair).collect::<Parsed<_>>()?)
        }
        "show" => {
            let claim = |item: &&str| {
                let Root { path, id } = root(item)?;
                Ok(RootClaim { path, id: Some(id) })
            };
            LedgerAction::ShowRoots(items.iter().map(claim).collect::<Parsed<_>>()?)
        }
        "intend" => LedgerAction::Intend(items.iter().map(|it| intent(it)).collect::<Parsed<_>>()?),
        "commit" => LedgerAction::Commit(items.iter().map(|it| commit(it)).collect::<Parsed<_>>()?),
        "floor" => {
            let Span { first: from, last: to } = span(&word()?)?;
            let mut drops = Drops { lost: first.get("lost", 0)?, ..Drops::default() };
            drops.add("late", first.get("late", 0)?);
            LedgerAction::RaiseFloor(RaiseFloor {
                from,
                to,
                stored: first.get("stored", to)?,
                delivered: first.get("delivered", 0)?,
                dead_lettered: first.get("dead", 0)?,
                drops,
            })
        }
        "quarantine" => LedgerAction::Quarantine {
            bucket: bucket(&word()?)?,
            reason: "not a directory".to_owned(),
        },
        "release" => LedgerAction::Release(bucket(&word()?)?),
        "hole" => {
            let span = span(&first.at::<String>(1)?)?;
            let events = first.get("events", span.last - span.first + 1)?;
            let dead_letters = first.get("dead", false)?;
            let hole = Hole { span, events, dead_letters };
            let continues = first.get("continues", true)?;
            LedgerAction::AddHole(AddHole { bucket: bucket(&word()?)?, hole, continues })
        }
        "give-up" => {
            let span = span(&first.at::<String>(1)?)?;
            LedgerAction::GiveUp(GiveUp { bucket: bucket(&word()?)?, span })
        }
        other => return Err(format!("no action {other}")),
    })
}

/// `BUCKET FIRST-LAST [events=] [prev=] [crc=] [len=] [dead=] [continues=]`
fn intent(text: &str) -> Parsed<Intent> {
    let words = Words::new(text);
    let span = span(&words.at::<String>(1)?)?;
    let bucket = bucket(&words.at::<String>(0)?)?;
    Ok(Intent {
        name: format!("events.{}-{}.log", span.first, span.last),
        bucket,
        length: words.get("len", 100)?,
        crc: words.get("crc", 1)?,
        first: span.first,
        last: span.last,
        events: words.get("events", span.last.saturating_sub(span.first) + 1)?,
        previous_end: words.keyed.get("prev").map(|word| word.parse().unwrap()),
        continues: words.get("continues", true)?,
        dead_letters: words.get("dead", false)?,
    })
}

fn commit(text: &str) -> Parsed<CommitFile> {
    let intent = intent(text)?;
    let Intent { bucket, first, last, length, crc, .. } = intent;
    Ok(CommitFile { bucket, first, last, length, crc })
}

fn bucket(text: &str) -> Parsed<BucketKey> {
    let (name, sink) = text.split_once('@').unwrap_or((text, "1"));
    Ok(BucketKey {
        sink: sink.parse().map_err(|_| "sink?")?,
        directory: format!("/r{sink}/{name}"),
        prefix: "events".to_owned(),
        suffix: ".log".to_owned(),
    })
}

fn root(text: &str) -> Parsed<Root> {
    let (path, id) = text.trim().split_once(':').ok_or("path:id")?;
    Ok(Root { path: path.to_owned(), id: RootId([id.parse().map_err(|_| "id?")?; 16]) })
}

fn span(text: &str) -> Parsed<Span> {
    let (first, last) = text.split_once('-').ok_or("first-last")?;
    Ok(Span {
        first: first.parse().map_err(|_| "first?")?,
        last: last.parse().map_err(|_| "last?")?,
    })
}

fn opening(words: &Words<'_>) -> Parsed<Opening> {
    Ok(Opening { owner: words.get("owner", 1)?, replicas: words.list("replicas", "1")? })
}

/// `channels=main,copy:memory sinks=hdfs,local:5000 groups=out:main:hdfs+local`
fn plan(words: &Words<'_>) -> Parsed<Plan> {
    let mut plan = Plan { shards: words.get("shards", 1)?, ..Plan::default() };
    for channel in words.list::<String>("channels", "main")? {
        let durable = !channel.ends_with(":memory");
        plan.channels.insert(channel.trim_end_matches(":memory").to_owned(), durable);
    }
    for sink in words.list::<String>("sinks", "files")? {
        let (name, penalty) = sink.split_once(':').unwrap_or((&sink, "30000"));
        plan.sinks.insert(name.to_owned(), penalty.parse().map_err(|_| "penalty?")?);
    }
    for group in words.list::<String>("groups", "out:main:files")? {
        let mut parts = group.split(':').map(str::to_owned);
        let (name, channel, sinks) = (parts.next(), parts.next(), parts.next());
        let sinks = sinks.ok_or("group:channel:sink+sink")?.split('+').map(str::to_owned).collect();
        let channel = channel.ok_or("channel?")?;
        plan.groups.insert(name.ok_or("name?")?, PlannedGroup { channel, sinks });
    }
    Ok(plan)
}

/// A lineage for tests that need none in particular.
pub(crate) fn lineage(text: &str) -> Lineage {
    text.parse().unwrap()
}
