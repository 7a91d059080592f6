//! A holder that was replaced and does not know it, against its heir.

use super::contract::file_system_of;
use bytes::Bytes;
use deploy_acceptance::{Hdfs, say};
use sdk_config::{ByteSize, FilesSink};
use sdk_files::fs::{FileSystem, FsError};
use sdk_flow::with_causes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Races at once: more would only wait for each other here.
const AT_ONCE: u64 = 8;

/// What a race has come to.
struct Outcome {
    /// Whether it lived when it was fenced: HDFS may have given up on it before.
    at_work: bool,
    finals: usize,
    late: usize,
    /// Which call told the zombie.
    ended_at: &'static str,
    error: FsError,
}

/// After the fence has returned, nothing the zombie does becomes a final file: it may be writing,
/// closing, renaming or about to create, and its calls may be on their way.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_fence_no_zombie_makes_a_final() {
    let Some(hdfs) = Hdfs::shared() else { return };
    let seeds = sdk_seeds::range(200, 2_000);
    let root = format!("{}/zombies", hdfs.url());
    // A NameNode sets room aside for a whole block of each file that was deleted while it was written,
    // for minutes: with large ones it finds no DataNode any more.
    let spec = FilesSink { block_size: Some(ByteSize::mib(1)), ..FilesSink::default() };
    let own = || file_system_of(hdfs, &root, &spec);
    // Two processes: each with its own connection.
    let (zombie, heir) = (own(), own());
    let mut running = JoinSet::new();
    let mut table: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let (mut finals, mut late, mut dead) = (0, 0, 0);
    let mut take = |outcome: Outcome| {
        finals += outcome.finals;
        late += outcome.late;
        let (call, error) = (outcome.ended_at, outcome.error);
        if outcome.at_work {
            *table.entry((call, error.kind().as_str())).or_default() += 1;
        } else {
            say(&format!("a zombie died by itself at {call}: {}", with_causes(&error)));
            dead += 1;
        }
    };
    for number in seeds.clone() {
        if running.len() as u64 >= AT_ONCE {
            take(running.join_next().await.expect("a race").expect("it ends"));
        }
        running.spawn(race(number, root.clone(), Arc::clone(&zombie), Arc::clone(&heir)));
    }
    while let Some(outcome) = running.join_next().await {
        take(outcome.expect("it ends"));
    }
    say(&format!("races {seeds:?}, {finals} finals, {late} late, {dead} without a zombie"));
    for ((call, kind), count) in &table {
        say(&format!("zombies that learned of it at {call} ({kind}): {count}"));
    }
    assert_eq!(late, 0, "late finals");
    assert!(finals > 0, "no zombie was ever fast enough: the race proves nothing");
    assert!(dead * 100 <= seeds.end - seeds.start, "{dead} zombies died by themselves");
}

async fn race(
    number: u64,
    root: String,
    zombie: Arc<dyn FileSystem>,
    heir: Arc<dyn FileSystem>,
) -> Outcome {
    let staging = format!("{root}/staging/{number}");
    let finals = format!("{root}/finals/{number}");
    zombie.mkdirs(&staging).await.expect("make staging");
    zombie.mkdirs(&finals).await.expect("make the finals' directory");
    let fenced = Arc::new(AtomicBool::new(false));
    let knows = Arc::clone(&fenced);
    let (own_staging, own_finals) = (staging.clone(), finals.clone());
    let (made, mut seen) = watch::channel(0);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let bytes = match number % 3 {
            0 => 0,
            1 => 1_000,
            _ => 200_000,
        };
        let mut sure = 0_u64;
        for file in 0.. {
            // It began after the fence had returned: it must not get through.
            let late = knows.load(Ordering::SeqCst);
            let source = format!("{own_staging}/{file}");
            let target = format!("{own_finals}/{file}");
            if let Err((call, error)) = one_file(&*zombie, &source, &target, bytes).await {
                return (sure, call, error);
            }
            assert!(!late, "a final under a token that was fenced: {target}");
            sure += 1;
            made.send_replace(sure);
        }
        unreachable!("files are counted without end")
    });
    // In the middle of its first file, its second, its third, wherever that is by then.
    drop(seen.wait_for(|made| *made >= number % 3).await);
    tokio::time::sleep(Duration::from_millis((number * 37) % 120)).await;
    let at_work = seen.has_changed().is_ok();
    heir.fence(&staging).await.expect("fence");
    fenced.store(true, Ordering::SeqCst);
    let at_fence = names(&*heir, &finals).await;
    let (_, ended_at, error) = tasks.join_next().await.expect("a zombie").expect("it ends");
    let at_end = names(&*heir, &finals).await;
    assert_eq!(heir.status(&staging).await.expect("look at staging"), None, "{staging}");
    let late = at_end.difference(&at_fence).count();
    Outcome { at_work, finals: at_end.len(), late, ended_at, error }
}

async fn one_file(
    fs: &dyn FileSystem,
    source: &str,
    target: &str,
    bytes: usize,
) -> Result<(), (&'static str, FsError)> {
    let mut writer = fs.create(source).await.map_err(|error| ("create", error))?;
    let body = Bytes::from(vec![b'z'; bytes]);
    writer.write(body).await.map_err(|error| ("write", error))?;
    writer.close().await.map_err(|error| ("close", error))?;
    fs.rename(source, target).await.map_err(|error| ("rename", error))
}

async fn names(fs: &dyn FileSystem, directory: &str) -> BTreeSet<String> {
    let entries = fs.list(directory).await.expect("list the finals");
    entries.into_iter().map(|entry| entry.name).collect()
}
