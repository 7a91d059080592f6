//! The log through its public face.

mod basics;
mod model;
mod sectors;
mod seeds;
mod support;
