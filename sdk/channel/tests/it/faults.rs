//! The durable channel on a disk that fails: power cuts, torn and dropped writes,
//! EIO, a full disk, short writes, flipped bits; replayable from a seed.

mod life;
mod model;
mod producers;
mod world;

use world::World;

#[test]
fn acknowledged_events_survive_every_fault_once_and_in_order() {
    let mut sums = world::Sums::default();
    sdk_seeds::each(2_000, 20_000, |seed| sums.add(&World::new(seed).run()));
    println!("{sums:?}");
}
