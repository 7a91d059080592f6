//! The log through its public face.

mod basics;
mod freeing;
mod model;
mod repair;
mod sectors;
mod seeds;
mod support;
