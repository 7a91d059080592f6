//! A holder that was replaced and does not know it, a process of its own, against its heir.
//!
//! One half of the holders goes on while it is replaced; the other half sleeps (`SIGSTOP`), wherever it is, until its
//! heir is done. Whole nodes that sleep, with what they owe to others, are in `named_steps/pauses.rs`.

use super::contract::{CONFIGURATION, file_system_of, file_systems};
use bytes::Bytes;
use deploy_acceptance::{Hdfs, say, signal, stopped};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::time::{ClockId, clock_gettime};
use sdk_config::{ByteSize, FilesSink};
use sdk_files::fs::{FileSystem, FileSystems, FsError};
use sdk_flow::with_causes;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Races at once: more would only wait for each other here.
const AT_ONCE: u64 = 8;
/// No race takes longer.
const ENDS_WITHIN: Duration = Duration::from_secs(60);
/// What a holder says: when it has reached HDFS, of each final that it has made, and of the call that failed. The two
/// last with a time, in nanoseconds of a clock that all processes share: when the final's file was begun, when the call failed.
const BEGINS: &str = "holder: begins";
const MADE: &str = "holder: made a final ";
const ENDED: &str = "holder: ended ";
/// What a call is told for which there is no staging any more.
const GONE: &str = "not_found";
/// What a holder is told.
const ROOT: &str = "COLLECTOR_RACE_ROOT";
const NUMBER: &str = "COLLECTOR_RACE";

/// What a holder has said so far.
#[derive(Debug, Default)]
struct Said {
    begun: bool,
    /// When the file of each final was begun.
    made: Vec<u64>,
    ended: Option<End>,
}

#[derive(Debug, Clone)]
struct End {
    at: u64,
    call: String,
    kind: String,
    error: String,
}

impl Said {
    /// Takes a line, before which the name of the test may stand.
    fn hear(&mut self, line: &str) {
        let number = |word: &str| word.parse().expect("a time");
        self.begun |= line.ends_with(BEGINS);
        if let Some((_, at)) = line.split_once(MADE) {
            self.made.push(number(at));
        }
        if let Some((_, words)) = line.split_once(ENDED) {
            let mut words = words.splitn(4, ' ').map(str::to_owned);
            let [at, call, kind, error] = [(); 4].map(|()| words.next().expect("four words"));
            self.ended = Some(End { at: number(&at), call, kind, error });
        }
    }
}

/// What a race has come to.
struct Outcome {
    asleep: bool,
    /// Whether the fence ended it: HDFS may have given up on it before, or for another reason.
    fenced: bool,
    finals: usize,
    late: usize,
    end: End,
}

/// After the fence has returned, nothing the zombie does becomes a final file: it may be writing,
/// closing, renaming or about to create, and its calls may be on their way.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_fence_no_zombie_makes_a_final() {
    let Some(hdfs) = Hdfs::shared() else { return };
    let seeds = sdk_seeds::range(200, 2_000);
    let root = format!("{}/zombies", hdfs.url());
    let heir = file_system_of(hdfs, &root, &spec());
    let mut running = JoinSet::new();
    let mut table: BTreeMap<(&str, String), u64> = BTreeMap::new();
    let (mut finals, mut late, mut dead) = (0, 0, 0);
    let mut take = |outcome: Outcome| {
        finals += outcome.finals;
        late += outcome.late;
        let End { call, kind, error, .. } = outcome.end;
        if outcome.fenced {
            let what = if outcome.asleep { "slept" } else { "went on" };
            *table.entry((what, call)).or_default() += 1;
        } else {
            say(&format!("a zombie died by itself at {call} ({kind}): {error}"));
            dead += 1;
        }
    };
    for number in seeds.clone() {
        if running.len() as u64 >= AT_ONCE {
            take(running.join_next().await.expect("a race").expect("it ends"));
        }
        let configuration = hdfs.variable(CONFIGURATION).to_owned();
        let race = race(number, root.clone(), configuration, Arc::clone(&heir));
        running.spawn(async { timeout(ENDS_WITHIN, race).await.expect("a race ends") });
    }
    while let Some(outcome) = running.join_next().await {
        take(outcome.expect("it ends"));
    }
    say(&format!("races {seeds:?}, {finals} finals, {late} late, {dead} without a zombie"));
    for ((what, call), count) in &table {
        say(&format!("zombies that {what} and learned of it at {call}: {count}"));
    }
    assert_eq!(late, 0, "late finals");
    assert!(finals > 0, "no zombie was ever fast enough: the race proves nothing");
    assert!(dead * 100 <= seeds.end - seeds.start, "{dead} zombies died by themselves");
}

async fn race(
    number: u64,
    root: String,
    configuration: String,
    heir: Arc<dyn FileSystem>,
) -> Outcome {
    let (staging, finals) = directories(&root, number);
    heir.mkdirs(&staging).await.expect("make staging");
    heir.mkdirs(&finals).await.expect("make the finals' directory");
    let mut holder = Command::new(std::env::current_exe().expect("the path of this test"))
        .args(["--exact", "hdfs::zombies::holder", "--ignored", "--nocapture"])
        .envs([(ROOT, &root), (NUMBER, &number.to_string()), (CONFIGURATION, &configuration)])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("start a holder");
    let pid = holder.id().expect("it runs");
    let mut lines = BufReader::new(holder.stdout.take().expect("its output")).lines();
    let (hear, mut said) = watch::channel(Said::default());
    let heard = tokio::spawn(async move {
        while let Some(line) = lines.next_line().await.expect("read what it says") {
            hear.send_modify(|said| said.hear(&line));
        }
    });
    // In the middle of its first file, its second, its third, wherever that is by then.
    let made = (number % 3) as usize;
    drop(said.wait_for(|said| said.begun && said.made.len() >= made).await);
    sleep(Duration::from_millis((number * 37) % 120)).await;
    let asleep = number / 3 % 2 == 1;
    if asleep {
        signal(pid, "STOP");
        while !stopped(pid) && !heard.is_finished() {
            sleep(Duration::from_millis(1)).await;
        }
    }
    let fence_begins = now();
    heir.fence(&staging).await.expect("fence");
    let fenced = now();
    let at_fence = names(&*heir, &finals).await;
    if asleep {
        signal(pid, "CONT");
    }
    heard.await.expect("hear all that it says");
    let status = holder.wait().await.expect("wait for the holder");
    let at_end = names(&*heir, &finals).await;
    assert_eq!(heir.status(&staging).await.expect("look at staging"), None, "{staging}");
    let said = said.borrow();
    let end = said.ended.clone();
    let end = end.unwrap_or_else(|| panic!("a holder ended with {status} and does not say why"));
    // Not there yet when the fence had returned, or there since, from a file that was begun since.
    let begun_late = said.made.iter().filter(|begun| **begun > fenced).count();
    let late = at_end.difference(&at_fence).count() + begun_late;
    let fenced = end.at >= fence_begins && end.kind == GONE;
    Outcome { asleep, fenced, finals: at_end.len(), late, end }
}

/// A holder: it makes one final after the other, until HDFS lets it no more.
#[tokio::test]
#[ignore = "races start it, each in a process of its own"]
async fn holder() {
    let told = |name| std::env::var(name).unwrap_or_else(|_| panic!("no {name}: no race"));
    // A sleeping one would stay for ever, if the race died.
    set_parent_process_death_signal(Some(Signal::KILL)).expect("a process may ask for that");
    let number = told(NUMBER).parse().expect("the number of a race");
    let root = told(ROOT);
    let (staging, finals) = directories(&root, number);
    let fs = file_systems(&told(CONFIGURATION)).for_sink(&root, &spec()).expect("a file system");
    let bytes = match number % 3 {
        0 => 0,
        1 => 1_000,
        _ => 200_000,
    };
    fs.status(&staging).await.expect("reach HDFS");
    println!("{BEGINS}");
    for file in 0.. {
        let begun = now();
        let (source, target) = (format!("{staging}/{file}"), format!("{finals}/{file}"));
        if let Err((call, error)) = one_file(&*fs, &source, &target, bytes).await {
            let kind = error.kind().as_str();
            println!("{ENDED}{} {call} {kind} {}", now(), with_causes(&error));
            return;
        }
        println!("{MADE}{begun}");
    }
}

/// Nanoseconds since this machine was started.
fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn directories(root: &str, number: u64) -> (String, String) {
    (format!("{root}/staging/{number}"), format!("{root}/finals/{number}"))
}

/// A NameNode sets room aside for a whole block of each file that was deleted while it was written, for
/// minutes: with large ones it finds no DataNode any more.
fn spec() -> FilesSink {
    FilesSink { block_size: Some(ByteSize::mib(1)), ..FilesSink::default() }
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
