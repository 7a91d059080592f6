//! One mistake at a time, in a flow that is right otherwise: a mistake is a line, so is its answer.

use expect_test::{Expect, expect};
use sdk_config::{Diagnostics, parse_agent, parse_flows, parse_node};

use crate::files::{AGENT, FLOW};
use crate::no_env;

fn lines(diagnostics: &Diagnostics) -> String {
    let line = |item: &sdk_config::Diagnostic| {
        let help = item.help.as_ref().map(|help| format!(" -> {help}")).unwrap_or_default();
        let value: String = item.value.chars().take(40).collect();
        let (severity, key) = (item.severity, &item.key);
        format!("{severity} {key} = {value}: {}{help}\n", item.message)
    };
    diagnostics.items().iter().map(line).collect()
}

fn node(text: &str) -> String {
    match parse_node(text, "flow.toml", &no_env) {
        Ok(parsed) => lines(&parsed.warnings),
        Err(diagnostics) => lines(&diagnostics),
    }
}

fn agent(text: &str) -> String {
    match parse_agent(text, "agent.toml", &no_env) {
        Ok(parsed) => lines(&parsed.warnings),
        Err(diagnostics) => lines(&diagnostics),
    }
}

/// Replaces what stands behind `@` by each line below it (`⏎` ends a line) and puts down what is said.
#[track_caller]
fn each(answer: fn(&str) -> String, base: &str, changes: &str, expected: Expect) {
    let mut answers = String::new();
    let mut right = "";
    for change in changes.trim().lines() {
        if let Some(part) = change.strip_prefix("@ ") {
            right = part;
            continue;
        }
        let wrong = if change == "(nothing)" { "" } else { change };
        let (right, wrong) = (right.replace(" ⏎ ", "\n"), wrong.replace(" ⏎ ", "\n"));
        assert!(base.contains(&right), "{right}");
        let said = answer(&base.replacen(&right, &wrong, 1));
        answers.push_str(&format!("## {change}\n{said}"));
    }
    expected.assert_eq(&answers);
}

#[test]
fn nothing_is_said_about_what_is_right() {
    assert_eq!(node(FLOW), "");
    assert_eq!(agent(AGENT), "");
}

#[test]
fn keys_and_types() {
    let changes = r##"
@ shards = 8
shard = 8
shards = "8"
shards = -1
shards = 2000
replicas = 0
frobnicate = true
sources = 5
@ [node]
[nodes]
[agent]
@ type = "durable"
type = "file"
type = "xyzzy"
(nothing)
type = 7
type = "durable" ⏎ capacity = 10000
type = "durable" ⏎ capacity = "0"
type = "durable" ⏎ transactionCapacity = 100
type = "durable" ⏎ capacity = true
@ channels = ["main", "copy"]
channels = "main copy"
channels = ["main", 5]
channels = ["main", "copy", "copy"]
(nothing)
@ optional = ["copy"]
optional = { x = ["copy"] }
optional = ["cpoy"]
@ path = "/data/web/%Y-%m-%d/%H%M"
path = "/data/web/%Y" ⏎ round = { value = 10, unit = "minutes" }
path = "/data/web/%Y" ⏎ round = true
path = "/data/web/%Y" ⏎ roundValue = 10
path = "/data/web/%Y" ⏎ serializer = "jsn"
path = "/data/web/%Y" ⏎ serializer = { type = "json", id = true }
path = "/data/web/%Y" ⏎ codec = { type = "none", level = 3 }
path = "/data/web/%Y" ⏎ hdfs.fileType = "DataStream"
path = "/data/web/%Y" ⏎ fileType = "DataStream"
path = "/data/web/%Y" ⏎ file_type = "SequenceFile"
path = "/data/web/%Y" ⏎ file_type = { type = "sequence_file", write_format = "Text" }
path = "/data/web/%Y" ⏎ writeFormat = "Text"
path = "/data/web/%Y" ⏎ codec = "lzo"
path = "/data/web/%Y" ⏎ serializer = { type = "avro_event", compressionCodec = "snappy" }
path = "/data/web/%Y" ⏎ roll_interval = "30"
path = "/data/web/%Y" ⏎ roll_interval = 30
path = "/data/web/%Y" ⏎ roll_interval = "30 fortnights"
path = "/data/web/%Y" ⏎ roll_interval = 2026-11-21
path = "/data/web/%Y" ⏎ roll_count = 1.5
path = "/data/web/%Y" ⏎ roll_count = 99999999999999999999
path = "/data/web/%Y" ⏎ require_timestamp = "yes"
path = "/data/web/%Y" ⏎ require_timestamp = "true"
"##;
    each(
        node,
        FLOW,
        changes,
        expect![[r###"
            ## shard = 8
            error flow.web.shard = shard: unknown key `shard` -> did you mean `shards`?
            ## shards = "8"
            error flow.web.shards = "8": `shards` must be a whole number of 0 or more, not the text "8" -> write `shards = 8`, without quotes
            ## shards = -1
            error flow.web.shards = -1: `shards` must be a whole number of 0 or more, not the number -1
            ## shards = 2000
            error flow.web.shards = 2000: `shards` cannot be 2000 -> 1 to 1024
            ## replicas = 0
            error flow.web.replicas = 0: `replicas` cannot be 0 -> 1 to 16
            ## frobnicate = true
            error flow.web.frobnicate = frobnicate: unknown key `frobnicate` -> the keys here are `shards`, `replicas`, `sources`, `interceptors`, `channels`, `sinks`, `groups`
            ## sources = 5
            error flow.web.sources = 5: `sources` must be a table, not the number 5
            error  = sources: `sources` is a value and a table -> remove the value, or name the table otherwise
            ## [nodes]
            error nodes = nodes: unknown key `nodes` -> did you mean `node`?
            ## [agent]
            error agent = agent: unknown key `agent` -> this is an agent's table: `collector-agent check` reads it
            ## type = "file"
            error flow.web.channels.main.type = "file": unknown type: `file` -> did you mean `durable`?
            ## type = "xyzzy"
            error flow.web.channels.main.type = "xyzzy": unknown type: `xyzzy` -> there are `durable`, `memory`
            ## (nothing)
            error flow.web.channels.main = main: `type` is missing -> there are `durable`, `memory`
            ## type = 7
            error flow.web.channels.main.type = 7: `type` must be text, not the number 7 -> there are `durable`, `memory`
            ## type = "durable" ⏎ capacity = 10000
            error flow.web.channels.main.capacity = 10000: a size has a unit -> write `"10000B"`, `"10000KiB"` or `"10000MiB"`
            ## type = "durable" ⏎ capacity = "0"
            error flow.web.channels.main.capacity = "0": `capacity` must be more than 0
            ## type = "durable" ⏎ transactionCapacity = 100
            error flow.web.channels.main.transactionCapacity = transactionCapacity: unknown key `transactionCapacity` -> it has no counterpart here: remove it
            ## type = "durable" ⏎ capacity = true
            error flow.web.channels.main.capacity = true: `capacity` must be a size such as "128MiB", not `true`
            ## channels = "main copy"
            error flow.web.sources.edge.channels = "main copy": `channels` must be a list, not the text "main copy" -> write `channels = ["main", "copy"]`
            ## channels = ["main", 5]
            error flow.web.sources.edge.channels[1] = 5: an element of `channels` must be text, not the number 5 -> write `"5"`
            ## channels = ["main", "copy", "copy"]
            error flow.web.sources.edge.channels[2] = "copy": `copy` is named twice -> once will do
            ## (nothing)
            error flow.web.sources.edge.channels = edge: `channels` is required -> write `channels = ["copy", "main"]`
            ## optional = { x = ["copy"] }
            error flow.web.sources.edge.selector.optional = optional: `optional` must be a list, not a table -> by value of the header it is `optional_mapping`
            ## optional = ["cpoy"]
            error flow.web.sources.edge.selector.optional[0] = "cpoy": `cpoy` is no channel of this source -> did you mean `copy`?
            ## path = "/data/web/%Y" ⏎ round = { value = 10, unit = "minutes" }
            error flow.web.sinks.local.round.unit = "minutes": unknown value for `unit`: `minutes` -> did you mean `minute`?
            ## path = "/data/web/%Y" ⏎ round = true
            error flow.web.sinks.local.round = true: `round` must be a table, not `true`
            ## path = "/data/web/%Y" ⏎ roundValue = 10
            error flow.web.sinks.local.roundValue = roundValue: unknown key `roundValue` -> write `round = { value = 10, unit = "minute" }`
            ## path = "/data/web/%Y" ⏎ serializer = "jsn"
            error flow.web.sinks.local.serializer = "jsn": unknown value for `serializer`: `jsn` -> did you mean `json`?
            ## path = "/data/web/%Y" ⏎ serializer = { type = "json", id = true }
            error flow.web.sinks.local.serializer.id = id: unknown key `id` -> did you mean `ids`?
            ## path = "/data/web/%Y" ⏎ codec = { type = "none", level = 3 }
            error flow.web.sinks.local.codec.level = level: unknown key `level` -> remove it
            ## path = "/data/web/%Y" ⏎ hdfs.fileType = "DataStream"
            error flow.web.sinks.local.hdfs = hdfs: unknown key `hdfs` -> write its keys directly into the table of the sink
            ## path = "/data/web/%Y" ⏎ fileType = "DataStream"
            error flow.web.sinks.local.fileType = fileType: unknown key `fileType` -> did you mean `file_type`?
            error flow.web.sinks.local.file_type = "DataStream": unknown value for `file_type`: `DataStream` -> did you mean `data_stream`?
            ## path = "/data/web/%Y" ⏎ file_type = "SequenceFile"
            error flow.web.sinks.local.file_type = "SequenceFile": unknown value for `file_type`: `SequenceFile` -> did you mean `sequence_file`?
            ## path = "/data/web/%Y" ⏎ file_type = { type = "sequence_file", write_format = "Text" }
            error flow.web.sinks.local.file_type.write_format = "Text": unknown value for `write_format`: `Text` -> did you mean `text`?
            ## path = "/data/web/%Y" ⏎ writeFormat = "Text"
            error flow.web.sinks.local.writeFormat = writeFormat: unknown key `writeFormat` -> write `file_type = { type = "sequence_file", write_format = "text" }`
            ## path = "/data/web/%Y" ⏎ codec = "lzo"
            error flow.web.sinks.local.codec = "lzo": unknown value for `codec`: `lzo` -> did you mean `lz4`?
            ## path = "/data/web/%Y" ⏎ serializer = { type = "avro_event", compressionCodec = "snappy" }
            error flow.web.sinks.local.serializer.compressionCodec = compressionCodec: unknown key `compressionCodec` -> did you mean `compression_codec`?
            ## path = "/data/web/%Y" ⏎ roll_interval = "30"
            error flow.web.sinks.local.roll_interval = "30": a duration has a unit -> write `"30s"`, or `"30ms"` for milliseconds
            ## path = "/data/web/%Y" ⏎ roll_interval = 30
            error flow.web.sinks.local.roll_interval = 30: a duration has a unit -> write `"30s"`, or `"30ms"` for milliseconds
            ## path = "/data/web/%Y" ⏎ roll_interval = "30 fortnights"
            error flow.web.sinks.local.roll_interval = "30 fortnights": `fortnights` is not a unit of time -> the units are ms, s, m, h and d
            ## path = "/data/web/%Y" ⏎ roll_interval = 2026-11-21
            error flow.web.sinks.local.roll_interval = 2026-11-21: `roll_interval` must be a duration such as "30s", not a date
            ## path = "/data/web/%Y" ⏎ roll_count = 1.5
            error flow.web.sinks.local.roll_count = 1.5: `roll_count` must be a whole number of 0 or more, not the number 1.5
            ## path = "/data/web/%Y" ⏎ roll_count = 99999999999999999999
            error flow.web.sinks.local.roll_count = 99999999999999999999: the number is too large
            ## path = "/data/web/%Y" ⏎ require_timestamp = "yes"
            error flow.web.sinks.local.require_timestamp = "yes": `require_timestamp` must be `true` or `false`, not the text "yes"
            ## path = "/data/web/%Y" ⏎ require_timestamp = "true"
            error flow.web.sinks.local.require_timestamp = "true": `require_timestamp` must be `true` or `false`, not the text "true" -> write `require_timestamp = true`, without quotes
        "###]],
    );
}

#[test]
fn names_that_must_exist() {
    let changes = r##"
@ channel = "main"
channel = "mian"
channel = "elsewhere"
(nothing)
chanel = "main"
@ interceptors = ["when"]
interceptors = ["wehn"]
(nothing)
@ [flow.web.channels.main]
[flow.web.channels.spare] ⏎ type = "durable" ⏎ [flow.web.channels.main]
[flow.web.channels._x] ⏎ type = "durable" ⏎ [flow.web.channels.main]
@ [flow.web.sources.edge]
[flow.web.sources.a] ⏎ type = "collector" ⏎ channels = ["main"] ⏎ [flow.web.sources.edge]
@ optional = ["copy"]
optional = []
optional = ["copy", "main"]
@ type = "replicating", optional = ["copy"]
type = "multiplexing"
type = "multiplexing", header = "app", mapping = { shop = ["main"] }
type = "multiplexing", mapping = { shop = ["spare"], x = [] }, default = ["copy", "main"]
@ sinks = { hdfs = 10, local = 5 }
sinks = { hdfs = 10, locl = 5 }
sinks = { hdfs = 10, local = 10 }
sinks = { hdfs = 10, local = 5, debug = 1 }
sinks = ["hdfs", "local"]
sinks = { hdfs = 10 }
(nothing)
sinks = { hdfs = "high", local = 5 }
sinks = { hdfs = 10, local = 5 } ⏎ max_penalty = "0s"
sinks = { hdfs = 10, local = 5 } ⏎ maxpenalty = "30s"
@ type = "failover" ⏎ sinks = { hdfs = 10, local = 5 }
type = "load_balance" ⏎ sinks = ["hdfs"]
type = "loadbalance" ⏎ selector = "robin" ⏎ sinks = ["hdfs", "local"]
@ [flow.web.groups.out] ⏎ type = "failover" ⏎ sinks = { hdfs = 10, local = 5 }
(nothing)
@ [flow.web.groups.out]
[flow.web.groups.more] ⏎ type = "default" ⏎ sinks = ["local"] ⏎ [flow.web.groups.out]
[flow.web.groups.debug]
@ channel = "copy"
channel = "main"
"##;
    each(
        node,
        FLOW,
        changes,
        expect![[r###"
            ## channel = "mian"
            error flow.web.sinks.hdfs.channel = "mian": there is no channel `mian` -> did you mean `main`?
            ## channel = "elsewhere"
            error flow.web.sinks.hdfs.channel = "elsewhere": there is no channel `elsewhere` -> there are the channels `copy`, `main`
            ## (nothing)
            error flow.web.sinks.hdfs.channel = hdfs: `channel` is required -> write `channel = "copy"`
            ## chanel = "main"
            error flow.web.sinks.hdfs.chanel = chanel: unknown key `chanel` -> did you mean `channel`?
            ## interceptors = ["wehn"]
            error flow.web.sources.edge.interceptors[0] = "wehn": there is no interceptor `wehn` -> did you mean `when`?
            ## (nothing)
            warning flow.web.interceptors.when = when: no source uses the interceptor `when` -> name it in `interceptors` of a source, or remove it
            ## [flow.web.channels.spare] ⏎ type = "durable" ⏎ [flow.web.channels.main]
            warning flow.web.channels.spare = spare: no source puts into the channel `spare` -> name it in `channels` of a source, or remove it
            warning flow.web.channels.spare = spare: no sink takes from the channel `spare` -> it fills up, and then its sources are refused: add a sink, or remove it
            ## [flow.web.channels._x] ⏎ type = "durable" ⏎ [flow.web.channels.main]
            error flow.web.channels._x = _x: "_x" cannot be a name -> a name has 1 to 64 letters, digits, `_`, `-` and `.`, and begins with a letter or digit
            ## [flow.web.sources.a] ⏎ type = "collector" ⏎ channels = ["main"] ⏎ [flow.web.sources.edge]
            error flow.web.sources.edge = edge: `a` receives what producers send to this flow already -> a flow has one source `collector`; give the other events a flow of their own
            ## optional = []
            warning flow.web.sources.edge.channels[1] = "copy": the memory channel `copy` is required -> the flow then acknowledges at the level `received`, whatever its other channels are; a selector can make it optional
            ## optional = ["copy", "main"]
            warning flow.web.sources.edge.selector.optional = ["copy", "main"]: every channel is optional -> an event that no channel has room for is dropped; leave one required
            ## type = "multiplexing"
            error flow.web.sources.edge.selector.mapping = selector: `mapping` is required -> write `mapping = { VALUE = ["CHANNEL"] }`
            ## type = "multiplexing", header = "app", mapping = { shop = ["main"] }
            warning flow.web.sources.edge.channels[1] = "copy": the selector never chooses `copy` -> give it a mapping, or remove it from `channels`
            warning flow.web.sources.edge.selector = selector: events without a mapping are dropped -> name channels for them: `default = ["CHANNEL"]`
            ## type = "multiplexing", mapping = { shop = ["spare"], x = [] }, default = ["copy", "main"]
            error flow.web.sources.edge.selector.mapping.shop[0] = "spare": `spare` is no channel of this source -> add `spare` to `channels` of this source
            error flow.web.sources.edge.selector.mapping.x = []: a mapping names at least one channel -> remove it: what has no mapping goes to `default`
            ## sinks = { hdfs = 10, locl = 5 }
            error flow.web.groups.out.sinks.locl = 5: there is no sink `locl` -> did you mean `local`?
            ## sinks = { hdfs = 10, local = 10 }
            error flow.web.groups.out.sinks.local = 10: `hdfs` and `local` have the same priority 10 -> give each its own; the highest goes first
            ## sinks = { hdfs = 10, local = 5, debug = 1 }
            error flow.web.groups.out.sinks.debug = 1: `hdfs` (`files`) and `debug` (`logger`) cannot share a group -> files are written exactly once by a ledger, which other sinks have not
            ## sinks = ["hdfs", "local"]
            error flow.web.groups.out.sinks = ["hdfs", "local"]: `sinks` must be a table, not a list -> give each sink a priority: `sinks = { first = 10, second = 5 }`
            ## sinks = { hdfs = 10 }
            warning flow.web.groups.out.sinks = sinks: there is nothing to fail over to -> name a second sink with a lower priority
            ## (nothing)
            error flow.web.groups.out.sinks = out: `sinks` is required -> write `sinks = { first = 10, second = 5 }`
            ## sinks = { hdfs = "high", local = 5 }
            error flow.web.groups.out.sinks.hdfs = "high": `hdfs` must be a whole number, not the text "high"
            ## sinks = { hdfs = 10, local = 5 } ⏎ max_penalty = "0s"
            error flow.web.groups.out.max_penalty = "0s": `max_penalty` must be more than 0 -> a failed sink would be tried again without pause
            ## sinks = { hdfs = 10, local = 5 } ⏎ maxpenalty = "30s"
            error flow.web.groups.out.maxpenalty = maxpenalty: unknown key `maxpenalty` -> did you mean `max_penalty`?
            ## type = "load_balance" ⏎ sinks = ["hdfs"]
            error flow.web.groups.out.sinks = ["hdfs"]: one sink shares no load -> `load_balance` has at least two sinks
            ## type = "loadbalance" ⏎ selector = "robin" ⏎ sinks = ["hdfs", "local"]
            error flow.web.groups.out.type = "loadbalance": unknown type: `loadbalance` -> did you mean `load_balance`?
            error flow.web.groups.out.selector = "robin": unknown value for `selector`: `robin` -> did you mean `round_robin`?
            ## (nothing)
            warning flow.web.sinks.local.channel = "main": `hdfs` and `local` compete: each event goes to one of them -> say so with a group, or give each a group or a channel of its own if both should have every event
            ## [flow.web.groups.more] ⏎ type = "default" ⏎ sinks = ["local"] ⏎ [flow.web.groups.out]
            error flow.web.groups.out.sinks.local = 5: the sink `local` is in the group `more` already -> a sink is in one group: two cursors would deliver everything twice
            ## [flow.web.groups.debug]
            error flow.web.groups.debug = debug: the group `debug` needs another name -> the sink of that name is a group by itself
            ## channel = "main"
            warning flow.web.channels.copy = copy: no sink takes from the channel `copy` -> it fills up, and then its sources are refused: add a sink, or remove it
        "###]],
    );
}

#[test]
fn paths_and_files() {
    let changes = r##"
@ path = "/data/web/%Y-%m-%d/%H%M"
(nothing)
path = "/data/%Y-%m-%d"
path = "/%Y"
path = "hdfs://nn/%Y"
path = "hdfs:///logs/web/%Y"
path = "s3://bucket/logs/web"
path = "/data/web/%Q"
path = "/data/web/100%"
path = "/data/web/%{sp ace}"
path = "/data/web/%{app"
path = "/data/web/%[hostname]"
path = "/data/web/../%Y"
path = "/data//web/./%Y"
path = "/data/web/_dead/%Y"
path = "/.reserved/raw/%Y"
path = "/data/%[FQDN]/%Y"
path = "/data/web%Y"
path = "/data/100%%/%Y"
path = "./%Y"
path = "./a/b/%Y"
path = "~/a/%Y"
path = "/data/web/a/b/c/d/e/f/g/h/i/j/k/l/m/n/%D"
path = "/data/web/${HOME}"
path = "/data/web/${env:FOLDER}"
path = "/data/web/${env:FOLDER:-x}/$${env:Y}"
path = "/data/web/${env:FOLDER"
path = "/data/web" ⏎ round = { value = 10, unit = "minute" }
path = "/data/web/%H" ⏎ round = { value = 25, unit = "hour" }
path = "/data/web/%H" ⏎ round = { value = 0 }
path = "/data/web/%H" ⏎ time_zone = "Europe/Berln"
path = "/data/web/%H" ⏎ time_zone = ""
path = "/data/web/%H" ⏎ file_prefix = "a/b"
path = "/data/web/%H" ⏎ file_prefix = "%D"
path = "/data/web/%H" ⏎ file_prefix = "_x"
path = "/data/web/%H" ⏎ file_prefix = ""
path = "/data/web/%H" ⏎ file_suffix = "log"
path = "/data/web/%H" ⏎ file_suffix = ".%H"
path = "/data/web/%H" ⏎ file_suffix = ".gz" ⏎ codec = "gzip"
path = "/data/web/%H" ⏎ in_use_prefix = "_"
path = "/data/web/%H" ⏎ in_use_suffix = ".tmp"
path = "/data/web/%H" ⏎ roll_interval = "1s"
path = "/data/web/%H" ⏎ roll_interval = "1ms"
path = "/data/web/%H" ⏎ roll_size = "1KiB" ⏎ roll_count = 10
path = "/data/web/%H" ⏎ roll_size = 0 ⏎ roll_interval = 0
path = "/data/web/%H" ⏎ codec = { type = "zstd", level = 30 }
path = "/data/web/%H" ⏎ codec = { type = "bzip2", level = 10 }
path = "/data/web/%H" ⏎ file_type = "data_stream" ⏎ codec = "gzip"
path = "/data/web/%H" ⏎ file_type = "compressed_stream"
path = "/data/web/%H" ⏎ file_type = "sequence_file" ⏎ codec = "snappy"
path = "/data/web/%H" ⏎ file_type = "sequence_file" ⏎ serializer = "json"
path = "/data/web/%H" ⏎ serializer = "avro_event" ⏎ codec = "gzip"
path = "/data/web/%H" ⏎ serializer = "avro_event" ⏎ file_type = "compressed_stream"
path = "/data/web/%H" ⏎ serializer = "avro_event" ⏎ file_suffix = ".avro"
path = "/data/web/%H" ⏎ serializer = "avro_event" ⏎ file_type = "data_stream"
path = "/data/web/%H" ⏎ max_open_files = 0
path = "/data/web/%H" ⏎ batch_bytes = "1GiB"
"##;
    each(
        node,
        FLOW,
        changes,
        expect![[r###"
            ## (nothing)
            error flow.web.sinks.local.path = local: `path` is required -> write `path = "/var/lib/collector/files/%Y-%m-%d/%H%M"`
            ## path = "/data/%Y-%m-%d"
            error flow.web.sinks.local.path = "/data/%Y-%m-%d": the path has too short a literal beginning -> at least 2 directories before the first escape, as in `/data/web/%Y-%m-%d`: staging lives there
            ## path = "/%Y"
            error flow.web.sinks.local.path = "/%Y": the path has too short a literal beginning -> at least 2 directories before the first escape, as in `/data/web/%Y-%m-%d`: staging lives there
            ## path = "hdfs://nn/%Y"
            error flow.web.sinks.local.path = "hdfs://nn/%Y": the path has too short a literal beginning -> at least 2 directories before the first escape, as in `/data/web/%Y-%m-%d`: staging lives there
            ## path = "hdfs:///logs/web/%Y"
            error flow.web.sinks.local.path = "hdfs:///logs/web/%Y": the path names no file system -> write `hdfs://NAMESERVICE/PATH` or `hdfs://HOST:PORT/PATH`
            ## path = "s3://bucket/logs/web"
            error flow.web.sinks.local.path = "s3://bucket/logs/web": `s3://` is not supported -> a path on a local disk, or `hdfs://…`
            ## path = "/data/web/%Q"
            error flow.web.sinks.local.path = "/data/web/%Q": `%Q` is not an escape -> the letters are a A b B c d D e H I j k l m n M p s S y Y z t; `%%` is the sign itself
            ## path = "/data/web/100%"
            error flow.web.sinks.local.path = "/data/web/100%": `%` stands at the end -> write `%%` for the sign itself
            ## path = "/data/web/%{sp ace}"
            error flow.web.sinks.local.path = "/data/web/%{sp ace}": `%{sp ace}` names no header -> write `%{name}`; a name has letters, digits, `_`, `.` and `-`
            ## path = "/data/web/%{app"
            error flow.web.sinks.local.path = "/data/web/%{app": `%{app` names no header -> write `%{name}`; a name has letters, digits, `_`, `.` and `-`
            ## path = "/data/web/%[hostname]"
            error flow.web.sinks.local.path = "/data/web/%[hostname]": `%[hostname]` is not known -> there are `%[localhost]`, `%[IP]` and `%[FQDN]`
            ## path = "/data/web/../%Y"
            error flow.web.sinks.local.path = "/data/web/../%Y": `.` and `..` are no directories here -> write the path as it is without them
            ## path = "/data//web/./%Y"
            error flow.web.sinks.local.path = "/data//web/./%Y": `.` and `..` are no directories here -> write the path as it is without them
            ## path = "/data/web/_dead/%Y"
            error flow.web.sinks.local.path = "/data/web/_dead/%Y": `_dead` is a name of the sink's own -> staging and dead letters live there: choose another
            ## path = "/.reserved/raw/%Y"
            error flow.web.sinks.local.path = "/.reserved/raw/%Y": `/.reserved` is the file system's own -> choose another
            ## path = "/data/%[FQDN]/%Y"
            ## path = "/data/web%Y"
            error flow.web.sinks.local.path = "/data/web%Y": the path has too short a literal beginning -> at least 2 directories before the first escape, as in `/data/web/%Y-%m-%d`: staging lives there
            ## path = "/data/100%%/%Y"
            ## path = "./%Y"
            error flow.web.sinks.local.path = "./%Y": the path has too short a literal beginning -> at least 2 directories before the first escape, as in `/data/web/%Y-%m-%d`: staging lives there
            ## path = "./a/b/%Y"
            ## path = "~/a/%Y"
            error flow.web.sinks.local.path = "~/a/%Y": `~` is not expanded -> write `${env:HOME}`
            ## path = "/data/web/a/b/c/d/e/f/g/h/i/j/k/l/m/n/%D"
            error flow.web.sinks.local.path = "/data/web/a/b/c/d/e/f/g/h/i/j/k/l/m/n/%: the path is 19 directories deep -> at most 16
            ## path = "/data/web/${HOME}"
            warning flow.web.sinks.local.path = "/data/web/${HOME}": `${HOME}` is taken as it is -> an environment variable is written `${env:HOME}`
            ## path = "/data/web/${env:FOLDER}"
            error flow.web.sinks.local.path = "/data/web/${env:FOLDER}": the environment has no `FOLDER` -> set it, or write a default: `${env:FOLDER:-…}`
            ## path = "/data/web/${env:FOLDER:-x}/$${env:Y}"
            ## path = "/data/web/${env:FOLDER"
            error flow.web.sinks.local.path = "/data/web/${env:FOLDER": `${env:` has no `}` -> write `${env:NAME:-default}`
            ## path = "/data/web" ⏎ round = { value = 10, unit = "minute" }
            warning flow.web.sinks.local.round = round: `round` means nothing here -> the path has no escape for a time, such as `%H%M`
            ## path = "/data/web/%H" ⏎ round = { value = 25, unit = "hour" }
            error flow.web.sinks.local.round.value = 25: cannot round to 25 hours -> 1 to 24
            ## path = "/data/web/%H" ⏎ round = { value = 0 }
            error flow.web.sinks.local.round.value = 0: cannot round to 0 seconds -> 1 to 60
            ## path = "/data/web/%H" ⏎ time_zone = "Europe/Berln"
            error flow.web.sinks.local.time_zone = "Europe/Berln": `Europe/Berln` is not a time zone -> did you mean `Europe/Berlin`?
            ## path = "/data/web/%H" ⏎ time_zone = ""
            error flow.web.sinks.local.time_zone = "": `` is not a time zone -> write an IANA name such as `Europe/Berlin`
            ## path = "/data/web/%H" ⏎ file_prefix = "a/b"
            error flow.web.sinks.local.file_prefix = "a/b": a file's name has no `/` -> directories belong into `path`
            ## path = "/data/web/%H" ⏎ file_prefix = "%D"
            error flow.web.sinks.local.file_prefix = "%D": a file's name has no `/` -> directories belong into `path`
            ## path = "/data/web/%H" ⏎ file_prefix = "_x"
            warning flow.web.sinks.local.file_prefix = "_x": the files' names begin with a dot or `_` -> jobs take such files for hidden and pass them over
            ## path = "/data/web/%H" ⏎ file_prefix = ""
            error flow.web.sinks.local.file_prefix = "": `file_prefix` is required -> a name without one is passed over by jobs
            ## path = "/data/web/%H" ⏎ file_suffix = "log"
            warning flow.web.sinks.local.file_suffix = "log": the suffix follows a number without a dot -> write `file_suffix = ".log"`
            ## path = "/data/web/%H" ⏎ file_suffix = ".%H"
            warning flow.web.sinks.local.file_suffix = ".%H": escapes are not expanded in a suffix -> `file_prefix` and `path` have them
            ## path = "/data/web/%H" ⏎ file_suffix = ".gz" ⏎ codec = "gzip"
            warning flow.web.sinks.local.file_suffix = ".gz": names get `.gz` anyway -> remove it from the suffix
            ## path = "/data/web/%H" ⏎ in_use_prefix = "_"
            warning flow.web.sinks.local.in_use_prefix = in_use_prefix: `in_use_prefix` means nothing here -> unfinished files live in staging, under no name a job would read
            ## path = "/data/web/%H" ⏎ in_use_suffix = ".tmp"
            warning flow.web.sinks.local.in_use_suffix = in_use_suffix: `in_use_suffix` means nothing here -> unfinished files live in staging, under no name a job would read
            ## path = "/data/web/%H" ⏎ roll_interval = "1s"
            warning flow.web.sinks.local.roll_interval = "1s": rolling at 1s makes many small files -> each costs memory of a name node and time of a job; the default is larger
            ## path = "/data/web/%H" ⏎ roll_interval = "1ms"
            error flow.web.sinks.local.roll_interval = "1ms": `roll_interval` cannot be 1ms -> at least `"100ms"`, or 0 for never
            ## path = "/data/web/%H" ⏎ roll_size = "1KiB" ⏎ roll_count = 10
            warning flow.web.sinks.local.roll_size = "1KiB": rolling at 1KiB makes many small files -> each costs memory of a name node and time of a job; the default is larger
            warning flow.web.sinks.local.roll_count = 10: rolling at 10 events makes many small files -> each costs memory of a name node and time of a job; the default is larger
            ## path = "/data/web/%H" ⏎ roll_size = 0 ⏎ roll_interval = 0
            warning flow.web.sinks.local.roll_interval = 0: no rule ever rolls a file -> events become final only at an orderly stop: keep one of the rules
            ## path = "/data/web/%H" ⏎ codec = { type = "zstd", level = 30 }
            error flow.web.sinks.local.codec.level = 30: `level` cannot be 30 -> 1 (fast) to 19 (small)
            ## path = "/data/web/%H" ⏎ codec = { type = "bzip2", level = 10 }
            error flow.web.sinks.local.codec.level = 10: `level` cannot be 10 -> 1 (fast) to 9 (small)
            ## path = "/data/web/%H" ⏎ file_type = "data_stream" ⏎ codec = "gzip"
            error flow.web.sinks.local.file_type = "data_stream": a data stream has no codec -> write `file_type = "compressed_stream"`, or remove `codec`
            ## path = "/data/web/%H" ⏎ file_type = "compressed_stream"
            error flow.web.sinks.local.file_type = "compressed_stream": a compressed stream has a codec -> write `codec = "gzip"`, or `file_type = "data_stream"`
            ## path = "/data/web/%H" ⏎ file_type = "sequence_file" ⏎ codec = "snappy"
            ## path = "/data/web/%H" ⏎ file_type = "sequence_file" ⏎ serializer = "json"
            warning flow.web.sinks.local.serializer = serializer: `serializer` means nothing in a SequenceFile -> its keys are timestamps, its values bodies: headers are lost
            ## path = "/data/web/%H" ⏎ serializer = "avro_event" ⏎ codec = "gzip"
            error flow.web.sinks.local.codec = "gzip": an Avro container is compressed inside -> write `serializer = { type = "avro_event", compression_codec = "deflate" }` and no codec for the stream
            ## path = "/data/web/%H" ⏎ serializer = "avro_event" ⏎ file_type = "compressed_stream"
            error flow.web.sinks.local.file_type = "compressed_stream": an Avro container is compressed inside -> write `serializer = { type = "avro_event", compression_codec = "deflate" }` and no codec for the stream
            ## path = "/data/web/%H" ⏎ serializer = "avro_event" ⏎ file_suffix = ".avro"
            warning flow.web.sinks.local.file_suffix = ".avro": names get `.avro` anyway -> remove it from the suffix
            ## path = "/data/web/%H" ⏎ serializer = "avro_event" ⏎ file_type = "data_stream"
            ## path = "/data/web/%H" ⏎ max_open_files = 0
            error flow.web.sinks.local.max_open_files = 0: `max_open_files` must be more than 0
            ## path = "/data/web/%H" ⏎ batch_bytes = "1GiB"
            error flow.web.sinks.local.batch_bytes = "1GiB": `batch_bytes` cannot be 1GiB -> 1B to 64MiB
        "###]],
    );
}

#[test]
fn interceptors() {
    let changes = r##"
@ type = "timestamp"
type = "timestamp" ⏎ header_name = ""
type = "timestamp" ⏎ preserveExisting = true
type = "uuid"
type = "host" ⏎ use_ip = 1
type = "remove_header"
type = "remove_header" ⏎ matching = "("
type = "regex_filter" ⏎ regex = "(?<!a)b"
type = "regex_filter" ⏎ regex = "[a"
type = "search_replace"
type = "search_replace" ⏎ search_pattern = "(a)" ⏎ replace_string = "$2"
type = "search_replace" ⏎ search_pattern = "(a)" ⏎ replace_string = "$10 ok"
type = "search_replace" ⏎ search_pattern = "(a)" ⏎ replace_string = "5$"
type = "search_replace" ⏎ search_pattern = "a" ⏎ charset = "latin1"
type = "regex_extractor"
type = "regex_extractor" ⏎ regex = 'a(.)'
type = "regex_extractor" ⏎ regex = 'a(.)' ⏎ serializers = { x = {}, y = {} }
type = "regex_extractor" ⏎ regex = 'a(.)(.)' ⏎ serializers = { x = {} }
type = "regex_extractor" ⏎ regex = 'a(.)' ⏎ serializers = { x = { type = "millis" } }
type = "regex_extractor" ⏎ regex = 'a(.)' ⏎ serializers = { x = { type = "millis", pattern = "yyyy-MM-dd" } }
type = "regex_extractor" ⏎ regex = 'a(.)' ⏎ serializers = { x = { type = "millis", pattern = "%Y-%m-%d %!" } }
type = "regex_extractor" ⏎ regex = 'a(.)' ⏎ serializers = { x = { type = "millis", pattern = "%b %d %H:%M:%S" } }
type = "regex_extractor" ⏎ regex = 'a(.)' ⏎ serializers = { x = { type = "millis", pattern = "%s", time_zone = "Mars" } }
type = "regex_extractor" ⏎ regex = 'a(.)' ⏎ serializers = { x = { type = "DEFAULT" } }
type = "regex_extractor" ⏎ regex = 'a(.)' ⏎ serializers = [{ name = "x", type = "millis", pattern = "x" }]
type = "regex_extractor" ⏎ regex = 'a(.)' ⏎ serializers = "x"
"##;
    each(
        node,
        FLOW,
        changes,
        expect![[r###"
            ## type = "timestamp" ⏎ header_name = ""
            error flow.web.interceptors.when.header_name = "": `header_name` must name a header
            ## type = "timestamp" ⏎ preserveExisting = true
            error flow.web.interceptors.when.preserveExisting = preserveExisting: unknown key `preserveExisting` -> did you mean `preserve_existing`?
            ## type = "uuid"
            error flow.web.interceptors.when.type = "uuid": unknown type: `uuid` -> there are `timestamp`, `host`, `static`, `remove_header`, `regex_filter`, `search_replace`, `regex_extractor`
            ## type = "host" ⏎ use_ip = 1
            error flow.web.interceptors.when.use_ip = 1: `use_ip` must be `true` or `false`, not the number 1
            ## type = "remove_header"
            error flow.web.interceptors.when.with_name = when: `with_name` is required -> write `with_name`, `from_list` or `matching`
            ## type = "remove_header" ⏎ matching = "("
            error flow.web.interceptors.when.matching = "(": the regular expression is wrong: unclosed group -> close it with `)`, or write `\(` for the sign itself
            ## type = "regex_filter" ⏎ regex = "(?<!a)b"
            error flow.web.interceptors.when.regex = "(?<!a)b": the regular expression is wrong: look-around, including look-ahead and look-behind, is not supported -> here a regular expression has neither look-around nor backreferences
            ## type = "regex_filter" ⏎ regex = "[a"
            error flow.web.interceptors.when.regex = "[a": the regular expression is wrong: unclosed character class -> close it with `]`, or write `\[` for the sign itself
            ## type = "search_replace"
            error flow.web.interceptors.when.search_pattern = when: `search_pattern` is required -> write the regular expression to look for
            ## type = "search_replace" ⏎ search_pattern = "(a)" ⏎ replace_string = "$2"
            error flow.web.interceptors.when.replace_string = "$2": `$2` is no group of the search pattern -> it has 1 group; `$0` is all of it
            ## type = "search_replace" ⏎ search_pattern = "(a)" ⏎ replace_string = "$10 ok"
            ## type = "search_replace" ⏎ search_pattern = "(a)" ⏎ replace_string = "5$"
            error flow.web.interceptors.when.replace_string = "5$": `$` names no group -> write `$1` or `${name}` for a group, `\$` for the sign itself
            ## type = "search_replace" ⏎ search_pattern = "a" ⏎ charset = "latin1"
            error flow.web.interceptors.when.charset = "latin1": `latin1` is not supported -> only `UTF-8`; bytes that are none pass unchanged
            ## type = "regex_extractor"
            error flow.web.interceptors.when.regex = when: `regex` is required -> write the regular expression to look for
            error flow.web.interceptors.when.serializers = when: `serializers` is required -> one for each group: `serializers = { HEADER = { type = "default" } }`
            ## type = "regex_extractor" ⏎ regex = 'a(.)'
            error flow.web.interceptors.when.serializers = when: `serializers` is required -> one for each group: `serializers = { HEADER = { type = "default" } }`
            ## type = "regex_extractor" ⏎ regex = 'a(.)' ⏎ serializers = { x = {}, y = {} }
            error flow.web.interceptors.when.regex = 'a(.)': 2 serializers for 1 group -> each serializer belongs to one `(…)` of the regular expression, in order
            ## type = "regex_extractor" ⏎ regex = 'a(.)(.)' ⏎ serializers = { x = {} }
            warning flow.web.interceptors.when.regex = 'a(.)(.)': 2 groups for 1 serializer -> the last groups go nowhere; `(?:…)` is no group
            ## type = "regex_extractor" ⏎ regex = 'a(.)' ⏎ serializers = { x = { type = "millis" } }
            error flow.web.interceptors.when.serializers.x.pattern = x: `pattern` is required -> write `pattern = "%d/%b/%Y:%H:%M:%S %z"`
            ## type = "regex_extractor" ⏎ regex = 'a(.)' ⏎ serializers = { x = { type = "millis", pattern = "yyyy-MM-dd" } }
            error flow.web.interceptors.when.serializers.x.pattern = "yyyy-MM-dd": the pattern has no strftime letters -> `yyyy-MM-dd HH:mm:ss` is written `%Y-%m-%d %H:%M:%S`
            ## type = "regex_extractor" ⏎ regex = 'a(.)' ⏎ serializers = { x = { type = "millis", pattern = "%Y-%m-%d %!" } }
            error flow.web.interceptors.when.serializers.x.pattern = "%Y-%m-%d %!": the pattern cannot be read: strftime formatting failed: found unrecognized specifier directive `!` -> the letters are those of strftime, as in `%d/%b/%Y:%H:%M:%S %z`
            ## type = "regex_extractor" ⏎ regex = 'a(.)' ⏎ serializers = { x = { type = "millis", pattern = "%b %d %H:%M:%S" } }
            error flow.web.interceptors.when.serializers.x.pattern = "%b %d %H:%M:%S": the pattern does not say which moment it is: date required to parse datetime: year required to parse date -> it needs year, month and day, or `%s`
            ## type = "regex_extractor" ⏎ regex = 'a(.)' ⏎ serializers = { x = { type = "millis", pattern = "%s", time_zone = "Mars" } }
            error flow.web.interceptors.when.serializers.x.time_zone = "Mars": `Mars` is not a time zone -> write an IANA name such as `Europe/Berlin`
            ## type = "regex_extractor" ⏎ regex = 'a(.)' ⏎ serializers = { x = { type = "DEFAULT" } }
            error flow.web.interceptors.when.serializers.x.type = "DEFAULT": unknown value for `type`: `DEFAULT` -> did you mean `default`?
            ## type = "regex_extractor" ⏎ regex = 'a(.)' ⏎ serializers = [{ name = "x", type = "millis", pattern = "x" }]
            error flow.web.interceptors.when.serializers.x.pattern = "x": the pattern has no strftime letters -> `yyyy-MM-dd HH:mm:ss` is written `%Y-%m-%d %H:%M:%S`
            ## type = "regex_extractor" ⏎ regex = 'a(.)' ⏎ serializers = "x"
            error flow.web.interceptors.when.serializers = "x": `serializers` must be a table such as { timestamp = { type = "millis", pattern = "…" } }, not the text "x"
        "###]],
    );
}

#[test]
fn node_settings() {
    let changes = r##"
@ data_dir = "/var/lib/collector"
data_dir = ""
data_dir = "hdfs://nn/collector"
ingest = "0.0.0.0:7400"
insecure = true ⏎ ingest = "0.0.0.0:7400"
ingest = "0.0.0.0"
ingest = "localhost:99999"
ingest = 7400
ingest = "[::1]:7402" ⏎ admin = "[::1]:7402"
[node.log] ⏎ quota = "100MiB"
[node.log] ⏎ segment = "1000000B"
[node.log] ⏎ segment = "5000000B"
[node.log] ⏎ warn_percent = 90
[node.log] ⏎ sinks_only_percent = 101
[node.log] ⏎ sinks_only_percent = 300
[node.limits] ⏎ connections = 0
[node.limits] ⏎ session_in_flight = "1MiB"
[node.limits] ⏎ ingest_memory = "1MiB"
[node.limits] ⏎ body_bytes = "8MiB"
"##;
    each(
        node,
        FLOW,
        changes,
        expect![[r###"
            ## data_dir = ""
            error node.data_dir = "": `data_dir` is required -> write `data_dir = "/var/lib/collector"`
            ## data_dir = "hdfs://nn/collector"
            error node.data_dir = "hdfs://nn/collector": `hdfs://` is no path on a local disk -> what must survive this process stands on a disk of this machine; only the `path` of a files sink may be `hdfs://…`
            ## ingest = "0.0.0.0:7400"
            error node.ingest = "0.0.0.0:7400": `0.0.0.0:7400` is reached from other machines without TLS -> keep it on `127.0.0.1`, write a table `[node.tls]`, or say `insecure = true` in `[node]` if the network is trusted
            ## insecure = true ⏎ ingest = "0.0.0.0:7400"
            ## ingest = "0.0.0.0"
            error node.ingest = "0.0.0.0": an address has a port -> write `"HOST:PORT"`, for example `"127.0.0.1:7400"`
            ## ingest = "localhost:99999"
            error node.ingest = "localhost:99999": `99999` is not a port -> a port is a number from 0 to 65535
            ## ingest = 7400
            error node.ingest = 7400: `ingest` must be an address such as "127.0.0.1:7400", not the number 7400
            ## ingest = "[::1]:7402" ⏎ admin = "[::1]:7402"
            error node.admin = "[::1]:7402": `admin` and `ingest` have the same address -> give each a port of its own
            ## [node.log] ⏎ quota = "100MiB"
            error node.log.quota = "100MiB": `quota` cannot be 100MiB -> at least 4 segments, 256MiB
            ## [node.log] ⏎ segment = "1000000B"
            error node.log.segment = "1000000B": `segment` cannot be 1MB -> 1MiB to 1GiB
            ## [node.log] ⏎ segment = "5000000B"
            error node.log.segment = "5000000B": `segment` cannot be 5MB -> a multiple of 4KiB
            ## [node.log] ⏎ warn_percent = 90
            error node.log.stop_ingest_percent = log: `stop_ingest_percent` (85) is not above `warn_percent` (90) -> the marks rise: warn, stop ingest, sinks only
            ## [node.log] ⏎ sinks_only_percent = 101
            error node.log.sinks_only_percent = 101: `sinks_only_percent` cannot be 101 -> 1 to 100
            ## [node.log] ⏎ sinks_only_percent = 300
            error node.log.sinks_only_percent = 300: `sinks_only_percent` cannot be 300 -> 1 to 100
            ## [node.limits] ⏎ connections = 0
            error node.limits.connections = 0: `connections` must be more than 0
            ## [node.limits] ⏎ session_in_flight = "1MiB"
            warning node.limits.session_in_flight = "1MiB": a block of more than 1MiB goes alone: nothing else is in flight beside it -> a block has up to 4MiB
            ## [node.limits] ⏎ ingest_memory = "1MiB"
            error node.limits.ingest_memory = "1MiB": less than `session_in_flight` -> at least one session's 8MiB
            ## [node.limits] ⏎ body_bytes = "8MiB"
            error node.limits.body_bytes = body_bytes: unknown key `body_bytes` -> the keys here are `session_in_flight`, `ingest_memory`, `connections`, `streams_per_connection`, `idle_stream`, `producers_per_shard`
        "###]],
    );
}

#[test]
fn agents() {
    let changes = r##"
@ [agent]
[node]
@ data_dir = "/var/lib/agent"
admin = "0.0.0.0:7403"
@ [flow.web.sources.log]
[flow.web] ⏎ shards = 4 ⏎ [flow.web.sources.log]
@ type = "taildir"
type = "TAILDIR"
type = "collector"
@ filegroups = { access = "/var/log/nginx/access.log*" }
(nothing)
filegroups = "f1 f2"
filegroups = { a = "hdfs://nn/log/*.log" }
filegroups = { a = "log/*.log" }
filegroups = { a = "/var/log/" }
filegroups = { a = "/var/log/.*log" }
filegroups = { a = "/var/log/[a" }
filegroups = { a = "/var/log/*" } ⏎ headers = { b = { x = "y" } }
filegroups = { a = "/var/log/*" } ⏎ headers = { a = { x = 5 } }
filegroups = { a = "/var/log/*" } ⏎ position_file = "/x"
filegroups = { a = "/var/log/*" } ⏎ skip_to_end = true ⏎ start = "end"
filegroups = { a = "/var/log/*" } ⏎ start = "en"
filegroups = { a = "/var/log/*" } ⏎ skipToEnd = true
filegroups = { a = "/var/log/*" } ⏎ max_line_length = "2MiB"
filegroups = { a = "/var/log/*" } ⏎ poll_interval = 0
filegroups = { a = "/var/log/*" } ⏎ multiline = {}
filegroups = { a = "/var/log/*" } ⏎ multiline = { pattern = '^\s', what = "prev" }
filegroups = { a = "/var/log/*" } ⏎ exclude = ["*.gz", "{a"]
@ endpoints = ["http://node1:7400"]
endpoints = []
endpoints = ["node1:7400", "https://x:1", "http://node1"]
hostname = "node1"
ack = "commited"
in_flight = "1KiB"
@ type = "collector"
type = "files"
"##;
    each(
        agent,
        AGENT,
        changes,
        expect![[r###"
            ## [node]
            error node = node: unknown key `node` -> this is a node's table: `collector-server check` reads it
            ## admin = "0.0.0.0:7403"
            error agent.admin = "0.0.0.0:7403": `0.0.0.0:7403` is reached from other machines without TLS -> keep it on `127.0.0.1`, write a table `[agent.tls]`, or say `insecure = true` in `[agent]` if the network is trusted
            ## [flow.web] ⏎ shards = 4 ⏎ [flow.web.sources.log]
            warning flow.web.shards = shards: `shards` means nothing on an agent -> remove it
            ## type = "TAILDIR"
            error flow.web.sources.log.type = "TAILDIR": unknown type: `TAILDIR` -> did you mean `taildir`?
            ## type = "collector"
            error flow.web.sources.log.type = "collector": an agent receives nothing over the network -> the source `collector` is for nodes; an agent has `taildir` and `seq`
            error flow.web.sources.log.filegroups = filegroups: unknown key `filegroups` -> the keys here are `channels`, `interceptors`, `selector`
            ## (nothing)
            error flow.web.sources.log.filegroups = log: `filegroups` is required -> write `filegroups = { access = "/var/log/nginx/access.log*" }`
            ## filegroups = "f1 f2"
            error flow.web.sources.log.filegroups = "f1 f2": `filegroups` must be a table, not the text "f1 f2"
            ## filegroups = { a = "hdfs://nn/log/*.log" }
            error flow.web.sources.log.filegroups.a = "hdfs://nn/log/*.log": `hdfs://` is no path on a local disk -> `taildir` follows files of this machine: begin with `/`
            ## filegroups = { a = "log/*.log" }
            error flow.web.sources.log.filegroups.a = "log/*.log": "log/*.log" is not absolute -> begin with `/`: an agent has no directory of its own
            ## filegroups = { a = "/var/log/" }
            error flow.web.sources.log.filegroups.a = "/var/log/": "/var/log/" is a directory -> write "/var/log/*" for the files in it
            ## filegroups = { a = "/var/log/.*log" }
            warning flow.web.sources.log.filegroups.a = "/var/log/.*log": `.*log` is a glob here, not a regular expression -> `*` is any number of characters, `?` one, a dot is a dot
            ## filegroups = { a = "/var/log/[a" }
            error flow.web.sources.log.filegroups.a = "/var/log/[a": the glob is wrong: unclosed character class; missing ']' -> `*`, `?`, `[a-z]`, `{a,b}` and `**`; a backslash takes the next as it is
            ## filegroups = { a = "/var/log/*" } ⏎ headers = { b = { x = "y" } }
            error flow.web.sources.log.headers.b = b: there is no file group `b` -> there are the filegroups `a`
            ## filegroups = { a = "/var/log/*" } ⏎ headers = { a = { x = 5 } }
            error flow.web.sources.log.headers.a.x = 5: `x` must be text, not the number 5 -> write `x = "5"`
            ## filegroups = { a = "/var/log/*" } ⏎ position_file = "/x"
            error flow.web.sources.log.position_file = position_file: unknown key `position_file` -> positions are stored with the events: remove it
            ## filegroups = { a = "/var/log/*" } ⏎ skip_to_end = true ⏎ start = "end"
            error flow.web.sources.log.start = start: `start` is written twice, under two names -> remove one of the two
            ## filegroups = { a = "/var/log/*" } ⏎ start = "en"
            error flow.web.sources.log.start = "en": unknown value for `start`: `en` -> did you mean `end`?
            ## filegroups = { a = "/var/log/*" } ⏎ skipToEnd = true
            error flow.web.sources.log.skipToEnd = skipToEnd: unknown key `skipToEnd` -> did you mean `skip_to_end`?
            ## filegroups = { a = "/var/log/*" } ⏎ max_line_length = "2MiB"
            error flow.web.sources.log.max_line_length = "2MiB": `max_line_length` cannot be 2MiB -> 1B to 1MiB, the longest body of an event
            ## filegroups = { a = "/var/log/*" } ⏎ poll_interval = 0
            error flow.web.sources.log.poll_interval = 0: `poll_interval` cannot be 0 -> at least `"10ms"`
            ## filegroups = { a = "/var/log/*" } ⏎ multiline = {}
            error flow.web.sources.log.multiline.pattern = multiline: `pattern` is required -> write `pattern = '^\s'`
            ## filegroups = { a = "/var/log/*" } ⏎ multiline = { pattern = '^\s', what = "prev" }
            error flow.web.sources.log.multiline.what = "prev": unknown value for `what`: `prev` -> there are `previous`, `next`
            ## filegroups = { a = "/var/log/*" } ⏎ exclude = ["*.gz", "{a"]
            error flow.web.sources.log.exclude[1] = "{a": the glob is wrong: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?) -> `*`, `?`, `[a-z]`, `{a,b}` and `**`; a backslash takes the next as it is
            ## endpoints = []
            error flow.web.sinks.tier.endpoints = []: `endpoints` is required -> write `endpoints = ["http://127.0.0.1:7400"]`
            ## endpoints = ["node1:7400", "https://x:1", "http://node1"]
            error flow.web.sinks.tier.endpoints[0] = "node1:7400": "node1:7400" is not a URL -> write `"http://node1:7400"`
            error flow.web.sinks.tier.endpoints[2] = "http://node1": an address has a port -> write `"http://HOST:PORT"`
            ## hostname = "node1"
            error flow.web.sinks.tier.hostname = hostname: unknown key `hostname` -> write `endpoints = ["http://HOST:7400"]`
            ## ack = "commited"
            error flow.web.sinks.tier.ack = "commited": unknown value for `ack`: `commited` -> did you mean `committed`?
            ## in_flight = "1KiB"
            error flow.web.sinks.tier.in_flight = "1KiB": `in_flight` is less than one block -> at least `batch_bytes`, which is 256KiB
            ## type = "files"
            error flow.web.sinks.tier.type = "files": an agent writes no files -> send to a node with `type = "collector"`; its flow has the files
            error flow.web.sinks.tier.endpoints = endpoints: unknown key `endpoints` -> the keys here are `channel`, `path`, `file_prefix`, `file_suffix`, `in_use_prefix`, `in_use_suffix`, `roll_interval`, `roll_size`, `roll_count`, `idle_timeout`, `round`, `time_zone`, `file_type`, `serializer`, `codec`, `max_open_files`, `replication`, `block_size`, `new_directories_per_minute`, `require_timestamp`, `future_limit`, `late_limit`, `batch_bytes`
        "###]],
    );
}

#[test]
fn other_tables_do_not_disturb_flows() {
    let text = FLOW.replace("[node]", "[node]\nunknown = \"${env:NOT_SET}\"");
    let flows = parse_flows(&text, "flow.toml", &no_env).unwrap();
    assert_eq!(lines(&flows.warnings), "");
    let refused = parse_flows("[other]\n", "flow.toml", &no_env).unwrap_err();
    expect![[r#"
        error flow = : there is no flow -> a flow stands in `[flow.NAME…]` tables
        error other = other: unknown key `other` -> the keys here are `flow`
    "#]]
    .assert_eq(&lines(&refused));
}

#[test]
fn flows_of_a_cluster_have_absolute_paths() {
    let relative = FLOW.replace("/data/web", "./data/web");
    assert_eq!(node(&relative), "");
    let refused = parse_flows(&relative, "flow.toml", &no_env).unwrap_err();
    expect![[r#"
        error flow.web.sinks.local.path = "./data/web/%Y-%m-%d/%H%M": the path is not absolute -> it is the same for all nodes: begin with `/` or `hdfs://`
    "#]].assert_eq(&lines(&refused));
}

#[test]
fn security() {
    let changes = r##"
@ data_dir = "/var/lib/collector"
[node.tls]
[node.tls] ⏎ certificate = "/c.pem" ⏎ key = "/c.key" ⏎ ports = []
[node.tls] ⏎ certificate = "/c.pem" ⏎ key = "0123456789abcdef0123456789abcdef"
[node.tls] ⏎ certificate = "/c.pem" ⏎ key = "-----BEGIN PRIVATE KEY-----MIIE"
[node.tls] ⏎ certificate = "~/c.pem" ⏎ key = "/c.key" ⏎ reload = "1ms"
ingest = "0.0.0.0:7400" ⏎ [node.tls] ⏎ certificate = "/c.pem" ⏎ key = "/c.key"
ingest = "0.0.0.0:7400" ⏎ [node.tls] ⏎ certificate = "/c.pem" ⏎ key = "/c.key" ⏎ ports = ["admin"]
ingest = "0.0.0.0:7400" ⏎ insecure = true ⏎ [node.access.a] ⏎ token_file = "/a" ⏎ send = ["*"]
[node.access.a]
[node.access.a] ⏎ token = "hunter2" ⏎ anyone = true ⏎ admin = "view"
[node.access.a] ⏎ anyone = true ⏎ admin = "all"
[node.access.a] ⏎ certificates = ["a.b"] ⏎ send = ["web"]
[node.tls] ⏎ certificate = "/c" ⏎ key = "/k" ⏎ client_ca = "/a" ⏎ [node.access.a] ⏎ certificates = ["*", "a*b", "*.a", "spiffe://a/*"] ⏎ send = ["web"]
"##;
    each(
        node,
        FLOW,
        changes,
        expect![[r###"
        ## [node.tls]
        error node.tls.certificate = tls: `certificate` is required -> write `certificate = "/etc/collector/node.pem"`, the name of a file
        error node.tls.key = tls: `key` is required -> write `key = "/etc/collector/node.key"`, the name of a file
        ## [node.tls] ⏎ certificate = "/c.pem" ⏎ key = "/c.key" ⏎ ports = []
        error node.tls.ports = []: no port speaks TLS -> remove the key, for all of them
        ## [node.tls] ⏎ certificate = "/c.pem" ⏎ key = "0123456789abcdef0123456789abcdef"
        error node.tls.key = "********************************": `key` holds the thing itself, not the name of its file -> put it into a file of its own, and write `key = "/path/of/it"`
        ## [node.tls] ⏎ certificate = "/c.pem" ⏎ key = "-----BEGIN PRIVATE KEY-----MIIE"
        error node.tls.key = "*******************************": `key` holds the thing itself, not the name of its file -> put it into a file of its own, and write `key = "/path/of/it"`
        ## [node.tls] ⏎ certificate = "~/c.pem" ⏎ key = "/c.key" ⏎ reload = "1ms"
        error node.tls.certificate = "~/c.pem": `~` is not expanded -> write `${env:HOME}`
        error node.tls.reload = "1ms": `reload` cannot be 1ms -> 100ms or more
        ## ingest = "0.0.0.0:7400" ⏎ [node.tls] ⏎ certificate = "/c.pem" ⏎ key = "/c.key"
        ## ingest = "0.0.0.0:7400" ⏎ [node.tls] ⏎ certificate = "/c.pem" ⏎ key = "/c.key" ⏎ ports = ["admin"]
        error node.ingest = "0.0.0.0:7400": `0.0.0.0:7400` is reached from other machines without TLS -> keep it on `127.0.0.1`, write a table `[node.tls]`, or say `insecure = true` in `[node]` if the network is trusted
        ## ingest = "0.0.0.0:7400" ⏎ insecure = true ⏎ [node.access.a] ⏎ token_file = "/a" ⏎ send = ["*"]
        warning node.ingest = "0.0.0.0:7400": tokens reach `0.0.0.0:7400` unencrypted -> write a table `[node.tls]`: whoever sees a token has it
        ## [node.access.a]
        error node.access.a = a: nothing says who `a` is -> write `token_file`, `certificates` or `anyone = true`
        ## [node.access.a] ⏎ token = "hunter2" ⏎ anyone = true ⏎ admin = "view"
        error node.access.a.token = token: unknown key `token` -> did you mean `token_file`?
        ## [node.access.a] ⏎ anyone = true ⏎ admin = "all"
        warning node.access.a = a: `a` may do nothing -> write `send = ["FLOW"]`, or `admin = "view"` or `"full"`
        error node.access.a.admin = "all": unknown value for `admin`: `all` -> there are `none`, `view`, `full`
        ## [node.access.a] ⏎ certificates = ["a.b"] ⏎ send = ["web"]
        error node.access.a.certificates = ["a.b"]: no client is asked for a certificate -> write `client_ca` in the table `tls`, the file with their CAs
        ## [node.tls] ⏎ certificate = "/c" ⏎ key = "/k" ⏎ client_ca = "/a" ⏎ [node.access.a] ⏎ certificates = ["*", "a*b", "*.a", "spiffe://a/*"] ⏎ send = ["web"]
        error node.access.a.certificates[0] = "*": `*` is no name -> `shop.example.com`, `*.example.com` or `spiffe://example.com/shop/*`
        error node.access.a.certificates[1] = "a*b": `a*b` is no name -> `shop.example.com`, `*.example.com` or `spiffe://example.com/shop/*`
    "###]],
    );
    let changes = r##"
@ endpoints = ["http://node1:7400"]
endpoints = ["https://node-1:7400"] ⏎ ca = "/ca.pem" ⏎ token_file = "/token"
endpoints = ["http://node-1:7400"] ⏎ token_file = "/token"
endpoints = ["https://node-1:7400"] ⏎ certificate = "/c.pem"
"##;
    each(
        agent,
        AGENT,
        changes,
        expect![[r###"
        ## endpoints = ["https://node-1:7400"] ⏎ ca = "/ca.pem" ⏎ token_file = "/token"
        ## endpoints = ["http://node-1:7400"] ⏎ token_file = "/token"
        error flow.web.sinks.tier.endpoints[0] = "http://node-1:7400": the token would go over the network unencrypted -> write `"https://node-1:7400"`
        ## endpoints = ["https://node-1:7400"] ⏎ certificate = "/c.pem"
        error flow.web.sinks.tier.certificate = "/c.pem": `certificate` is there without `key` -> a certificate is of no use without its private key, nor the other way round
    "###]],
    );
}
