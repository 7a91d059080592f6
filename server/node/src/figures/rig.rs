//! A node to look at, for tests.

use crate::node::{Node, NodeOptions};
use proto::v1;
use proto::v1::ingest_client::IngestClient;
use sdk_config::{Address, FlowSpec, NodeConfig, SinkSpec, parse_flows};
use std::path::Path;

/// A node of one shard in which no file becomes final by itself.
pub(crate) fn config(folder: &Path) -> NodeConfig {
    let text = |name: &str| folder.join(name).display().to_string();
    let mut config = NodeConfig::without_file(&text("data"), &text("files"));
    for address in [&mut config.node.ingest, &mut config.node.peer, &mut config.node.admin] {
        *address = Address::new("127.0.0.1", 0);
    }
    for flow in config.flows.values_mut() {
        flow.shards = 1;
        for sink in flow.sinks.values_mut() {
            if let SinkSpec::Files(files) = sink {
                files.roll_interval = "1h".parse().expect("a duration");
            }
        }
    }
    config
}

/// The flow `default` of such a node: a source into these channels, and what a flow file says of the
/// rest.
pub(crate) fn flow(channels: &[&str], toml: &str) -> FlowSpec {
    let source = format!(
        "[flow.default]\nshards = 1\n[flow.default.sources.in]\ntype = \"collector\"\n\
         channels = {channels:?}\n"
    );
    let parsed = parse_flows(&format!("{source}{toml}"), "flows.toml", &|_| None);
    let mut flows = parsed.unwrap_or_else(|wrong| panic!("{wrong}")).value;
    flows.remove("default").expect("the flow")
}

pub(crate) async fn started(config: NodeConfig) -> Node {
    Node::start(NodeOptions::new(config)).await.expect("the node starts")
}

pub(crate) async fn send(node: &Node, events: usize) {
    send_with(node, events, &[]).await;
}

pub(crate) async fn send_with(node: &Node, events: usize, headers: &[(&str, &str)]) {
    let mut client = IngestClient::connect(format!("http://{}", node.addresses().ingest))
        .await
        .expect("connect");
    let headers = headers.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let headers = headers.collect();
    let event = v1::PlainEvent { body: "event".into(), headers, ..v1::PlainEvent::default() };
    let request = v1::SendRequest { events: vec![event; events], ..v1::SendRequest::default() };
    client.send(request).await.expect("stored");
}
