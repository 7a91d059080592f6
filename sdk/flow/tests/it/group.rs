//! Sink groups: who delivers, what is committed, and when.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sdk_event::Lineage;
use sdk_flow::{
    Batch, BoxError, ChannelReader, Cursor, CursorError, DeadLetters, Ended, GroupError,
    GroupOptions, GroupRunner, LocalPenalties, Member, Order, Policy, Positions, ReadError,
    SeededEntropy, Sink, SinkError, Stored, SystemClock, Tasks,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::block;

/// What happened, in order.
type Story = Arc<Mutex<Vec<String>>>;

/// A channel of letters, one event and one batch each.
struct Letters {
    letters: Vec<char>,
    at: u64,
    sealed: bool,
    lost: Option<(u64, u64)>,
}

#[async_trait]
impl ChannelReader for Letters {
    async fn next(&mut self, _: usize) -> Result<Option<Batch>, ReadError> {
        if let Some((from, to)) = self.lost
            && self.at == from
        {
            return Err(ReadError::Lost { from, to });
        }
        let Some(letter) = self.letters.get(self.at as usize) else {
            if self.sealed {
                return Ok(None);
            }
            return std::future::pending().await;
        };
        let from = self.at;
        self.at += 1;
        let parts = match letter {
            '.' => Default::default(),
            letter => [(Positions::All, block(&letter.to_string()))].into_iter().collect(),
        };
        let stored = vec![Stored {
            first_offset: from,
            count: 1,
            put_time_ms: 0,
            parts,
            dropped: Vec::new(),
        }];
        let lineage = Lineage { flow: 1, shard: 0, epoch: 1 };
        Ok(Some(Batch { lineage, from, to: from + 1, stored }))
    }

    fn cursor(&self) -> u64 {
        self.at
    }

    fn seek(&mut self, offset: u64) {
        self.at = offset;
    }
}

/// The same with all of it in one batch.
struct Whole(Letters);

#[async_trait]
impl ChannelReader for Whole {
    async fn next(&mut self, bytes_max: usize) -> Result<Option<Batch>, ReadError> {
        let Some(mut whole) = self.0.next(bytes_max).await? else { return Ok(None) };
        while let Some(batch) = self.0.next(bytes_max).await? {
            whole.to = batch.to;
            whole.stored.extend(batch.stored);
        }
        Ok(Some(whole))
    }

    fn cursor(&self) -> u64 {
        self.0.cursor()
    }

    fn seek(&mut self, offset: u64) {
        self.0.seek(offset);
    }
}

/// A cursor that checks that commits have no gaps, and fails when told to.
#[derive(Default)]
struct Floor {
    floor: Mutex<u64>,
    failures: Mutex<VecDeque<CursorError>>,
}

#[async_trait]
impl Cursor for Floor {
    async fn floor(&self) -> Result<u64, CursorError> {
        Ok(*self.floor.lock().unwrap())
    }

    async fn commit(&self, from: u64, to: u64) -> Result<(), CursorError> {
        if let Some(error) = self.failures.lock().unwrap().pop_front() {
            return Err(error);
        }
        let mut floor = self.floor.lock().unwrap();
        if from != *floor {
            return Err(CursorError::Elsewhere { floor: *floor });
        }
        *floor = to;
        Ok(())
    }
}

/// A sink that follows a script: `.` delivers, `u` is unavailable, `p` asks for
/// a pause, `r` rejects, `f` is fenced; at its end it delivers.
struct Scripted {
    name: &'static str,
    script: VecDeque<char>,
    story: Story,
}

#[async_trait]
impl Sink for Scripted {
    async fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let step = self.script.pop_front().unwrap_or('.');
        let body: String = batch
            .events()
            .map(|(_, event)| String::from_utf8_lossy(event.body()).into_owned())
            .collect();
        let mark = if step == '.' { String::new() } else { step.to_string() };
        self.story.lock().unwrap().push(format!("{}:{body}{mark}", self.name));
        match step {
            '.' => Ok(()),
            'u' => Err(SinkError::Unavailable("down".into())),
            'p' => Err(SinkError::Paused {
                retry_after: Duration::from_secs(1),
                error: "safe mode".into(),
            }),
            'r' => Err(SinkError::Rejected("no".into())),
            'f' => Err(SinkError::Fenced),
            step => panic!("no such step: {step}"),
        }
    }

    async fn close(&mut self) -> Result<(), SinkError> {
        self.story.lock().unwrap().push(format!("{} closed", self.name));
        Ok(())
    }
}

struct Graves(Story);

#[async_trait]
impl DeadLetters for Graves {
    async fn bury(&self, sink: &str, batch: &Batch, reason: &BoxError) -> Result<(), BoxError> {
        self.0.lock().unwrap().push(format!("buried {} of {sink}: {reason}", batch.from));
        Ok(())
    }
}

/// A group over a channel of letters.
struct Group {
    story: Story,
    cursor: Arc<Floor>,
    options: GroupOptions,
}

impl Group {
    /// `sinks` are `name priority script`, separated by commas.
    fn new(policy: Policy, letters: &str, sinks: &str) -> Group {
        let story = Story::default();
        let cursor = Arc::new(Floor::default());
        let members = sinks.split(',').map(|sink| {
            let words: Vec<&'static str> = sink.to_owned().leak().split_whitespace().collect();
            let script = words.get(2).copied().unwrap_or_default().chars().collect();
            let sink = Scripted { name: words[0], script, story: story.clone() };
            Member {
                name: words[0].into(),
                priority: words[1].parse().unwrap(),
                sink: Box::new(sink),
            }
        });
        let entropy = Arc::new(SeededEntropy::new(3));
        let clock = Arc::new(SystemClock::new());
        let max = Duration::from_secs(30);
        let letters = letters.chars().collect();
        let options = GroupOptions {
            name: "group".into(),
            reader: Box::new(Letters { letters, at: 0, sealed: true, lost: None }),
            cursor: cursor.clone(),
            members: members.collect(),
            policy,
            penalties: Arc::new(LocalPenalties::new(clock, entropy.clone(), max)),
            dead_letters: None,
            entropy,
            batch_bytes_max: GroupRunner::BATCH_BYTES_MAX,
            stats: Arc::default(),
        };
        Group { story, cursor, options }
    }

    async fn run(self) -> (Result<Ended, GroupError>, String, u64) {
        let ended = GroupRunner::new(self.options).run(CancellationToken::new()).await;
        let story = self.story.lock().unwrap().join(" ");
        let floor = *self.cursor.floor.lock().unwrap();
        (ended, story, floor)
    }
}

async fn deliver(policy: Policy, letters: &str, sinks: &str) -> String {
    let end = letters.len() as u64;
    let (ended, story, floor) = Group::new(policy, letters, sinks).run().await;
    assert_eq!(ended.unwrap(), Ended::Drained);
    assert_eq!(floor, end);
    story
}

const BALANCE: Policy = Policy::LoadBalance { order: Order::RoundRobin, backoff: true };
const BALANCE_PLAIN: Policy = Policy::LoadBalance { order: Order::RoundRobin, backoff: false };

#[tokio::test(start_paused = true)]
async fn batches_are_delivered_in_order_and_committed() {
    assert_eq!(deliver(Policy::Default, "abc", "s 0").await, "s:a s:b s:c s closed");
}

#[tokio::test(start_paused = true)]
async fn offsets_without_events_are_passed_without_asking_a_sink() {
    assert_eq!(deliver(Policy::Default, ".a..", "s 0").await, "s:a s closed");
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_sink_gets_the_same_batch_again() {
    let start = Instant::now();
    assert_eq!(deliver(Policy::Default, "ab", "s 0 uu").await, "s:au s:au s:a s:b s closed");
    let took = start.elapsed().as_secs_f64();
    assert!((4.8..=6.0).contains(&took), "2 s and 4 s, less jitter: {took}");
}

#[tokio::test(start_paused = true)]
async fn failover_prefers_the_highest_priority_and_fails_over_at_once() {
    let start = Instant::now();
    let story = deliver(Policy::Failover, "abc", "low 1,high 9 .u").await;
    assert_eq!(story, "high:a high:bu low:b low:c low closed high closed");
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn each_sink_counts_what_it_took() {
    let group = Group::new(Policy::Failover, "abc", "low 1,high 9 .u");
    let stats = Arc::clone(&group.options.stats);
    assert_eq!(group.run().await.0.unwrap(), Ended::Drained);
    let took = |sink: &str| stats.sink(sink).delivered_events;
    assert_eq!((took("high"), took("low"), stats.counts().delivered_events), (1, 2, 3));
}

#[tokio::test(start_paused = true)]
async fn failover_returns_to_the_preferred_sink_by_one_probe() {
    // `low` pauses so that time passes while `high` is out.
    let story = deliver(Policy::Failover, "abcd", "low 1 .ppp,high 9 u").await;
    assert_eq!(
        story,
        "high:au low:a low:bp low:bp low:bp low:b high:c high:d low closed high closed"
    );
}

#[tokio::test(start_paused = true)]
async fn when_all_are_out_the_group_waits_for_the_first_to_be_back() {
    let start = Instant::now();
    let story = deliver(Policy::Failover, "a", "one 2 u,two 1 u").await;
    assert!(story.starts_with("one:au two:au "), "{story}");
    assert!(start.elapsed() <= Duration::from_secs(2));
    assert!(start.elapsed() >= Duration::from_millis(1600));
}

#[tokio::test(start_paused = true)]
async fn a_long_outage_is_retried_with_bounded_pauses() {
    let start = Instant::now();
    let script = "u".repeat(100);
    deliver(Policy::Failover, "a", &format!("s 1 {script}")).await;
    let hours = start.elapsed().as_secs_f64() / 3600.0;
    assert!((0.6..=0.85).contains(&hours), "100 failures took {hours} h");
}

#[tokio::test(start_paused = true)]
async fn round_robin_takes_turns() {
    let story = deliver(BALANCE, "abcd", "x 0,y 0,z 0").await;
    assert_eq!(story, "x:a y:b z:c x:d x closed y closed z closed");
}

#[tokio::test(start_paused = true)]
async fn with_backoff_a_failed_sink_is_left_out() {
    let story = deliver(BALANCE, "abcd", "x 0,y 0 u,z 0").await;
    assert_eq!(story, "x:a y:bu z:b z:c x:d x closed y closed z closed");
}

#[tokio::test(start_paused = true)]
async fn without_backoff_each_is_asked_once_per_batch() {
    let story = deliver(BALANCE_PLAIN, "abc", "x 0,y 0 uuu").await;
    assert_eq!(story, "x:a y:bu x:b x:c x closed y closed");
    let start = Instant::now();
    let story = deliver(BALANCE_PLAIN, "a", "x 0 u,y 0 u").await;
    assert_eq!(story, "x:au y:au y:a x closed y closed");
    assert!(
        start.elapsed() >= Duration::from_millis(1600),
        "a round that failed is followed by a pause"
    );
}

#[tokio::test(start_paused = true)]
async fn random_uses_every_sink() {
    let random = Policy::LoadBalance { order: Order::Random, backoff: true };
    let story = deliver(random, &"a".repeat(60), "x 0,y 0,z 0").await;
    for name in ["x:a", "y:a", "z:a"] {
        let count = story.matches(name).count();
        assert!((10..=30).contains(&count), "{name} {count} times");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_no_penalty_and_no_failover() {
    let start = Instant::now();
    let story = deliver(Policy::Failover, "ab", "high 9 p,low 1").await;
    assert_eq!(story, "high:ap high:a high:b high closed low closed");
    assert_eq!(start.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_batch_stops_the_group_without_a_place_for_it() {
    let (ended, story, floor) = Group::new(Policy::Default, "ab", "s 0 .r").run().await;
    assert!(matches!(ended, Err(GroupError::Rejected { from: 1, to: 2, .. })));
    assert_eq!((story.as_str(), floor), ("s:a s:br s closed", 1));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_batch_is_buried_where_there_is_a_place() {
    let mut group = Group::new(Policy::Default, "abc", "s 0 .r");
    group.options.dead_letters = Some(Arc::new(Graves(group.story.clone())));
    let (ended, story, floor) = group.run().await;
    assert_eq!(ended.unwrap(), Ended::Drained);
    assert_eq!((story.as_str(), floor), ("s:a s:br buried 1 of s: no s:c s closed", 3));
}

#[tokio::test(start_paused = true)]
async fn of_a_rejected_batch_only_the_put_at_fault_is_buried() {
    // The whole, a, b, an outage at c, then c is at fault, then d.
    let mut group = Group::new(Policy::Default, "", "s 0 r..ur");
    let letters = Letters { letters: "ab.cd".chars().collect(), at: 0, sealed: true, lost: None };
    group.options.reader = Box::new(Whole(letters));
    group.options.dead_letters = Some(Arc::new(Graves(group.story.clone())));
    let stats = Arc::clone(&group.options.stats);
    let (ended, story, floor) = group.run().await;
    assert_eq!(ended.unwrap(), Ended::Drained);
    assert_eq!(story, "s:abcdr s:a s:b s:cu s:cr buried 3 of s: no s:d s closed");
    let counts = stats.counts();
    assert_eq!((counts.delivered_events, counts.dead_lettered_events, floor), (3, 1, 5));
    assert_eq!(stats.failure(), None);
}

#[tokio::test(start_paused = true)]
async fn a_fenced_sink_or_cursor_ends_the_runner_without_a_commit() {
    let (ended, _, floor) = Group::new(Policy::Default, "ab", "s 0 .f").run().await;
    assert_eq!((ended.unwrap(), floor), (Ended::Fenced, 1));
    let group = Group::new(Policy::Default, "ab", "s 0");
    group.cursor.failures.lock().unwrap().push_back(CursorError::Fenced);
    let (ended, story, floor) = group.run().await;
    assert_eq!((ended.unwrap(), floor), (Ended::Fenced, 0));
    assert_eq!(story, "s:a s closed");
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_repeated_and_the_delivery_is_not() {
    let group = Group::new(Policy::Default, "ab", "s 0");
    let down = || CursorError::Unavailable("down".into());
    group.cursor.failures.lock().unwrap().extend([down(), down()]);
    let (ended, story, floor) = group.run().await;
    assert_eq!((ended.unwrap(), story.as_str(), floor), (Ended::Drained, "s:a s:b s closed", 2));
}

#[tokio::test(start_paused = true)]
async fn a_cursor_that_somebody_else_moved_ends_the_runner() {
    let group = Group::new(Policy::Default, "ab", "s 0");
    *group.cursor.floor.lock().unwrap() = 5;
    let (ended, _, floor) = group.run().await;
    assert!(matches!(ended, Err(GroupError::Cursor(CursorError::Elsewhere { floor: 5 }))));
    assert_eq!(floor, 5);
}

#[tokio::test(start_paused = true)]
async fn a_lost_range_is_passed() {
    let mut group = Group::new(Policy::Default, "abcd", "s 0");
    let letters = "abcd".chars().collect();
    group.options.reader = Box::new(Letters { letters, at: 0, sealed: true, lost: Some((1, 3)) });
    let runner = GroupRunner::new(group.options);
    let stats = runner.stats();
    assert_eq!(runner.run(CancellationToken::new()).await.unwrap(), Ended::Drained);
    assert_eq!(group.story.lock().unwrap().join(" "), "s:a s:d s closed");
    assert_eq!(*group.cursor.floor.lock().unwrap(), 4);
    assert_eq!((stats.counts().delivered_events, stats.counts().lost_offsets), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_wait_and_commits_nothing() {
    let group = Group::new(Policy::Default, "ab", "s 0 .uuuuuuuuuuuu");
    let stop = CancellationToken::new();
    let runner = GroupRunner::new(group.options).run(stop.clone());
    let stopper = async {
        tokio::time::sleep(Duration::from_secs(40)).await;
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(runner, stopper);
    assert_eq!(ended.unwrap(), Ended::Stopped);
    assert_eq!(*group.cursor.floor.lock().unwrap(), 1);
    assert!(group.story.lock().unwrap().last().unwrap().ends_with("closed"));
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_wait_for_events() {
    let mut group = Group::new(Policy::Default, "a", "s 0");
    let letters = vec!['a'];
    group.options.reader = Box::new(Letters { letters, at: 0, sealed: false, lost: None });
    let stop = CancellationToken::new();
    let runner = GroupRunner::new(group.options).run(stop.clone());
    let stopper = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(runner, stopper);
    assert_eq!(ended.unwrap(), Ended::Stopped);
    assert_eq!(*group.cursor.floor.lock().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_runner_runs_as_a_task() {
    let group = Group::new(Policy::Default, "abc", "s 0");
    let tasks = Tasks::new();
    let runner = GroupRunner::new(group.options);
    let (tell, told) = tokio::sync::oneshot::channel();
    tasks.start("group", |stop| async move {
        let ended = runner.run(stop).await?;
        let _ = tell.send(ended);
        Ok::<(), GroupError>(())
    });
    assert_eq!(told.await, Ok(Ended::Drained));
}
