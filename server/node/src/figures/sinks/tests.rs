//! Two sinks with one cursor, and what each of them is said to be.

#![allow(clippy::disallowed_methods, reason = "the tests have files of their own")]

use crate::figures::rig::{config, flow, send, started};
use proto::v1;
use std::sync::Arc;
use std::time::Duration;

/// The second takes over when the first cannot: what it did is its own, and it is well.
#[tokio::test(flavor = "multi_thread")]
async fn each_sink_of_a_group_has_figures_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().display();
    let sink = |name: &str| {
        format!(
            "[flow.default.sinks.{name}]\ntype = \"files\"\nchannel = \"main\"\n\
             roll_interval = \"1h\"\npath = \"{root}/{name}/web/%H\"\n"
        )
    };
    let toml = format!(
        "[flow.default.channels.main]\ntype = \"durable\"\n{}{}[flow.default.groups.out]\n\
         type = \"failover\"\nsinks = {{ remote = 10, local = 5 }}\n",
        sink("remote"),
        sink("local")
    );
    let mut config = config(folder.path());
    config.flows = [("default".to_owned(), flow(&["main"], &toml))].into();
    std::fs::write(folder.path().join("remote"), "in the way").expect("a file");
    let node = started(config).await;
    let figures = Arc::clone(node.figures());
    let both = || {
        let sinks = figures.sinks();
        let named = |name: &str| sinks.iter().find(|it| it.name == name).cloned();
        (named("local").expect("a sink"), named("remote").expect("a sink"))
    };
    let until = async |what: &str, done: &dyn Fn(&v1::Sink, &v1::Sink) -> bool| {
        for _ in 0..800 {
            let (local, remote) = both();
            if done(&local, &remote) {
                return (local, remote);
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("never {what}: {:#?}", both());
    };
    send(&node, 10).await;
    let (local, remote) = until("down", &|_, remote| remote.state == "failing").await;
    assert_eq!((local.backlog_events, remote.backlog_events), (0, 10));
    assert_eq!((local.state.as_str(), local.reason.as_str()), ("ok", ""));
    // The first is waited for before the second is used.
    let (local, remote) = until("delivered", &|local, _| {
        node.roll_now();
        local.events == 10
    })
    .await;
    assert_eq!((local.files_rolled, remote.files_rolled, remote.events), (1, 0, 0));
    assert_eq!(local.state, "ok", "{local:?}");
    node.stop().await;
}
