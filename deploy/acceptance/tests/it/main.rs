//! What the programs promise, one file for each promise.

mod agent;
mod channels;
mod check;
mod corrupt;
mod demo;
mod formats;
mod full_disk;
mod hdfs;
mod hostile;
mod kill;
mod limits;
mod mutants;
mod named_steps;
mod operator;
mod page;
mod reflection;
mod restart;
mod send;
mod sources;
mod status;
mod tls;
mod view;
