//! Blocks through their public face.

mod allocations;
mod blocks;
mod forge;
mod limits;
mod mutations;
mod properties;
mod speed;
mod vectors;
