//! What of a lineage is not delivered yet, by channel, and what the log may free.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use sdk_event::Lineage;
use sdk_wal::Log;
use smallvec::SmallVec;

use crate::capacity::Capacity;

/// Samples kept of how the bytes grew; more would only be finer.
const SAMPLES_MAX: usize = 512;

/// Bytes of records between samples at first.
const SAMPLE_BYTES: u64 = 256 << 10;

/// Bytes of records between two looks at how much of the log a cursor keeps.
const SPAN_BYTES: u64 = 1 << 20;

/// What every channel of a lineage has still to deliver.
///
/// A floor is an offset and room is bytes, so it keeps samples of how many bytes
/// there were at which offset. Between two samples it draws a straight line;
/// where a channel is empty it is exact.
pub(crate) struct Backlog {
    lineage: Lineage,
    log: Option<Log>,
    state: Mutex<State>,
}

struct State {
    channels: Vec<Channel>,
    samples: VecDeque<Sample>,
    sample_bytes: u64,
    since_sample: u64,
    since_span: u64,
    end: u64,
    /// The log keeps everything from here on for the shard's own memory.
    hold: u64,
    floor: u64,
}

struct Channel {
    number: u8,
    capacity: Arc<Capacity>,
    floor: u64,
    /// Bytes ever added.
    added: u64,
    /// Bytes of them given back.
    released: u64,
}

/// The bytes added by each channel below an offset.
struct Sample {
    offset: u64,
    added: SmallVec<[u64; 4]>,
}

impl Backlog {
    /// Nothing yet, of these channels.
    pub(crate) fn new(
        lineage: Lineage,
        log: Option<Log>,
        channels: impl Iterator<Item = (u8, Arc<Capacity>)>,
    ) -> Backlog {
        let channel =
            |(number, capacity)| Channel { number, capacity, floor: 0, added: 0, released: 0 };
        let state = State {
            channels: channels.map(channel).collect(),
            samples: VecDeque::new(),
            sample_bytes: SAMPLE_BYTES,
            since_sample: 0,
            since_span: 0,
            end: 0,
            hold: 0,
            floor: 0,
        };
        Backlog { lineage, log, state: Mutex::new(state) }
    }

    /// What a channel has in a lineage that is only read: `added` bytes between
    /// its floor and the lineage's end.
    pub(crate) fn found(&self, number: u8, floor: u64, end: u64, added: u64) {
        let mut state = self.lock();
        state.end = state.end.max(end);
        if let Some(channel) = state.channel(number) {
            channel.floor = floor;
            channel.added = added;
            channel.capacity.add(added);
        }
    }

    /// A record was added whose room is reserved: `bytes` by channel.
    pub(crate) fn grow(&self, end: u64, record: u64, bytes: &[(u8, u64)]) {
        let mut state = self.lock();
        state.end = end;
        for (number, bytes) in bytes {
            if let Some(channel) = state.channel(*number) {
                channel.added += bytes;
            }
        }
        state.since_sample += record;
        if state.since_sample >= state.sample_bytes {
            state.since_sample = 0;
            state.sample();
        }
        state.since_span += record;
        if state.since_span >= SPAN_BYTES {
            state.since_span = 0;
            self.measure(&state);
        }
    }

    /// The record was not added after all.
    pub(crate) fn ungrow(&self, from: u64, bytes: &[(u8, u64)]) {
        let mut state = self.lock();
        state.end = from;
        while state.samples.back().is_some_and(|sample| sample.offset > from) {
            state.samples.pop_back();
        }
        for (number, bytes) in bytes {
            if let Some(channel) = state.channel(*number) {
                channel.added -= bytes;
                channel.capacity.release(*bytes);
            }
        }
    }

    /// The channel has delivered everything below `floor`.
    pub(crate) fn raise_floor(&self, number: u8, floor: u64) {
        let mut state = self.lock();
        let Some(at) = state.channels.iter().position(|channel| channel.number == number) else {
            return;
        };
        let floor = floor.max(state.channels[at].floor);
        let delivered = state.delivered(at, floor);
        let channel = &mut state.channels[at];
        channel.floor = floor;
        let released = delivered.max(channel.released);
        channel.capacity.release(released - channel.released);
        channel.released = released;
        let lowest = state.lowest();
        while state.samples.get(1).is_some_and(|sample| sample.offset <= lowest) {
            state.samples.pop_front();
        }
        self.measure(&state);
        self.free(&mut state);
    }

    /// The shard needs nothing below `hold` for what it remembers.
    pub(crate) fn hold_from(&self, hold: u64) {
        let mut state = self.lock();
        state.hold = state.hold.max(hold);
        self.free(&mut state);
    }

    /// The offset below which every channel has delivered.
    pub(crate) fn delivered(&self) -> u64 {
        self.lock().lowest()
    }

    /// Where one channel stands.
    pub(crate) fn floor(&self, number: u8) -> Option<u64> {
        self.lock().channel(number).map(|channel| channel.floor)
    }

    /// Tells the log what it may free, if that is more than before.
    fn free(&self, state: &mut State) {
        let floor = state.lowest().min(state.hold);
        if floor > state.floor
            && let Some(log) = &self.log
        {
            state.floor = floor;
            log.raise_floor(self.lineage, floor);
        }
    }

    /// How much of the log each cursor keeps from being freed.
    fn measure(&self, state: &State) {
        let Some(log) = &self.log else { return };
        for channel in state.channels.iter().filter(|channel| channel.capacity.limits_span()) {
            let span = match channel.floor < state.end {
                true => log.span_bytes(self.lineage, channel.floor),
                false => 0,
            };
            channel.capacity.set_span(self.lineage, span);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the lock is held")
    }
}

impl State {
    fn channel(&mut self, number: u8) -> Option<&mut Channel> {
        self.channels.iter_mut().find(|channel| channel.number == number)
    }

    fn lowest(&self) -> u64 {
        self.channels.iter().map(|channel| channel.floor).min().unwrap_or(u64::MAX)
    }

    fn sample(&mut self) {
        let added = self.channels.iter().map(|channel| channel.added).collect();
        self.samples.push_back(Sample { offset: self.end, added });
        if self.samples.len() > SAMPLES_MAX {
            let mut odd = false;
            self.samples.retain(|_| {
                odd = !odd;
                odd
            });
            self.sample_bytes *= 2;
        }
    }

    /// How many of the bytes of the channel at `at` lie below `floor`.
    fn delivered(&self, at: usize, floor: u64) -> u64 {
        let channel = &self.channels[at];
        if floor >= self.end {
            return channel.added;
        }
        let above = self.samples.partition_point(|sample| sample.offset <= floor);
        let point = |sample: &Sample| (sample.offset, sample.added[at]);
        let low = match above.checked_sub(1) {
            Some(below) => point(&self.samples[below]),
            None => (channel.floor, channel.released),
        };
        let high = self.samples.get(above).map_or((self.end, channel.added), point);
        let (offsets, bytes) = (high.0.saturating_sub(low.0), high.1.saturating_sub(low.1));
        if offsets == 0 {
            return low.1;
        }
        let share = u128::from(floor.saturating_sub(low.0)) * u128::from(bytes);
        low.1 + u64::try_from(share / u128::from(offsets)).unwrap_or(bytes)
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        let state = self.lock();
        for channel in &state.channels {
            channel.capacity.release(channel.added - channel.released);
            channel.capacity.set_span(self.lineage, 0);
        }
    }
}
