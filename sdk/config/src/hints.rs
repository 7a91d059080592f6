//! What people who know Flume write, and what it is called here.

use crate::document::Found;

/// The type here that does what a type of Flume's does.
pub(crate) fn foreign_type(name: &str, variants: &'static [&'static str]) -> Option<&'static str> {
    const SAME: [(&str, &str); 15] = [
        ("hdfs", "files"),
        ("file_roll", "files"),
        ("file", "durable"),
        ("file", "files"),
        ("jdbc", "durable"),
        ("spillablememory", "durable"),
        ("avro", "collector"),
        ("thrift", "collector"),
        ("grpc", "collector"),
        ("datastream", "data_stream"),
        ("compressedstream", "compressed_stream"),
        ("sequencefile", "sequence_file"),
        ("default", "deflate"),
        ("lzo", "lz4"),
        ("lzop", "lz4"),
    ];
    let name = name.to_lowercase();
    let same = |(flume, ours): &&(&str, &str)| *flume == name && variants.contains(ours);
    SAME.iter().find(same).map(|(_, ours)| *ours)
}

/// What to do about a key of Flume's that has no counterpart of nearly the same name.
pub(crate) fn foreign_key(structure: &str, key: &str) -> Option<&'static str> {
    let plain: String =
        key.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    let nothing = "it has no counterpart here: remove it";
    let hint = match (structure, plain.as_str()) {
        ("NodeConfig", "agent") => "this is an agent's table: `collector-agent check` reads it",
        ("AgentConfig", "node") => "this is a node's table: `collector-server check` reads it",
        ("NodeConfig" | "AgentConfig", "flows") => "flows stand in `[flow.NAME]` tables",
        ("FlowSpec", "sinkgroups") => "sink groups stand in `[flow.NAME.groups.GROUP]` tables",
        ("FilesSink", "hdfs" | "sink") => "write its keys directly into the table of the sink",
        ("FilesSink", "batchsize") => "`batch_bytes` says how much is taken at once, in bytes",
        ("FilesSink", "writeformat") => {
            "write `file_type = { type = \"sequence_file\", write_format = \"text\" }`"
        }
        ("AvroEventSerializer", "syncintervalbytes") => nothing,
        ("FilesSink", "roundvalue" | "roundunit") => {
            "write `round = { value = 10, unit = \"minute\" }`"
        }
        ("FilesSink", "uselocaltimestamp") => {
            "remove it: an event without timestamp has the time it was stored at; the interceptor \
             `timestamp` stamps every event"
        }
        ("FilesSink", "directory") => "the directory is `path`",
        (
            "FilesSink",
            "calltimeout" | "threadspoolsize" | "rolltimerpoolsize" | "closetries"
            | "retryinterval" | "minblockreplicas" | "emptyinusesuffix" | "pathmanager",
        ) => nothing,
        ("DurableChannel" | "MemoryChannel", "transactioncapacity" | "keepalive") => nothing,
        ("DurableChannel", "datadirs" | "checkpointdir" | "checkpointinterval" | "maxfilesize") => {
            "all durable channels of a node share the log under `data_dir`: remove it"
        }
        ("MemoryChannel", "bytecapacity") => "`capacity` is in bytes here",
        ("TaildirSource", "positionfile" | "writeposinterval") => {
            "positions are stored with the events: remove it"
        }
        ("TaildirSource", "cachepatternmatching") => nothing,
        ("TaildirSource", "backoffsleepincrement" | "maxbackoffsleep") => {
            "`poll_interval` says how often to look"
        }
        ("CollectorSink", "hostname" | "host" | "hosts" | "port") => {
            "write `endpoints = [\"http://HOST:7400\"]`"
        }
        ("RemoveHeaderInterceptor", "fromlistseparator") => "`from_list` is a list: remove it",
        ("DefaultGroup" | "FailoverGroup" | "LoadBalanceGroup", "processor") => {
            "write its keys directly into the table of the group"
        }
        ("FailoverGroup", "priority") => "write `sinks = { first = 10, second = 5 }`",
        ("LoadBalanceGroup", "maxtimeout") => "the longest pause is `max_penalty`",
        _ => return None,
    };
    Some(hint)
}

/// What to write when a value is of another type than it should be.
pub(crate) fn other_type(
    key: &str,
    in_list: bool,
    expected: &str,
    found: &Found,
) -> Option<String> {
    let assign = |value: String| match in_list {
        true => format!("write `{value}`"),
        false => format!("write `{key} = {value}`"),
    };
    match (expected, found) {
        ("a list", Found::Text(text)) => {
            let items: Vec<String> = text.split_whitespace().map(|i| format!("{i:?}")).collect();
            Some(assign(format!("[{}]", items.join(", "))))
        }
        ("text", Found::Number(number)) => Some(assign(format!("\"{number}\""))),
        ("text", Found::Truth(truth)) => Some(assign(format!("\"{truth}\""))),
        ("a table", Found::List) if key == "sinks" => {
            Some("give each sink a priority: `sinks = { first = 10, second = 5 }`".to_owned())
        }
        ("a list", Found::Table) if key == "sinks" => {
            Some("only `failover` has priorities: `sinks = [\"first\", \"second\"]`".to_owned())
        }
        ("a list", Found::Table) if key == "optional" => {
            Some("by value of the header it is `optional_mapping`".to_owned())
        }
        (expected, Found::Text(text)) if expected.starts_with("a whole number") => {
            let number: i64 = text.trim().parse().ok()?;
            Some(format!("{}, without quotes", assign(number.to_string())))
        }
        ("`true` or `false`", Found::Text(text)) => {
            let truth: bool = text.trim().to_lowercase().parse().ok()?;
            Some(format!("{}, without quotes", assign(truth.to_string())))
        }
        _ => None,
    }
}
