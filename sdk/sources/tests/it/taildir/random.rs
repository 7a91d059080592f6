//! A writer and a rotation at random, a source that is killed at random puts:
//! every line exactly once, in order per file.

use std::collections::BTreeMap;
use std::time::Duration;

use sdk_config::{ByteSize, DurationText};
use sdk_flow::{Entropy as _, SeededEntropy};

use super::Tailing;
use crate::spool::Fault;

#[test]
fn every_line_exactly_once_in_order_per_file() {
    sdk_seeds::each(60, 5_000, |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(Story::new(seed).run());
    });
}

/// One life of a file: what is written until it is rotated away.
struct Life {
    lines: u64,
    /// Its last line is not ended yet.
    open_line: bool,
}

struct Story {
    seed: u64,
    entropy: SeededEntropy,
    tailing: Tailing,
    /// By number; the last one is `app.log`.
    lives: Vec<Life>,
    /// Lives that still have a name, newest first: `app.log.1`, …
    rotated: Vec<usize>,
}

impl Story {
    fn new(seed: u64) -> Story {
        let entropy = SeededEntropy::new(seed);
        let mut tailing = Tailing::over("app.log*");
        tailing.spec.batch_size = 1 + entropy.below(30) as u32;
        tailing.spec.max_batch_count = 1 + entropy.below(4);
        tailing.spec.file_header = entropy.below(2) == 0;
        tailing.spec.byte_offset_header = entropy.below(2) == 0;
        tailing.spec.poll_interval = DurationText::from_millis(1 + entropy.below(200));
        tailing.spec.max_line_length = ByteSize(64);
        tailing.open_files_max = 1 + entropy.below(6) as usize;
        if entropy.below(3) == 0 {
            tailing.spec.idle_timeout = DurationText::from_secs(3600);
        }
        let lives = vec![Life { lines: 0, open_line: false }];
        Story { seed, entropy, tailing, lives, rotated: Vec::new() }
    }

    fn pick(&self, end: u64) -> u64 {
        self.entropy.below(end)
    }

    async fn run(mut self) {
        self.tailing.start();
        for _ in 0..60 {
            match self.pick(10) {
                0..5 => self.write(),
                5 => self.rotate(),
                6 => self.copytruncate().await,
                7 => self.delete_oldest().await,
                8 => self.kill().await,
                _ => tokio::time::sleep(Duration::from_millis(self.pick(500))).await,
            }
            if self.pick(3) == 0 {
                tokio::time::sleep(Duration::from_millis(self.pick(20))).await;
            }
        }
        self.end_line();
        self.caught_up().await;
        self.tailing.look_around().await;
        self.check();
        self.tailing.kill().await;
    }

    fn write(&mut self) {
        let current = self.lives.len() - 1;
        let count = 1 + self.pick(40);
        self.end_line();
        let mut text = String::new();
        for _ in 0..count {
            let life = &mut self.lives[current];
            text += &format!("{current} {}\n", life.lines);
            life.lines += 1;
        }
        if self.pick(3) == 0 {
            let life = &mut self.lives[current];
            text += &format!("{current} ");
            life.open_line = true;
        }
        self.tailing.append("app.log", &text);
    }

    fn end_line(&mut self) {
        if let Some(life) = self.lives.last_mut()
            && life.open_line
        {
            self.tailing.append("app.log", format!("{}\n", life.lines));
            life.lines += 1;
            life.open_line = false;
        }
    }

    fn rotate(&mut self) {
        self.end_line();
        if !self.tailing.path("app.log").exists() {
            return;
        }
        for number in (1..=self.rotated.len()).rev() {
            let (from, to) = (format!("app.log.{number}"), format!("app.log.{}", number + 1));
            self.tailing.rename(&from, &to);
        }
        self.tailing.rename("app.log", "app.log.1");
        self.rotated.insert(0, self.lives.len() - 1);
        self.lives.push(Life { lines: 0, open_line: false });
        if self.pick(2) == 0 {
            self.tailing.append("app.log", "");
        }
    }

    async fn copytruncate(&mut self) {
        self.end_line();
        if !self.tailing.path("app.log").exists() {
            return;
        }
        self.caught_up().await;
        self.tailing.truncate("app.log");
    }

    async fn delete_oldest(&mut self) {
        if self.rotated.is_empty() {
            return;
        }
        self.end_line();
        self.caught_up().await;
        self.tailing.remove(&format!("app.log.{}", self.rotated.len()));
        self.rotated.pop();
    }

    async fn kill(&mut self) {
        let puts = self.pick(4);
        let fault = match self.pick(4) {
            0 => Fault::UnknownStored,
            1 => Fault::UnknownLost,
            _ => Fault::Exhausted,
        };
        {
            let mut kept = self.tailing.spool.kept();
            kept.faults.clear();
            kept.faults.push_back((self.entropy.below(2) == 0).then_some(fault));
            kept.faults.extend((0..puts).map(|_| None));
            let stored = self.entropy.below(2) == 0;
            kept.faults.push_back(Some(Fault::Death { stored }));
        }
        self.write();
        let wait = Duration::from_millis(self.pick(300));
        let _ =
            tokio::time::timeout(wait, self.tailing.spool.until("death", |kept| kept.dead)).await;
        self.tailing.kill().await;
        self.tailing.spool.kept().faults.clear();
        if self.pick(2) == 0 {
            self.write();
        }
        if self.pick(3) == 0 {
            self.rotate();
        }
        self.tailing.start();
    }

    async fn caught_up(&self) {
        let count = self.lives.iter().map(|life| life.lines as usize).sum();
        // A put that is dead stays dead until the next start.
        if self.tailing.spool.is_dead() {
            self.tailing.kill().await;
            self.tailing.spool.kept().faults.clear();
            self.tailing.start();
        }
        self.tailing.spool.lines(count).await;
    }

    fn check(&self) {
        let mut seen: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        for body in self.tailing.spool.bodies() {
            let (life, line) = body.split_once(' ').unwrap();
            seen.entry(life.parse().unwrap()).or_default().push(line.parse().unwrap());
        }
        for (number, life) in self.lives.iter().enumerate() {
            let lines = seen.remove(&number).unwrap_or_default();
            let expected: Vec<u64> = (0..life.lines).collect();
            assert_eq!(lines, expected, "life {number} with seed {}", self.seed);
        }
        assert!(seen.is_empty());
    }
}
