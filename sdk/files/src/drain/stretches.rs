//! What was read above the floor, in stretches the floor can be raised by.

use std::collections::VecDeque;

use sdk_config::ledger::Drops;

use crate::ledger::Raise;

/// Beyond this number neighbours are joined: the floor then moves in larger steps.
const STRETCHES_MAX: usize = 4096;

/// Whole puts from the floor to the cursor, with what was dropped in them. A floor is always the end
/// of a stretch, so that what a put dropped is booked exactly once.
#[derive(Debug, Default)]
pub(crate) struct Stretches {
    list: VecDeque<Stretch>,
    /// What will not be counted as lost when it is read. As few as files were given up.
    credits: Vec<Credit>,
}

#[derive(Debug)]
struct Credit {
    first: u64,
    last: u64,
    events: u64,
}

impl Credit {
    fn use_for(&mut self, stretch: &mut Stretch) {
        if stretch.from <= self.last && self.first < stretch.to {
            let used = self.events.min(stretch.drops.lost);
            stretch.drops.lost -= used;
            self.events -= used;
        }
    }
}

#[derive(Debug)]
struct Stretch {
    from: u64,
    to: u64,
    events: u64,
    drops: Drops,
}

impl Stretches {
    /// Adds what was read of `[from, to)`.
    pub(crate) fn push(&mut self, from: u64, to: u64, events: u64, drops: Drops) {
        let mut stretch = Stretch { from, to, events, drops };
        self.credits.iter_mut().for_each(|credit| credit.use_for(&mut stretch));
        self.credits.retain(|credit| credit.events > 0);
        self.list.push_back(stretch);
        if self.list.len() > STRETCHES_MAX {
            self.join();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }

    /// The highest floor at or below `limit`.
    pub(crate) fn reach(&self, from: u64, limit: u64) -> u64 {
        let at = self.list.partition_point(|stretch| stretch.to <= limit);
        at.checked_sub(1).map_or(from, |last| self.list[last].to)
    }

    /// Everything up to `to`, a floor that [`Stretches::reach`] has given.
    pub(crate) fn sum(&self, from: u64, to: u64) -> Raise {
        let mut raise = Raise { from, to, events: 0, drops: Drops::default() };
        for stretch in self.list.iter().take_while(|stretch| stretch.to <= to) {
            raise.events += stretch.events;
            join_drops(&mut raise.drops, &stretch.drops);
        }
        raise
    }

    /// What was dropped or lost above the floor, and so is not booked yet.
    pub(crate) fn open(&self) -> Drops {
        let mut drops = Drops::default();
        self.list.iter().for_each(|stretch| join_drops(&mut drops, &stretch.drops));
        drops
    }

    /// Takes back `events` that are, or will be, counted as lost between `first` and `last`: they are
    /// counted elsewhere.
    pub(crate) fn forgive(&mut self, first: u64, last: u64, events: u64) {
        let mut credit = Credit { first, last, events };
        for stretch in &mut self.list {
            credit.use_for(stretch);
        }
        if credit.events > 0 {
            self.credits.push(credit);
        }
    }

    /// Counts `events` from `first` on that were read before, and are lost since. They are booked where
    /// their file began: the floor has not passed that, so every raise that books them begins below
    /// them. One that does not reach all of them yet is refused, and a later one is not.
    pub(crate) fn lose(&mut self, first: u64, events: u64) {
        let at = self.list.partition_point(|stretch| stretch.to <= first);
        if let Some(stretch) = self.list.get_mut(at) {
            stretch.drops.lost += events;
        }
    }

    /// Forgets what the floor has passed.
    pub(crate) fn passed(&mut self, floor: u64) {
        while self.list.front().is_some_and(|stretch| stretch.to <= floor) {
            self.list.pop_front();
        }
    }

    fn join(&mut self) {
        let mut joined = VecDeque::with_capacity(STRETCHES_MAX);
        let mut stretches = std::mem::take(&mut self.list).into_iter();
        while let Some(mut stretch) = stretches.next() {
            if let Some(next) = stretches.next() {
                stretch.to = next.to;
                stretch.events += next.events;
                join_drops(&mut stretch.drops, &next.drops);
            }
            joined.push_back(stretch);
        }
        self.list = joined;
    }
}

fn join_drops(into: &mut Drops, other: &Drops) {
    into.lost += other.lost;
    for (rule, events) in &other.by_rule {
        into.add(rule, *events);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_is_the_end_of_a_stretch_and_nothing_is_booked_twice() {
        let mut stretches = Stretches::default();
        let total = 3 * STRETCHES_MAX as u64;
        for number in 0..total {
            let mut drops = Drops::default();
            drops.add("rule", 1);
            stretches.push(number * 10, (number + 1) * 10, 5, drops);
        }
        let (mut floor, mut events, mut dropped) = (0, 0, 0);
        for limit in [7, 95, 40_000, total * 10] {
            let to = stretches.reach(floor, limit);
            assert!(floor <= to && to <= limit);
            let raise = stretches.sum(floor, to);
            events += raise.events;
            dropped += raise.drops.dropped();
            stretches.passed(to);
            floor = to;
        }
        assert_eq!((floor, events, dropped), (total * 10, total * 5, total));
    }
}
