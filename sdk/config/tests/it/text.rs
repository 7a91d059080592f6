//! From text to flows and back.

use std::collections::BTreeMap;

use sdk_config::*;

use crate::files::{AGENT, FLOW};
use crate::no_env;

const EXAMPLE: &str = r#"
[node]
data_dir = "/var/lib/collector"
ingest = "127.0.0.1:7400"
[flow.web]
shards = 8
replicas = 3
[flow.web.sources.edge]
type = "collector"                      # SDKs and agents
channels = ["main", "copy"]
interceptors = ["when"]
selector = { type = "multiplexing", header = "app", mapping = { shop = ["main"] }, default = ["main"], optional = ["copy"] }
[flow.web.interceptors.when]
type = "regex_extractor"
regex = '\[(.*?)\]'
serializers = { timestamp = { type = "millis", pattern = "%d/%b/%Y:%H:%M:%S %z" } }
[flow.web.channels.main]
type = "durable"
capacity = "20GiB"
[flow.web.channels.copy]
type = "memory"
[flow.web.sinks.hdfs]
type = "files"
channel = "main"
path = "hdfs://nn/logs/web/%Y-%m-%d/%H%M"
round = { value = 10, unit = "minute" }
roll_interval = "30s"
roll_size = "128MiB"
serializer = "json"
codec = "zstd"
[flow.web.sinks.local]
type = "files"
channel = "main"
path = "/var/lib/collector/spare/web/%Y-%m-%d/%H%M"
[flow.web.groups.out]
type = "failover"
sinks = { hdfs = 10, local = 5 }
[flow.web.sinks.debug]
type = "logger"
channel = "copy"
"#;

fn flows(text: &str) -> BTreeMap<String, FlowSpec> {
    match parse_flows(text, "flow.toml", &no_env) {
        Ok(parsed) => parsed.value,
        Err(diagnostics) => panic!("{diagnostics}"),
    }
}

#[test]
fn the_example_of_the_documentation_is_read() {
    let parsed = parse_node(EXAMPLE, "node.toml", &no_env).unwrap();
    assert!(parsed.warnings.is_empty(), "{}", parsed.warnings);
    let flow = &parsed.value.flows["web"];
    let SinkSpec::Files(hdfs) = &flow.sinks["hdfs"] else { panic!("files") };
    let expected = FilesSink {
        channel: "main".to_owned(),
        path: "hdfs://nn/logs/web/%Y-%m-%d/%H%M".to_owned(),
        round: Some(Round { value: 10, unit: RoundUnit::Minute }),
        serializer: Serializer::Json(JsonSerializer { ids: false }),
        codec: OutputCodec::Zstd(ZstdCodec { level: 3 }),
        ..FilesSink::default()
    };
    assert_eq!(**hdfs, expected);
    let groups: Vec<SinkGroup> = flow.sink_groups();
    assert_eq!(groups.len(), 2);
    assert_eq!((groups[0].name.as_str(), groups[0].channel.as_str()), ("debug", "copy"));
    assert_eq!(groups[1].policy, Policy::Failover);
    assert_eq!(groups[1].members, [("hdfs".to_owned(), 10), ("local".to_owned(), 5)]);
}

#[test]
fn flows_survive_text_and_json() {
    for text in [EXAMPLE, FLOW, AGENT] {
        let flows = flows(text);
        let written = flows_to_toml(&flows).unwrap();
        assert_eq!(self::flows(&written), flows, "{written}");
        let json = serde_json::to_string(&flows).unwrap();
        assert_eq!(serde_json::from_str::<BTreeMap<String, FlowSpec>>(&json).unwrap(), flows);
    }
}

#[test]
fn the_environment_is_in_strings_and_numbers() {
    let env = |name: &str| match name {
        "SHARDS" => Some("4".to_owned()),
        "DIR" => Some("/data".to_owned()),
        _ => None,
    };
    let text = FLOW
        .replace("shards = 8", "shards = \"${env:SHARDS}\"\nreplicas = \"${env:NONE:-2}\"")
        .replace("\"/data/web/", "\"${env:DIR}/${env:NONE:-web}/$${env:DIR}/");
    let parsed = parse_node(&text, "node.toml", &env).unwrap();
    let flow = &parsed.value.flows["web"];
    assert_eq!((flow.shards, flow.replicas), (4, 2));
    let SinkSpec::Files(files) = &flow.sinks["local"] else { panic!("files") };
    assert_eq!(files.path, "/data/web/${env:DIR}/%Y-%m-%d/%H%M");
}

#[test]
fn sinks_of_one_channel_compete_unless_they_have_groups() {
    let text = r#"
[flow.f.sources.s]
type = "seq"
channels = ["c"]
[flow.f.channels]
c = "durable"
[flow.f.sinks]
a = { type = "logger", channel = "c" }
b = { type = "null", channel = "c" }
x = { type = "null", channel = "c" }
[flow.f.groups.own]
type = "default"
sinks = ["x"]
"#;
    let flow = &flows(text)["f"];
    let groups: Vec<String> = flow
        .sink_groups()
        .into_iter()
        .map(|group| format!("{}: {:?}", group.name, group.members))
        .collect();
    assert_eq!(groups, [r#"c: [("a", 0), ("b", 0)]"#, r#"own: [("x", 0)]"#]);
}

#[test]
fn a_flow_without_text_is_checked_the_same() {
    let mut flow = default_flow("/data/files");
    assert_eq!(check_flow("default", &flow, Place::Cluster), []);
    flow.channels.clear();
    let said: Vec<String> =
        check_flow("default", &flow, Place::Cluster).iter().map(Mistake::to_string).collect();
    assert_eq!(said.len(), 3, "{said:#?}");
    assert!(said.iter().any(|text| text.contains("there is no channel `main`")), "{said:#?}");
}

#[test]
fn relative_paths_are_resolved_once() {
    let mut flow = default_flow("./collector-data/files");
    flow.resolve_paths("/srv/100%");
    let SinkSpec::Files(files) = &flow.sinks["files"] else { panic!("files") };
    assert_eq!(files.path, "/srv/100%%/collector-data/files/default/%Y-%m-%d/%H%M/");
    let before = flow.clone();
    flow.resolve_paths("/elsewhere");
    assert_eq!(flow, before);
    assert_eq!(check_flow("default", &flow, Place::Cluster), []);
}
