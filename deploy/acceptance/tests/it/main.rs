//! What the programs promise, one file for each promise.

mod agent;
mod channels;
mod check;
mod demo;
mod full_disk;
mod hostile;
mod kill;
mod page;
mod reflection;
mod restart;
mod send;
mod status;
mod view;
