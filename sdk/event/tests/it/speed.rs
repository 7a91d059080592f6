//! What a block costs per event. Not a check: `cargo test --release -p sdk-event -- --ignored
//! --nocapture speed`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use sdk_event::{Block, Codec};

use crate::blocks::builder;

/// The best of many runs, per event.
#[expect(clippy::disallowed_methods, reason = "measures this machine, nothing is simulated")]
fn nanoseconds(events: u32, mut run: impl FnMut()) -> f64 {
    let best = (0..300).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed()
    });
    best.min().unwrap_or(Duration::ZERO).as_secs_f64() * 1e9 / f64::from(events)
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    const EVENTS: u32 = 470;
    let lines: Vec<String> = (0..EVENTS)
        .map(|n| format!("10.0.{}.{} GET /item/{n} {}", n % 7, n % 250, "lorem".repeat(94)))
        .collect();
    for own in [0, 3] {
        let mut builder = builder();
        builder.shared_header("host", "web-1").unwrap();
        let headers = [("app", "shop"), ("path", "/item/12345"), ("status", "200")];
        for codec in Codec::ALL {
            let mut build = || {
                for (line, n) in lines.iter().zip(1_700_000_000_000..) {
                    let own = headers[..own].iter().copied();
                    builder.push(Some(n), own, line.as_bytes()).unwrap();
                }
                builder.finish(codec)
            };
            let block = build();
            let built = nanoseconds(EVENTS, || drop(black_box(build())));
            let decoded = nanoseconds(EVENTS, || {
                drop(black_box(Block::decode(block.bytes().clone())));
            });
            let crc = nanoseconds(EVENTS, || {
                black_box(block.header().check_crc(block.bytes())).unwrap();
            });
            let walked = nanoseconds(EVENTS, || {
                black_box(block.events().map(|event| event.body().len()).sum::<usize>());
            });
            let status = block.key("status").or(block.key("host")).unwrap();
            let looked_up = nanoseconds(EVENTS, || {
                let found = block.events().filter_map(|event| event.header_at(status));
                black_box(found.map(str::len).sum::<usize>());
            });
            let half: Vec<u32> = (0..EVENTS).step_by(2).collect();
            let thinned = nanoseconds(EVENTS, || drop(black_box(block.thin(&half))));
            let stored = block.bytes().len() as f64 / f64::from(EVENTS);
            println!(
                "{own} own headers, {codec:4}: build {built:5.1} ns/event, decode {decoded:5.1} \
                 (crc {crc:4.1}), walk {walked:4.1}, walk and look up {looked_up:4.1}, \
                 thin by half {thinned:5.1}; {stored:.0} bytes/event"
            );
        }
    }
}
