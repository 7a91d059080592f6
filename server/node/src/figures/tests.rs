//! What a node forgets, and what it does not keep to itself.

use super::Figures;
use super::rig::{config, send, started};
use crate::http::Faces as _;
use crate::node::Node;
use proto::v1;
use proto::v1::admin_client::AdminClient;
use std::sync::Arc;
use std::time::Duration;

async fn apply(node: &Node, toml: String) {
    let client = AdminClient::connect(format!("http://{}", node.addresses().admin)).await;
    let request = v1::ApplyFlowsRequest { toml, ..v1::ApplyFlowsRequest::default() };
    let reply = client.expect("connect").apply_flows(request).await.expect("an answer");
    assert!(reply.get_ref().valid, "{reply:?}");
}

async fn of_one_lineage(figures: &Figures) {
    for _ in 0..400 {
        if figures.lineages.all().len() == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the lineages before are not drained");
}

/// However often its flows change, a node knows what its lineages need and no more.
#[tokio::test(flavor = "multi_thread")]
async fn versions_that_are_gone_leave_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = started(config(folder.path())).await;
    let figures = Arc::clone(node.figures());
    let files = folder.path().join("files").display().to_string();
    for number in 0..6 {
        let toml = format!(
            "[flow.default]\nshards = 1\n[flow.default.sources.in]\ntype = \"collector\"\n\
             channels = [\"main\"]\n[flow.default.channels.main]\ntype = \"durable\"\n\
             [flow.default.sinks.out{number}]\ntype = \"files\"\nchannel = \"main\"\n\
             path = \"{files}/default/%H\"\n"
        );
        apply(&node, toml).await;
        of_one_lineage(&figures).await;
        let shown = figures.metrics();
        assert!(
            shown.contains(&format!("collector_sink_ok{{flow=\"default\",sink=\"out{number}\"}}"))
        );
    }
    assert!(figures.lineages.versions().len() <= 2, "{:?}", figures.lineages.versions());
    assert!(figures.drains.known_sinks() <= 2, "{}", figures.drains.known_sinks());
    assert!(figures.rates.lock().expect("no panic").values().all(|it| it.bytes_stored.len() == 1));
    let shown = figures.metrics();
    assert!(!shown.contains("collector_sink_ok{flow=\"default\",sink=\"out0\"}"), "{shown}");
    node.stop().await;
}

/// Nobody has to have asked before to be told how fast events come in.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_to_ask_hears_of_the_seconds_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = started(config(folder.path())).await;
    let figures = Arc::clone(node.figures());
    let sampled = || {
        let rates = figures.rates.lock().expect("no panic while the lock is held");
        rates.values().next().is_some_and(|flow| !flow.bytes_stored.is_empty())
    };
    let looked = tokio::time::timeout(Duration::from_secs(30), async {
        while !sampled() {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    });
    looked.await.expect("somebody looks at the counters");
    send(&node, 100).await;
    let flow = figures.look().flows.into_iter().next().expect("the flow");
    assert!(flow.events_per_second > 0.0 && flow.bytes_per_second > 0.0, "{flow:?}");
    node.stop().await;
}

/// A backlog that stays because nothing drains it is a reason, however well all sinks are.
#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_drains_is_a_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = started(config(folder.path())).await;
    let figures = Arc::clone(node.figures());
    figures.drains.finish(Duration::from_secs(10)).await;
    send(&node, 10).await;
    for _ in 0..800 {
        let status = figures.look();
        if let Some(reason) = status.reasons.iter().find(|it| it.contains("nothing drains")) {
            assert!(reason.starts_with("10 events wait for group default/"), "{reason}");
            assert!(!status.healthy);
            node.stop().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("never: {:#?}", figures.look());
}
