//! Freshness that is never better than the truth.

#![allow(clippy::disallowed_methods, reason = "the tests have files of their own")]

use crate::figures::Figures;
use crate::figures::rig::{config, flow, send, started};
use crate::http::Faces as _;
use crate::node::Node;
use proto::v1;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn looked(figures: &Figures) -> v1::Flow {
    figures.look().flows.remove(0)
}

/// What is shown as soon as that is so.
async fn shown(figures: &Figures, until: impl Fn(&v1::Flow) -> bool) -> v1::Flow {
    for _ in 0..400 {
        let flow = looked(figures);
        if until(&flow) {
            return flow;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("never: {:?}", looked(figures));
}

/// A node of one flow, and the time before its first event.
async fn with_events(folder: &Path, toml: Option<&str>) -> (Node, i64) {
    let mut config = config(folder);
    if let Some(toml) = toml {
        config.flows = [("default".to_owned(), flow(&["main"], toml))].into();
    }
    let node = started(config).await;
    let before_ms = node.figures().clock.wall_ms();
    tokio::time::sleep(Duration::from_millis(2)).await;
    send(&node, 10).await;
    (node, before_ms)
}

/// Long enough for what is shown to go wrong, and for the time to be told from the put time.
async fn a_while() {
    tokio::time::sleep(Duration::from_millis(500)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_since_its_put_time_and_nothing_since_now() {
    let folder = tempfile::tempdir().expect("a folder");
    let (node, before_ms) = with_events(folder.path(), None).await;
    let figures = Arc::clone(node.figures());
    let sent_ms = figures.clock.wall_ms();
    a_while().await;
    let flow = shown(&figures, |flow| flow.final_before_ms > before_ms).await;
    assert!(flow.final_before_ms <= sent_ms, "{flow:?}");
    assert!(figures.metrics().contains("collector_flow_final_before_timestamp_seconds{"));
    // A roll finishes what is open: it comes too early for a drain that has not read them yet.
    let is_final = |flow: &v1::Flow| {
        node.roll_now();
        flow.final_before_ms > sent_ms
    };
    let flow = shown(&figures, is_final).await;
    assert_eq!(flow.oldest_pending_ms, Some(0));
    node.stop().await;
}

/// A sink that is down from the start, and then the end of the node: the drains have ended, events
/// wait, people ask.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_drain_nobody_knows() {
    let folder = tempfile::tempdir().expect("a folder");
    let blocked = folder.path().join("files");
    std::fs::create_dir_all(&blocked).expect("a folder");
    std::fs::write(blocked.join("default"), "in the way").expect("a file");
    let (node, before_ms) = with_events(folder.path(), None).await;
    let figures = Arc::clone(node.figures());
    let flow = shown(&figures, |flow| flow.final_before_ms > 0).await;
    assert!((before_ms..=figures.clock.wall_ms()).contains(&flow.final_before_ms), "{flow:?}");
    a_while().await;
    assert!(looked(&figures).oldest_pending_ms >= Some(500));
    figures.drains.finish(Duration::from_secs(5)).await;
    assert_eq!(figures.drains.running().len(), 0);
    a_while().await;
    let flow = looked(&figures);
    assert!(flow.final_before_ms <= before_ms, "{flow:?}");
    assert_eq!((flow.oldest_pending_ms, flow.final_before.as_str()), (None, ""));
    let metrics = figures.metrics();
    assert!(!metrics.contains("collector_flow_oldest_pending_seconds{"), "{metrics}");
    assert!(!metrics.contains("collector_flow_final_before_timestamp_seconds{"), "{metrics}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_works_nowhere_makes_what_waits_older() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, channel) in [("durable", "durable"), ("memory", "memory")] {
        let toml = format!(
            "[flow.default.channels.main]\ntype = \"{channel}\"\n[flow.default.sinks.far]\n\
             type = \"collector\"\nchannel = \"main\"\nendpoints = [\"http://127.0.0.1:9\"]\n"
        );
        let (node, before_ms) = with_events(&folder.path().join(name), Some(&toml)).await;
        let figures = Arc::clone(node.figures());
        let sent_ms = figures.clock.wall_ms();
        a_while().await;
        let flow = shown(&figures, |flow| flow.final_before_ms >= before_ms).await;
        assert!(flow.final_before_ms <= sent_ms, "{name}: {flow:?}");
        assert!(flow.oldest_pending_ms >= Some(500), "{name}: {flow:?}");
        // Without an end: what it cannot deliver it would wait for.
        drop(node);
    }
}

/// A hole, whose events the floor has passed, and then a start under which nothing of it was read.
#[tokio::test(flavor = "multi_thread")]
async fn a_hole_is_known_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config(folder.path());
    let files = folder.path().join("files").display().to_string();
    let sinks = format!(
        "[flow.default.channels.main]\ntype = \"durable\"\n[flow.default.sinks.files]\n\
         type = \"files\"\nchannel = \"main\"\nroll_interval = \"1h\"\n\
         path = \"{files}/default/%{{app}}\"\n"
    );
    config.flows = [("default".to_owned(), flow(&["main"], &sinks))].into();
    std::fs::create_dir_all(folder.path().join("files/default")).expect("a folder");
    std::fs::write(folder.path().join("files/default/shop"), "in the way").expect("a file");
    let node = started(config.clone()).await;
    crate::figures::rig::send_with(&node, 10, &[("app", "shop")]).await;
    node.roll_now();
    let figures = Arc::clone(node.figures());
    let sent_ms = figures.clock.wall_ms();
    let holes = || {
        let rows = figures.cluster.read(server_cluster::State::audit);
        rows.iter()
            .flat_map(|row| &row.living)
            .any(|living| living.floor > 0 && living.waiting == 10)
    };
    for _ in 0..400 {
        if holes() {
            break;
        }
        node.roll_now();
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert!(holes(), "the floor has passed the hole");
    // They hold the lock of the data directory.
    drop(figures);
    node.stop().await;
    let node = started(config).await;
    let figures = Arc::clone(node.figures());
    for _ in 0..40 {
        let flow = looked(&figures);
        assert!(flow.final_before_ms <= sent_ms, "{flow:?}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    shown(&figures, |flow| flow.final_before_ms > 0).await;
    node.stop().await;
}
