//! Files in which nothing is wrong.

pub(crate) const FLOW: &str = r#"
[node]
data_dir = "/var/lib/collector"
[flow.web]
shards = 8
[flow.web.sources.edge]
type = "collector"
channels = ["main", "copy"]
interceptors = ["when"]
selector = { type = "replicating", optional = ["copy"] }
[flow.web.interceptors.when]
type = "timestamp"
[flow.web.channels.main]
type = "durable"
[flow.web.channels.copy]
type = "memory"
[flow.web.sinks.hdfs]
type = "files"
channel = "main"
path = "hdfs://nn/logs/web/%Y-%m-%d/%H%M"
[flow.web.sinks.local]
type = "files"
channel = "main"
path = "/data/web/%Y-%m-%d/%H%M"
[flow.web.groups.out]
type = "failover"
sinks = { hdfs = 10, local = 5 }
[flow.web.sinks.debug]
type = "logger"
channel = "copy"
"#;

pub(crate) const AGENT: &str = r#"
[agent]
data_dir = "/var/lib/agent"
[flow.web.sources.log]
type = "taildir"
channels = ["spool"]
filegroups = { access = "/var/log/nginx/access.log*" }
[flow.web.channels.spool]
type = "durable"
[flow.web.sinks.tier]
type = "collector"
channel = "spool"
endpoints = ["http://node1:7400"]
"#;
