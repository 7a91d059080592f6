//! A file system that is away for an hour while events keep coming.

use std::time::Duration;

use sdk_event::Event;
use sdk_files::fs::{FsErrorKind, MemoryDisk};
use sdk_flow::Clock;

use crate::rig::{Rig, by_directory, run, spec};

const SECOND: Duration = Duration::from_secs(1);

/// Seconds of work before the outage, and of the outage.
const BEFORE: u64 = 60;
const AWAY: u64 = 3_600;

/// Bytes of an event, of a second's events, and for all files in memory.
const EVENT_BYTES: usize = 1_000;
const EVENTS: u64 = 20;
const BUFFER_BYTES: usize = 256 << 10;

#[test]
fn an_hour_without_a_file_system_takes_little_memory_and_drains_at_twice_the_rate() {
    run(async {
        let mut rig = Rig::new();
        rig.limits.buffer_bytes = BUFFER_BYTES;
        let disk = MemoryDisk::new();
        let spec = spec("/data/web/%H%M");
        let (drain, handle) = rig.drain(&spec, &disk);
        let second = async |number: u64| {
            let now = rig.clock.wall_ms();
            let event = |n: u64| {
                let body = format!("{:0width$}", number * EVENTS + n, width = EVENT_BYTES);
                Event::new(body).with_timestamp_ms(now)
            };
            rig.log.put(now, &(0..EVENTS).map(event).collect::<Vec<_>>());
            tokio::time::sleep(SECOND).await;
        };
        let mut seconds = 0..;
        let test = async {
            for number in seconds.by_ref().take(BEFORE as usize) {
                second(number).await;
            }
            assert!(handle.status().floor > 0, "{:#?}", handle.status());
            disk.refuse("/data", FsErrorKind::Unavailable);
            let mut most = 0;
            for number in seconds.by_ref().take(AWAY as usize) {
                second(number).await;
                most = most.max(handle.status().buffer_bytes);
            }
            assert!(most <= 2 * BUFFER_BYTES, "{most} bytes in memory");
            let status = handle.status();
            assert!(status.floor < 2 * BEFORE * EVENTS, "it got on without a disk: {status:#?}");
            let degraded = status.degraded.expect("it says so");
            assert!(degraded.contains("does not work"), "{degraded}");
            disk.accept("/data");
            let backlog = (BEFORE + AWAY) * EVENTS;
            for number in seconds.by_ref().take(AWAY as usize / 2) {
                second(number).await;
                if handle.status().floor >= backlog {
                    return;
                }
            }
            panic!("not final in half of the outage: {:#?}", handle.status());
        };
        tokio::select! {
            ended = drain.run(tokio_util::sync::CancellationToken::new()) => panic!("{ended:?}"),
            () = test => (),
        }
        rig.drain_all(&spec, &disk).await;
        let text: String = by_directory(&disk).into_values().collect();
        let found: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
        let sent: Vec<u64> = (0..seconds.start * EVENTS).collect();
        assert!(found == sent, "{} of {} events, or not in their order", found.len(), sent.len());
    });
}
