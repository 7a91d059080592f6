//! The annotated defaults are valid, say what is so, and leave no key out.

use std::collections::BTreeSet;

use sdk_config::*;
use serde::Serialize;

use crate::no_env;

/// The text with its further keys and tables in use. Of two lines for one key the first stays.
fn in_use(text: &str) -> String {
    let mut keys: BTreeSet<String> = BTreeSet::new();
    let mut lines = Vec::new();
    for line in text.lines() {
        let further = line.strip_prefix('#').filter(|rest| !rest.starts_with([' ', '#']));
        let line = further.filter(|rest| !rest.is_empty()).unwrap_or(line);
        if line.starts_with('[') {
            keys.clear();
        }
        let key = line.split(" = ").next().unwrap_or_default();
        if line.starts_with('#') || !line.contains(" = ") || keys.insert(key.to_owned()) {
            lines.push(line);
        }
    }
    lines.join("\n")
}

#[track_caller]
fn node(text: &str) -> NodeConfig {
    match parse_node(text, "node.toml", &no_env) {
        Ok(parsed) => parsed.value,
        Err(diagnostics) => panic!("{diagnostics}"),
    }
}

#[track_caller]
fn agent(text: &str) -> AgentConfig {
    match parse_agent(text, "agent.toml", &no_env) {
        Ok(parsed) => parsed.value,
        Err(diagnostics) => panic!("{diagnostics}"),
    }
}

#[test]
fn a_node_with_them_is_a_node_without_a_file() {
    let parsed = parse_node(annotated_defaults(), "node.toml", &no_env).unwrap();
    assert!(parsed.warnings.is_empty(), "{}", parsed.warnings);
    let without = NodeConfig::without_file("./collector-data", "./collector-data/files");
    assert_eq!(parsed.value, without);
    assert_eq!(parsed.value.node, NodeSettings::default());
}

#[test]
fn an_agent_with_them_has_the_defaults() {
    let parsed = parse_agent(annotated_agent_defaults(), "agent.toml", &no_env).unwrap();
    assert!(parsed.warnings.is_empty(), "{}", parsed.warnings);
    assert_eq!(parsed.value.agent, AgentSettings::default());
    let flow = &parsed.value.flows["default"];
    let SourceSpec::Taildir(taildir) = &flow.sources["log"] else { panic!("taildir") };
    let mut defaults = TaildirSource {
        channels: taildir.channels.clone(),
        filegroups: taildir.filegroups.clone(),
        ..TaildirSource::default()
    };
    defaults.headers.insert("access".to_owned(), Default::default());
    assert_eq!(*taildir, defaults);
    let SinkSpec::Collector(sink) = &flow.sinks["nodes"] else { panic!("collector") };
    let channel = sink.channel.clone();
    assert_eq!(**sink, CollectorSink { channel, ..CollectorSink::default() });
}

/// What is in use when everything is, with the keys that have no default or are examples put back.
#[test]
fn further_parts_have_the_defaults_too() {
    let config = node(&in_use(annotated_defaults()));
    assert_eq!(config.node.log.quota, Some(ByteSize::gib(50)));
    let tls = config.node.tls.expect("the table");
    let files = TlsSettings {
        certificate: tls.certificate.clone(),
        key: tls.key.clone(),
        client_ca: tls.client_ca.clone(),
        ..TlsSettings::default()
    };
    assert_eq!(tls, files);
    let flow = &config.flows["example"];
    for source in flow.sources.values() {
        if let SourceSpec::Seq(seq) = source {
            let channels = seq.channels.clone();
            assert_eq!(*seq, SeqSource { channels, ..SeqSource::default() });
        }
    }
    for interceptor in flow.interceptors.values() {
        use InterceptorSpec::*;
        match interceptor {
            Timestamp(it) => assert_eq!(*it, TimestampInterceptor::default()),
            Host(it) => assert_eq!(*it, HostInterceptor::default()),
            Static(it) => assert_eq!(*it, StaticInterceptor::default()),
            RegexFilter(it) => assert_eq!(*it, RegexFilterInterceptor::default()),
            SearchReplace(it) => {
                let search_pattern = it.search_pattern.clone();
                let defaults = SearchReplaceInterceptor { search_pattern, ..Default::default() };
                assert_eq!(*it, defaults);
            }
            RemoveHeader(_) => {}
            RegexExtractor(it) => {
                let names: Vec<&str> = it.serializers.iter().map(|s| s.name.as_str()).collect();
                assert_eq!(names, ["client", "timestamp"], "in the order of the text");
                assert_eq!(it.serializers[1].time_zone, ExtractorSerializer::default().time_zone);
            }
        }
    }
    for sink in flow.sinks.values() {
        let channel = sink.channel().to_owned();
        match sink {
            SinkSpec::Logger(it) => {
                assert_eq!(*it, LoggerSink { channel, ..Default::default() });
            }
            SinkSpec::Null(it) => assert_eq!(*it, NullSink { channel, ..Default::default() }),
            SinkSpec::Collector(it) => {
                let examples = CollectorSink {
                    channel,
                    flow: it.flow.clone(),
                    ack: it.ack,
                    ca: it.ca.clone(),
                    certificate: it.certificate.clone(),
                    key: it.key.clone(),
                    token_file: it.token_file.clone(),
                    server_name: it.server_name.clone(),
                    ..CollectorSink::default()
                };
                assert_eq!(**it, examples);
            }
            SinkSpec::Files(_) => {}
        }
    }
    let groups: Vec<&str> = flow.groups.values().map(GroupSpec::type_name).collect();
    assert_eq!(groups, ["load_balance", "default", "failover"]);
    for group in flow.groups.values() {
        assert_eq!(group.max_penalty(), MAX_PENALTY);
        if let GroupSpec::LoadBalance(it) = group {
            let sinks = it.sinks.clone();
            assert_eq!(*it, LoadBalanceGroup { sinks, ..Default::default() });
        }
    }
    let everything = agent(&in_use(annotated_agent_defaults()));
    let SourceSpec::Taildir(taildir) = &everything.flows["default"].sources["log"] else {
        panic!("taildir")
    };
    let multiline = taildir.multiline.clone().unwrap();
    let pattern = multiline.pattern.clone();
    assert_eq!(multiline, Multiline { pattern, ..Multiline::default() });
}

/// The keys of a type, as its JSON has them.
fn keys<T: Serialize + Default>() -> BTreeSet<String> {
    let json = serde_json::to_value(T::default()).expect("specs are JSON");
    json.as_object().expect("a table").keys().cloned().collect()
}

#[test]
fn no_key_is_left_out() {
    let node = annotated_defaults();
    let agent = annotated_agent_defaults();
    let check = |text: &str, name: &str, keys: BTreeSet<String>| {
        for key in keys {
            let written = text.lines().any(|line| {
                let line = line.strip_prefix('#').unwrap_or(line);
                let begins = line.starts_with(&format!("{key} = "));
                begins || line.starts_with('[') && line.contains(&format!(".{key}"))
            });
            assert!(written, "`{key}` of {name} is nowhere explained");
        }
    };
    check(node, "node", keys::<NodeSettings>());
    check(node, "log", keys::<LogSettings>());
    check(node, "raft", keys::<RaftSettings>());
    check(node, "archive", keys::<ArchiveSettings>());
    check(node, "limits", keys::<Limits>());
    check(node, "tls", keys::<TlsSettings>());
    check(node, "access", keys::<AccessSpec>());
    check(node, "flow", keys::<FlowSpec>());
    check(node, "source", keys::<CollectorSource>());
    check(node, "seq", keys::<SeqSource>());
    check(node, "multiplexing", keys::<MultiplexingSelector>());
    check(node, "durable", keys::<DurableChannel>());
    check(node, "memory", keys::<MemoryChannel>());
    check(node, "files", keys::<FilesSink>());
    check(node, "logger", keys::<LoggerSink>());
    check(node, "null", keys::<NullSink>());
    check(node, "collector", keys::<CollectorSink>());
    check(node, "timestamp", keys::<TimestampInterceptor>());
    check(node, "host", keys::<HostInterceptor>());
    check(node, "static", keys::<StaticInterceptor>());
    check(node, "remove_header", keys::<RemoveHeaderInterceptor>());
    check(node, "regex_filter", keys::<RegexFilterInterceptor>());
    check(node, "search_replace", keys::<SearchReplaceInterceptor>());
    check(node, "regex_extractor", keys::<RegexExtractorInterceptor>());
    check(node, "serializer", keys::<ExtractorSerializer>());
    check(node, "default group", keys::<DefaultGroup>());
    check(node, "failover", keys::<FailoverGroup>());
    check(node, "load_balance", keys::<LoadBalanceGroup>());
    check(agent, "agent", keys::<AgentSettings>());
    check(agent, "log", keys::<LogSettings>());
    check(agent, "tls", keys::<TlsSettings>());
    check(agent, "access", keys::<AccessSpec>());
    check(agent, "taildir", keys::<TaildirSource>());
    check(agent, "multiline", keys::<Multiline>());
    check(agent, "collector", keys::<CollectorSink>());
}
