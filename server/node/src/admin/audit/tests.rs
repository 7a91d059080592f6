//! Audits of nodes that are well, and of some that are not.

#![allow(clippy::disallowed_methods, reason = "the tests have files of their own")]

use crate::figures::rig::{config, flow, send_with, started};
use crate::node::Node;
use proto::v1;
use proto::v1::admin_client::AdminClient;
use std::path::Path;
use std::time::Duration;

async fn deep_audit(node: &Node) -> v1::AuditReply {
    let client = AdminClient::connect(format!("http://{}", node.addresses().admin)).await;
    let request = v1::AuditRequest { deep: true, since_ms: 0 };
    client.expect("connect").audit(request).await.expect("an answer").into_inner()
}

/// The audit as soon as nothing waits.
async fn drained(node: &Node) -> v1::AuditReply {
    for _ in 0..400 {
        node.roll_now();
        let books = node.figures().books();
        if books.iter().all(|book| book.pending == 0) {
            return deep_audit(node).await;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("never drained");
}

/// One durable channel and one sink into files, with further keys, of each name.
fn channels(folder: &Path, names: &[&str], keys: &str) -> String {
    let files = folder.join("files");
    let channels = names.iter().map(|name| {
        format!(
            "[flow.default.channels.{name}]\ntype = \"durable\"\n[flow.default.sinks.{name}]\n\
             type = \"files\"\nchannel = \"{name}\"\nroll_interval = \"1h\"\n\
             path = \"{}/{name}/%{{app}}\"\n{keys}\n",
            files.display()
        )
    });
    channels.collect()
}

/// What several groups deliver is not delivered twice: not events with their ids, and not what both
/// make dead letters, which always have ids.
#[tokio::test(flavor = "multi_thread")]
async fn each_group_has_ids_of_its_own() {
    let json = "serializer = { type = \"json\", ids = true }";
    let long = "x".repeat(300);
    for (keys, app, ids) in [(json, "shop", 10), ("", &*long, 10)] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = config(folder.path());
        let names = ["main", "copy"];
        let flow = flow(&names, &channels(folder.path(), &names, keys));
        config.flows = [("default".to_owned(), flow)].into();
        let node = started(config).await;
        send_with(&node, ids, &[("app", app)]).await;
        let audit = drained(&node).await;
        assert!(audit.balanced && audit.ids, "{audit:#?}");
        assert_eq!((audit.files_read, audit.findings.len()), (2, 0), "{audit:#?}");
        assert!(audit.flows.iter().all(|row| row.duplicated == Some(0)), "{audit:#?}");
        node.stop().await;
    }
}

/// The books count files that the list does not have: with the list gone, or a line of it changed.
#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_not_listed_are_missed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config(folder.path());
    let flow = flow(&["main"], &channels(folder.path(), &["main"], ""));
    config.flows = [("default".to_owned(), flow)].into();
    let list = folder.path().join("data/archive");
    let node = started(config.clone()).await;
    send_with(&node, 10, &[("app", "shop")]).await;
    let audit = drained(&node).await;
    assert!(audit.balanced, "{audit:#?}");
    node.stop().await;
    let part = list.join("files-0000000001.jsonl");
    let lines = std::fs::read_to_string(&part).expect("the list");
    let (before, after) = lines.split_once("\"crc\":").expect("a checksum");
    let after = after.trim_start_matches(char::is_numeric);
    std::fs::write(&part, format!("{before}\"crc\":1{after}")).expect("the list");
    let node = started(config.clone()).await;
    let audit = deep_audit(&node).await;
    assert!(!audit.balanced, "{audit:#?}");
    assert!(audit.findings.iter().any(|it| it.contains("not those in the books")), "{audit:#?}");
    node.stop().await;
    std::fs::remove_dir_all(&list).expect("the list goes");
    let node = started(config).await;
    let audit = deep_audit(&node).await;
    assert_eq!((audit.balanced, audit.files_read), (false, 0), "{audit:#?}");
    assert!(audit.findings[0].contains("1 of 1 files are not in this node's list"), "{audit:#?}");
    node.stop().await;
}

/// It reads whatever was ever written: two at once are one too many.
#[tokio::test(flavor = "multi_thread")]
async fn one_deep_audit_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = started(config(folder.path())).await;
    let client = AdminClient::connect(format!("http://{}", node.addresses().admin)).await;
    let client = client.expect("connect");
    let audits = (0..16).map(|_| {
        let mut client = client.clone();
        async move { client.audit(v1::AuditRequest { deep: true, since_ms: 0 }).await }
    });
    let answers = futures::future::join_all(audits).await;
    let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
    assert!(refused.clone().count() < answers.len(), "somebody is first");
    assert!(refused.clone().count() > 0, "the others ask while it runs");
    for refused in refused {
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused}");
    }
    node.stop().await;
}
