//! How fast a log is here: `cargo run --release -p sdk-wal --example throughput -- DIR`.
//!
//! Blocks of 256 KiB from four producers and a reader per lineage that raises its floor, then single records of 500
//! bytes with 256 in flight; CPU seconds are the whole process's, readers and producers included.
//! With `-- DIR SECONDS keep` no floor is raised, so that the next run shows how long opening what waits takes.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)]

use sdk_event::Lineage;
use sdk_wal::{Body, Entry, Log, LogOptions, Purpose};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const LINEAGES: u64 = 4;

fn main() {
    let dir = std::env::args().nth(1).expect("a directory for the log");
    let keep = std::env::args().nth(3).is_some_and(|text| text == "keep");
    let options = LogOptions { quota_bytes: Some(16 << 30), ..LogOptions::new(dir) };
    let (log, recovery) = Log::open(options).unwrap();
    println!("open: {:?}, {} segments", recovery.took, recovery.segments);
    let seconds = std::env::args().nth(2).map_or(5, |text| text.parse().unwrap());
    if keep {
        run(&log, "256 KiB", 256 << 10, 8, Duration::from_secs(seconds), keep);
        println!("{:?}: killed, as if", log.usage());
        std::process::abort();
    }
    for (name, length, in_flight) in [("256 KiB", 256 << 10, 8), ("500 B", 500, 64)] {
        // Once to make the segments, once with those recycled.
        for _ in 0..2 {
            run(&log, name, length, in_flight, Duration::from_secs(seconds), keep);
        }
    }
    log.stop();
}

fn run(log: &Log, name: &str, length: usize, in_flight: usize, time: Duration, keep: bool) {
    let start = Instant::now();
    let cpu = cpu_seconds();
    let written: u64 = std::thread::scope(|scope| {
        let producers: Vec<_> = (0..LINEAGES)
            .map(|flow| {
                let log = log.clone();
                scope.spawn(move || produce(&log, flow, length, in_flight, time))
            })
            .collect();
        for flow in 0..LINEAGES {
            let log = log.clone();
            scope.spawn(move || follow(&log, flow, time, keep));
        }
        producers.into_iter().map(|producer| producer.join().unwrap()).sum()
    });
    let seconds = start.elapsed().as_secs_f64();
    let bytes = written as f64 * length as f64;
    let cpu = cpu_seconds() - cpu;
    println!(
        "{name}: {:.0} records/s, {:.0} MB/s, {:.2} CPU s/GB, {:.1} CPU us a record",
        written as f64 / seconds,
        bytes / 1e6 / seconds,
        cpu / (bytes / 1e9),
        cpu * 1e6 / written as f64
    );
}

fn produce(log: &Log, flow: u64, length: usize, in_flight: usize, time: Duration) -> u64 {
    let lineage = Lineage { flow, shard: 0, epoch: 0 };
    let body = Body::from((0..length).map(|n| n as u8).collect::<Vec<u8>>());
    let (start, first) = (Instant::now(), log.end(lineage));
    let mut offset = first;
    let mut waiting = VecDeque::new();
    while start.elapsed() < time {
        let appended = log.append(Entry {
            lineage,
            kind: 1,
            purpose: Purpose::Ingest,
            first_offset: offset,
            count: 1,
            put_time_ms: 0,
            identity: None,
            body: body.clone(),
        });
        waiting.push_back(appended.unwrap());
        offset += 1;
        if waiting.len() == in_flight {
            waiting.pop_front().unwrap().wait().unwrap();
        }
    }
    for appended in waiting {
        appended.wait().unwrap();
    }
    offset - first
}

fn follow(log: &Log, flow: u64, time: Duration, keep: bool) {
    let lineage = Lineage { flow, shard: 0, epoch: 0 };
    let start = Instant::now();
    let mut reader = log.reader(lineage, log.end(lineage));
    while start.elapsed() < time {
        while reader.next().unwrap().is_some() {}
        if !keep {
            log.raise_floor(lineage, reader.cursor());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks as f64 / 100.0
}
