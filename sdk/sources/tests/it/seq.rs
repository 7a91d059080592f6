//! `seq` counts, through refusals and restarts.

use sdk_config::SeqSource;
use sdk_flow::{Source as _, SourceError};
use sdk_sources::Seq;
use tokio_util::sync::CancellationToken;

use crate::spool::{Fault, Spool};

fn spec(batch_size: u32, total_events: u64) -> SeqSource {
    SeqSource { batch_size, total_events, ..SeqSource::default() }
}

fn numbers(end: u64) -> Vec<String> {
    (0..end).map(|number| number.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn it_counts_to_the_end_in_batches() {
    let spool = Spool::new();
    let source = Box::new(Seq::new(&spec(4, 10), spool.start()));
    source.run(spool.clone(), CancellationToken::new()).await.unwrap();
    assert_eq!(spool.bodies(), numbers(10));
    let kept = spool.kept();
    assert_eq!((kept.puts, kept.largest_put), (3, 4));
    assert!(kept.lines[0].headers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn after_a_refused_put_the_same_numbers_come_again() {
    let spool = Spool::new();
    spool.fail([Fault::Exhausted, Fault::UnknownStored, Fault::UnknownLost, Fault::Exhausted]);
    let source = Box::new(Seq::new(&spec(3, 9), spool.start()));
    source.run(spool.clone(), CancellationToken::new()).await.unwrap();
    assert_eq!(spool.bodies(), numbers(9));
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_it_counts_on() {
    let spool = Spool::new();
    for _ in 0..2 {
        let source = Box::new(Seq::new(&spec(1, 0), spool.start()));
        let stop = CancellationToken::new();
        let target = spool.bodies().len() + 5;
        let stopper = async {
            spool.lines(target).await;
            stop.cancel();
        };
        let (ended, ()) = tokio::join!(source.run(spool.clone(), stop.clone()), stopper);
        ended.unwrap();
    }
    let bodies = spool.bodies();
    assert!(bodies.len() >= 10);
    assert_eq!(bodies, numbers(bodies.len() as u64));
}

#[tokio::test(start_paused = true)]
async fn a_rejection_ends_it() {
    let spool = Spool::new();
    spool.fail([Fault::Expected]);
    let source = Box::new(Seq::new(&spec(1, 3), spool.start()));
    let ended = source.run(spool.clone(), CancellationToken::new()).await;
    assert!(matches!(ended, Err(SourceError::Put(_))));
}
