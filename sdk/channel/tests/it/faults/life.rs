//! One life of a process: open, serve, and end in the middle of something.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sdk_channel::record::Gap;
use sdk_channel::{
    ChannelOptions, RecentMemory, SealedLineage, Shard, ShardError, ShardOptions, rebuild,
    stop_lineage,
};
use sdk_event::{EventId, Level, Lineage, ProducerId};
use sdk_flow::{ChannelReader, Clock as _, Entropy as _, PutError, ReadError, Receipt, Rejection};
use sdk_wal::{Faults, Log, LogOptions, MemoryView, Storage as _, View};

use super::model::{Journaled, Op};
use super::producers::Outgoing;
use super::world::{Acked, World};
use crate::harness::{durable, log_options};

/// Rounds of a life, at most.
const ROUNDS_MAX: u64 = 60;

/// Reads at the end of the last life, at most.
const READS_MAX: usize = 100_000;

/// A put, a session, a gap without an answer.
struct InFlight {
    producer: usize,
    generation: u64,
    first: u64,
    answer: Pin<Box<dyn Future<Output = Result<Option<Receipt>, PutError>>>>,
}

/// The process.
struct Life {
    log: Log,
    shard: Arc<Shard>,
    sealed: Vec<SealedLineage>,
    in_flight: Vec<InFlight>,
}

fn poll<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
    match Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Runs something to its end, writing the log by hand meanwhile.
fn drive<T>(log: &Log, future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    for _ in 0..1000 {
        if let Some(value) = poll(&mut future) {
            return value;
        }
        log.drive();
    }
    panic!("it does not come to an end");
}

impl World {
    /// One life. With `last` it has no faults and drains everything.
    pub(super) fn life(&mut self, last: bool) {
        let Some(mut life) = self.begin(last) else {
            assert!(!last, "the last life has no faults");
            self.names_in_doubt = true;
            return;
        };
        let rounds = if last { 30 } else { 1 + self.rng.below(ROUNDS_MAX) };
        if !last {
            let faults = self.draw_faults(4 * rounds);
            self.storage.set_faults(faults);
        }
        for _ in 0..rounds {
            if life.log.failure().borrow().is_some() {
                break;
            }
            self.round(&mut life, last);
        }
        if last {
            self.drain(&mut life);
        } else if self.chance(40) && life.log.failure().borrow().is_none() {
            self.rest(&mut life);
        }
        self.abandon(life);
    }

    /// Opens the log, settles what the life before left, opens the next lineage.
    fn begin(&mut self, last: bool) -> Option<Life> {
        if !last && self.chance(20) {
            let faults = self.draw_faults(40);
            self.storage.set_faults(faults);
        }
        let view: Arc<dyn View> = Arc::new(MemoryView::new());
        let options = LogOptions { threads: false, ..log_options(&self.storage, view.clone()) };
        let (log, recovery) = match Log::open(options) {
            Ok(opened) => opened,
            Err(error) => {
                assert!(!last, "the last life has no faults: {error}");
                return None;
            }
        };
        self.unreadable.extend(recovery.quarantined);
        for (lineage, end) in &self.sealed {
            log.cut(*lineage, *end);
        }
        self.settle_open(&log)?;
        let next = self.next_lineage();
        let now_ms = self.clock.wall_ms();
        let rebuilt = match rebuild(&log, &self.sealed, next, Some(view)) {
            Ok(rebuilt) => rebuilt,
            Err(error) => {
                assert!(self.storage.is_down(), "the log cannot be read back: {error}");
                return None;
            }
        };
        self.unreadable.extend(rebuilt.unreadable.iter().cloned());
        assert!(rebuilt.exact || self.flipped, "a checkpoint is missing");
        let exact = rebuilt.exact && rebuilt.unreadable.is_empty();
        let down_ms = rebuilt.last_put_ms().map_or(0, |last_ms| now_ms - last_ms);
        match rebuilt.exact {
            true => self.model.check(&rebuilt.remembered.table.entries(), now_ms, exact),
            false => self.sums.inexact += 1,
        }
        let mut remembered = rebuilt.remembered;
        if !exact {
            self.model.entries = remembered.table.entries();
        }
        remembered.table.set_limits(100, 2);

        let channel = durable(0, "main", 1 << 20);
        let options = ShardOptions {
            channels: vec![channel.clone()],
            checkpoint_bytes: 4 << 10,
            inline_reads: true,
            recent: Arc::new(RecentMemory::new(if self.chance(50) { 0 } else { 4096 })),
            ..ShardOptions::new(next, Level::Local, Some(log.clone()), self.clock.clone())
        };
        let sealed = self.open_sealed(&log, &channel)?;
        let shard = match drive(&log, Shard::open(options, remembered)) {
            Ok(shard) => Arc::new(shard),
            Err(ShardError::Checkpoint(error)) => {
                assert!(!last && log.failure().borrow().is_some(), "not opened: {error:?}");
                // The lineage may have the beginning of a checkpoint.
                self.open = Some((next, 0));
                return None;
            }
            Err(error) => panic!("the shard does not open: {error}"),
        };
        sealed.iter().for_each(SealedLineage::superseded);
        self.model.begins(down_ms);
        self.open = Some((next, 0));
        Some(Life { log, shard, sealed, in_flight: Vec::new() })
    }

    /// Seals the lineage that the life before wrote, as an heir does.
    fn settle_open(&mut self, log: &Log) -> Option<()> {
        let Some((lineage, handed_out)) = self.open else { return Some(()) };
        let stopped = drive(log, stop_lineage(log, lineage, self.clock.wall_ms()));
        let end = match stopped {
            Ok(end) => end,
            Err(error) => {
                assert!(log.failure().borrow().is_some(), "no stop record: {error}");
                return None;
            }
        };
        assert!(end >= handed_out, "{lineage} ends at {end}, but {handed_out} was handed out");
        log.cut(lineage, end);
        for record in self.journal.drain(..).filter(|record| record.end <= end) {
            self.model.apply(lineage.epoch, &record);
        }
        self.sealed.push((lineage, end));
        self.open = None;
        Some(())
    }

    /// Lineages with something left; the others are forgotten once the next has its
    /// checkpoint, which is not yet.
    fn open_sealed(&mut self, log: &Log, channel: &ChannelOptions) -> Option<Vec<SealedLineage>> {
        let mut open = Vec::new();
        for (lineage, end) in &self.sealed {
            let floor = self.floors.get(lineage).copied().unwrap_or(0);
            let channels = [(channel.clone(), floor)];
            match SealedLineage::open(log, *lineage, *end, &channels, true) {
                Ok(sealed) => open.push(sealed),
                Err(error) => {
                    assert!(self.storage.is_down(), "{lineage} cannot be read: {error}");
                    return None;
                }
            }
        }
        Some(open)
    }

    fn round(&mut self, life: &mut Life, last: bool) {
        match self.rng.below(100) {
            0..35 => self.send(life),
            35..55 => {
                life.log.drive();
            }
            55..60 => self.poll_all(life),
            60..72 => self.read(life),
            72..75 => self.gap(life),
            75..77 => self.close_session(life),
            77..79 => {
                let producer = self.rng.below(self.producers.len() as u64) as usize;
                self.producers[producer].renumber();
            }
            79..84 => self.clock.advance(Duration::from_secs(self.rng.below(3600))),
            84..85 => self.clock.advance(Duration::from_secs(self.rng.below(8 * 24 * 3600))),
            85..88 if !last => self.fill_disk(life),
            _ => {
                self.send(life);
                life.log.drive();
                self.poll_all(life);
            }
        }
    }

    /// A producer opens its session or sends its next block.
    fn send(&mut self, life: &mut Life) {
        let at = self.rng.below(self.producers.len() as u64) as usize;
        if !self.producers[at].session && !self.open_session(life, at) {
            return;
        }
        let queued = self.producers[at].outgoing.len();
        if queued < 4 {
            let words: Vec<String> = (0..1 + self.rng.below(5))
                .map(|_| "x".repeat(1 + self.rng.below(400) as usize))
                .collect();
            let put = self.producers[at].words.block(&words.join(" "));
            self.producers[at].outgoing.push_back(Outgoing {
                put,
                in_flight: false,
                perhaps: false,
            });
        }
        let Some(next) = self.producers[at].next_to_send() else { return };
        next.in_flight = true;
        let put = next.put.clone();
        let (generation, first) = (put.generation, put.first_sequence);
        let op = Op::Put { generation, first, count: put.count, crc: put.block_crc };
        let producer = self.producers[at].id();
        let (shard, count) = (Arc::clone(&life.shard), u64::from(put.count));
        let answer = Box::pin(async move { shard.put(put).await.map(Some) });
        self.start(life, at, generation, first, answer, Some((producer, op, count)));
    }

    /// Whether the producer has a session now.
    fn open_session(&mut self, life: &mut Life, at: usize) -> bool {
        let open = self.producers[at].session();
        let (shard, before) = (Arc::clone(&life.shard), life.shard.next_offset());
        let mut answer = Box::pin(async move { shard.open_session(open).await });
        let first = poll(&mut answer);
        let op = Op::Open { generation: open.generation, lowest: open.lowest };
        self.journal(life, before, 1, open.producer, op);
        let answer = match first {
            Some(answer) => answer,
            None => {
                // Others' answers come too, and are looked at later.
                life.log.drive();
                match poll(&mut answer) {
                    Some(answer) => answer,
                    None => return false,
                }
            }
        };
        match answer {
            Ok(answer) => {
                assert!(answer.next >= open.lowest, "it forgot what was acknowledged");
                self.producers[at].session = true;
                true
            }
            Err(PutError::Rejected { reason: Rejection::Expired }) => {
                assert!(open.sent, "what was never sent cannot have expired");
                self.sums.expired += 1;
                self.producers[at].renumber();
                false
            }
            Err(PutError::Rejected { reason }) => {
                // After a flip the table may be older than the producer.
                panic!("session refused: {reason}")
            }
            Err(_) => {
                self.forget_rolled_back(life);
                false
            }
        }
    }

    fn gap(&mut self, life: &mut Life) {
        let at = self.rng.below(self.producers.len() as u64) as usize;
        let producer = &mut self.producers[at];
        if !producer.session || !producer.outgoing.is_empty() {
            return;
        }
        let from = producer.words.next();
        let to = from + 1 + self.rng.below(5);
        let gap = Gap { ..producer.words.gap(from, to) };
        producer.words.back(from.wrapping_sub(to));
        let id = producer.id();
        let (shard, before) = (Arc::clone(&life.shard), life.shard.next_offset());
        let mut answer = Box::pin(async move { shard.gap(gap).await });
        let done = poll(&mut answer);
        self.journal(life, before, 1, id, Op::Gap { to });
        if done.is_none() {
            life.log.drive();
        }
        match done.or_else(|| poll(&mut answer)) {
            Some(Ok(())) => (),
            // A new session says the same by its lowest number.
            _ => {
                self.forget_rolled_back(life);
                self.producers[at].session = false;
            }
        }
    }

    fn close_session(&mut self, life: &mut Life) {
        let at = self.rng.below(self.producers.len() as u64) as usize;
        let producer = &mut self.producers[at];
        if !producer.session || !producer.outgoing.is_empty() {
            return;
        }
        producer.session = false;
        let (id, generation) = (producer.id(), producer.words.generation());
        let (shard, before) = (Arc::clone(&life.shard), life.shard.next_offset());
        let mut answer = Box::pin(async move { shard.close_session(id, generation).await });
        let done = poll(&mut answer);
        self.journal(life, before, 1, id, Op::Close);
        life.log.drive();
        let _ = done.or_else(|| poll(&mut answer));
        self.forget_rolled_back(life);
    }

    /// Gives something to the shard, and notes which offsets it took.
    fn start(
        &mut self,
        life: &mut Life,
        producer: usize,
        generation: u64,
        first: u64,
        mut answer: Pin<Box<dyn Future<Output = Result<Option<Receipt>, PutError>>>>,
        wrote: Option<(ProducerId, Op, u64)>,
    ) {
        let before = life.shard.next_offset();
        let done = poll(&mut answer);
        if let Some((id, op, count)) = wrote {
            self.journal(life, before, count, id, op);
        }
        let in_flight = InFlight { producer, generation, first, answer };
        match done {
            None => life.in_flight.push(in_flight),
            Some(answer) => self.answered(life, &in_flight, answer),
        }
    }

    /// Notes a record, if one was written: it begins where the shard stood.
    fn journal(&mut self, life: &Life, before: u64, count: u64, producer: ProducerId, op: Op) {
        let next = life.shard.next_offset();
        self.forget_rolled_back(life);
        if next > before {
            let (end, time_ms) = (before + count, self.clock.wall_ms());
            assert!(next >= end, "the record took fewer offsets than it has events");
            self.journal.push(Journaled { end, time_ms, producer, op });
        }
    }

    fn forget_rolled_back(&mut self, life: &Life) {
        let next = life.shard.next_offset();
        self.journal.retain(|record| record.end <= next);
    }

    fn poll_all(&mut self, life: &mut Life) {
        for mut one in std::mem::take(&mut life.in_flight) {
            match poll(&mut one.answer) {
                None => life.in_flight.push(one),
                Some(answer) => self.answered(life, &one, answer),
            }
            self.forget_rolled_back(life);
        }
    }

    fn answered(&mut self, life: &Life, one: &InFlight, answer: Result<Option<Receipt>, PutError>) {
        let producer = &mut self.producers[one.producer];
        // It may have been renumbered meanwhile.
        let Some(outgoing) = producer.find(one.generation, one.first) else { return };
        outgoing.in_flight = false;
        match answer {
            Ok(receipt) => {
                let put = outgoing.put.clone();
                producer.outgoing.retain(|out| out.put.first_sequence != one.first);
                let receipt = receipt.expect("a put has a receipt");
                let end = receipt.first_offset + u64::from(receipt.count);
                if receipt.lineage == life.shard.lineage() {
                    assert!(life.shard.watermark() >= end, "acknowledged above the watermark");
                    if let Some((_, handed_out)) = &mut self.open {
                        *handed_out = (*handed_out).max(end);
                    }
                } else {
                    let sealed = self.sealed.iter().find(|(known, _)| *known == receipt.lineage);
                    let known = sealed.is_some_and(|(_, length)| end <= *length);
                    assert!(known || receipt.level == Level::Committed, "{receipt:?} is nowhere");
                }
                self.sums.acked += u64::from(put.count);
                self.sums.duplicates += u64::from(receipt.duplicate);
                let words = put.parts[0].block.events();
                let words = words.map(|event| String::from_utf8_lossy(event.body()).into_owned());
                let id = EventId {
                    producer: put.producer,
                    generation: put.generation,
                    sequence: put.first_sequence,
                };
                self.acked.push(Acked { id, count: put.count, words: words.collect() });
            }
            Err(PutError::Exhausted { .. } | PutError::Stopped) => {
                self.sums.refused += 1;
            }
            Err(PutError::Unknown(_)) => outgoing.perhaps = true,
            Err(PutError::Rejected { reason: Rejection::Expected(next) }) => {
                // One before it was refused.
                assert!(next <= one.first, "{next} is expected, {} was sent", one.first);
            }
            Err(PutError::Rejected { reason: Rejection::Expired }) => {
                // It was idle for too long; a new session tells what is known.
                producer.session = false;
            }
            Err(PutError::Rejected { reason }) => panic!("rejected: {reason}"),
        }
    }

    /// Reads from the oldest lineage that has something, and commits, perhaps.
    fn read(&mut self, life: &mut Life) {
        let undrained = life
            .sealed
            .iter()
            .find(|sealed| self.floors.get(&sealed.lineage()).copied().unwrap_or(0) < sealed.end());
        let (lineage, limit) = match undrained {
            Some(sealed) => (sealed.lineage(), sealed.end()),
            None => (life.shard.lineage(), life.shard.watermark()),
        };
        let floor = self.floors.get(&lineage).copied().unwrap_or(0);
        let reader = match undrained {
            Some(sealed) => sealed.reader(0, floor),
            None => life.shard.reader(0, floor),
        };
        let mut reader = reader.expect("the channel is there");
        let bytes_max = 1 + self.rng.below(4000) as usize;
        for _ in 0..1 + self.rng.below(4) {
            if !self.read_one(life, reader.as_mut(), bytes_max, limit) {
                break;
            }
        }
        let to = reader.cursor();
        if lineage == life.shard.lineage()
            && let Some((_, handed_out)) = &mut self.open
        {
            *handed_out = (*handed_out).max(to);
        }
        if to > floor && self.chance(60) {
            self.floors.insert(lineage, to);
            match life.sealed.iter().find(|sealed| sealed.lineage() == lineage) {
                Some(sealed) => sealed.raise_floor(0, to),
                None => life.shard.raise_floor(0, to),
            }
        }
    }

    /// Whether the reader moved.
    fn read_one(
        &mut self,
        life: &Life,
        reader: &mut dyn ChannelReader,
        bytes_max: usize,
        limit: u64,
    ) -> bool {
        let next = poll(&mut reader.next(bytes_max));
        match next {
            None | Some(Ok(None)) => false,
            Some(Ok(Some(batch))) => {
                self.take(&batch, limit);
                true
            }
            Some(Err(ReadError::Lost { from, to })) => {
                assert!(self.flipped, "lost without a flipped bit: {from} to {to}");
                let listed = life.log.quarantined();
                let inside = listed.iter().filter(|range| range.from < to && from < range.to);
                self.unreadable.extend(inside.cloned());
                self.lost.push((life.shard.lineage(), from, to));
                reader.seek(to);
                true
            }
            Some(Err(error)) => {
                assert!(self.storage.is_down(), "the channel cannot be read: {error:?}");
                false
            }
        }
    }

    /// The disk is full for a while; then it has room, and everything goes on.
    fn fill_disk(&mut self, life: &mut Life) {
        if life.log.failure().borrow().is_some() || self.storage.is_down() {
            return;
        }
        self.sums.full += 1;
        let room = Faults { capacity_bytes: Some(1), ..Faults::default() };
        self.storage.set_faults(room);
        for _ in 0..20 {
            self.send(life);
            life.log.drive();
            self.poll_all(life);
        }
        self.storage.set_faults(Faults::default());
    }

    /// Comes to rest: everything is written, and a closing flush behind it. Then a
    /// bit may rot.
    fn rest(&mut self, life: &mut Life) {
        self.storage.set_faults(Faults::default());
        life.log.drive();
        self.poll_all(life);
        life.log.drive();
        life.log.drive();
        let fine = life.log.failure().borrow().is_none() && !self.storage.is_down();
        if fine && self.chance(50) {
            self.flip();
        }
    }

    fn flip(&mut self) {
        let dir = PathBuf::from("/log");
        let files = self.storage.list(&dir).expect("list");
        let segments = files.iter().filter(|file| file.name.ends_with(".segment"));
        let mut segments: Vec<_> = segments.map(|file| dir.join(&file.name)).collect();
        segments.sort();
        let path = &segments[self.rng.below(segments.len() as u64) as usize];
        let contents = self.storage.contents(path).expect("it is there");
        let used = contents.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        let at = self.rng.below(used as u64 + 1);
        self.flipped = true;
        self.sums.flips += 1;
        self.storage.flip(path, at, 1 << self.rng.below(8));
    }

    /// Reads everything that is left.
    fn drain(&mut self, life: &mut Life) {
        for _ in 0..10 {
            life.log.drive();
            self.poll_all(life);
        }
        let sealed = std::mem::take(&mut life.sealed);
        for sealed in &sealed {
            let floor = self.floors.get(&sealed.lineage()).copied().unwrap_or(0);
            let mut reader = sealed.reader(0, floor).expect("the channel is there");
            self.read_all(life, reader.as_mut(), sealed.end());
            assert_eq!(reader.cursor(), sealed.end(), "{} was not all read", sealed.lineage());
        }
        let lineage = life.shard.lineage();
        let floor = self.floors.get(&lineage).copied().unwrap_or(0);
        let mut reader = life.shard.reader(0, floor).expect("the channel is there");
        life.shard.end_at(life.shard.seal());
        self.read_all(life, reader.as_mut(), life.shard.watermark());
        assert_eq!(reader.cursor(), life.shard.watermark(), "{lineage} was not all read");
    }

    fn read_all(&mut self, life: &Life, reader: &mut dyn ChannelReader, limit: u64) {
        for _ in 0..READS_MAX {
            if !self.read_one(life, reader, 4096, limit) {
                return;
            }
        }
        panic!("the reader does not come to an end");
    }

    /// The process is killed: nothing is written any more.
    fn abandon(&mut self, life: Life) {
        let lineage: Lineage = life.shard.lineage();
        if let Some((open, handed_out)) = &mut self.open {
            assert_eq!(*open, lineage);
            *handed_out = (*handed_out).max(self.floors.get(&lineage).copied().unwrap_or(0));
        }
        let failure = life.log.failure().borrow().clone();
        self.names_in_doubt |= failure.is_some_and(|reason| reason.contains("make a segment"));
        self.storage.kill();
        drop(life);
    }
}
