//! The dependency order of the folders, as a test.

use std::process::Command;

/// Lower layers first. A crate may depend only on crates of a lower layer.
const LAYERS: &[&[&str]] = &[
    &["proto", "sdk-event", "sdk-failpoints", "sdk-seeds"],
    &["sdk-config"],
    &["sdk-flow", "sdk-wal"],
    &["sdk-tls"],
    &["sdk-channel", "sdk-files", "sdk-sources", "sdk-producer"],
    &["sdk-sinks"],
    &["sdk-edge"],
    &["client-agent", "client-cli", "server-cluster"],
    &["server-raft", "server-ingest", "server-hdfs"],
    &["server-node"],
    &["server-sim"],
    &["loadtest"],
    &["deploy-xtask", "deploy-acceptance"],
];

/// What `server-cluster` must never see: it is pure.
const IMPURE: &[&str] = &["tokio", "sled", "tonic", "getrandom", "rand"];

#[test]
fn crates_depend_only_downwards() {
    let layer = |name: &str| {
        LAYERS
            .iter()
            .position(|layer| layer.contains(&name))
            .unwrap_or_else(|| panic!("{name} stands in no layer: add it to LAYERS"))
    };
    let mut errors = Vec::new();
    for (from, to) in edges() {
        if layer(&from) <= layer(&to) {
            errors.push(format!("{from} must not depend on {to}"));
        }
        if from.starts_with("client") && to.starts_with("server")
            || from.starts_with("server") && to.starts_with("client")
        {
            errors.push(format!("{from} and {to}: client and server never depend on each other"));
        }
    }
    assert!(errors.is_empty(), "\n{}", errors.join("\n"));
}

#[test]
fn the_replicated_state_is_pure() {
    let manifest = packages()
        .into_iter()
        .find(|package| package["name"] == "server-cluster")
        .expect("server-cluster is a member");
    let impure: Vec<_> =
        normal(&manifest).into_iter().filter(|name| IMPURE.contains(&name.as_str())).collect();
    assert!(impure.is_empty(), "server-cluster depends on {impure:?}");
}

#[test]
fn a_crate_is_named_by_its_path() {
    for package in packages() {
        let path = package["manifest_path"].as_str().expect("a path");
        let name = package["name"].as_str().expect("a name");
        let folder = name.replace('-', "/");
        assert!(path.ends_with(&format!("/{folder}/Cargo.toml")), "{name} lives in {path}");
    }
}

fn edges() -> Vec<(String, String)> {
    let packages = packages();
    let members: Vec<String> = packages
        .iter()
        .map(|package| package["name"].as_str().expect("a name").to_owned())
        .collect();
    packages
        .iter()
        .flat_map(|package| {
            let from = package["name"].as_str().expect("a name").to_owned();
            normal(package).into_iter().map(move |to| (from.clone(), to))
        })
        .filter(|(_, to)| members.contains(to))
        .collect()
}

/// The names a package depends on, tests left out.
fn normal(package: &serde_json::Value) -> Vec<String> {
    package["dependencies"]
        .as_array()
        .expect("dependencies")
        .iter()
        .filter(|dependency| dependency["kind"].is_null())
        .map(|dependency| dependency["name"].as_str().expect("a name").to_owned())
        .collect()
}

fn packages() -> Vec<serde_json::Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .output()
        .expect("run cargo metadata");
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("parse cargo metadata");
    metadata["packages"].as_array().expect("packages").clone()
}
