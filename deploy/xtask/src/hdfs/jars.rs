//! Hadoop's jars.

use crate::command::{exists, say};
use crate::jars::Jars;
use anyhow::Result;
use std::path::PathBuf;

const HADOOP: Jars = Jars {
    name: "Hadoop",
    version: "3.5.0",
    property: "hadoop.version",
    pom: include_str!("pom.xml"),
};

/// The folder with all jars, fetched if need be.
pub(super) fn fetch() -> Result<PathBuf> {
    HADOOP.fetch()
}

/// Says what is missing; false if something is.
pub(super) fn check() -> Result<bool> {
    let mut good = true;
    if !exists("java") {
        say("java is not installed: apt-get install default-jre-headless");
        good = false;
    }
    if !HADOOP.are_there() {
        if exists("mvn") {
            say("Hadoop's jars are not fetched: cargo xtask hdfs fetch");
        } else {
            say("Hadoop's jars are not fetched: apt-get install maven && cargo xtask hdfs fetch");
        }
        good = false;
    }
    Ok(good)
}
