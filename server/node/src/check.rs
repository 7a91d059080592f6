//! `check`: a configuration file, offline.

use crate::arguments::CheckArguments;
use crate::settings::resolve_paths;
use anyhow::{Context, Result, anyhow};
use sdk_config::{FlowSpec, NodeConfig, SelectorSpec, SinkSpec, parse_node, process_env};
use sdk_event::{BlockBuilder, Codec, Event, ProducerId};
use sdk_files::layout::{Explained, Layout};
use sdk_flow::{ChannelNumbers, ChannelProcessor, Environment, HostNames, SystemClock};
use std::fmt::Write;
use std::sync::Arc;

/// What `check` says, and whether the file is valid.
pub fn check(arguments: &CheckArguments) -> Result<(bool, String)> {
    let path = &arguments.file;
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let mut parsed = match parse_node(&text, &path.display().to_string(), &process_env) {
        Ok(parsed) => parsed,
        Err(diagnostics) => {
            let errors = diagnostics.errors();
            let count = if errors == 1 { "1 error".to_owned() } else { format!("{errors} errors") };
            return Ok((false, format!("{diagnostics}\n\n{}: {count}\n", path.display())));
        }
    };
    let mut said = String::new();
    if !parsed.warnings.is_empty() {
        writeln!(said, "{}\n", parsed.warnings)?;
    }
    if let Some(event) = &arguments.event {
        resolve_paths(&mut parsed.value)?;
        let event = event_of(event)?;
        for (name, flow) in &parsed.value.flows {
            explain(&mut said, name, flow, &event)?;
        }
    }
    writeln!(said, "{}: valid{}", path.display(), summary(&parsed.value))?;
    Ok((true, said))
}

fn summary(config: &NodeConfig) -> String {
    let names: Vec<&str> = config.flows.keys().map(String::as_str).collect();
    if names.is_empty() {
        " (no flow)".to_owned()
    } else {
        format!(" (flows: {})", names.join(", "))
    }
}

/// `{"timestamp", "headers", "body"}`, as the serializer `json` writes them.
fn event_of(json: &str) -> Result<Event> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Json {
        timestamp: Option<i64>,
        #[serde(default)]
        headers: std::collections::BTreeMap<String, String>,
        #[serde(default)]
        body: String,
    }
    let json: Json = serde_json::from_str(json)
        .context("read --event: write {\"timestamp\": ms, \"headers\": {}, \"body\": \"\"}")?;
    let mut event = Event::new(json.body);
    event.timestamp_ms = json.timestamp;
    event.headers = json.headers.into_iter().collect();
    Ok(event)
}

fn explain(said: &mut String, name: &str, flow: &FlowSpec, event: &Event) -> Result<()> {
    let clock: Arc<dyn sdk_flow::Clock> = Arc::new(SystemClock::new());
    let now_ms = clock.wall_ms();
    let environment = Environment { clock, host: HostNames::of_this_machine() };
    let numbers = ChannelNumbers::of(flow);
    for (source, spec) in &flow.sources {
        let processor = ChannelProcessor::build(spec, flow, &environment)
            .with_context(|| format!("build source {source}"))?;
        let mut builder = BlockBuilder::new(ProducerId([0; 16]), 1, 0);
        let headers = event.headers.iter();
        builder
            .push(event.timestamp_ms, headers, &event.body)
            .map_err(|error| anyhow!("the event is not acceptable: {error}"))?;
        let put = processor
            .process(builder.finish(Codec::None), None)
            .map_err(|reason| anyhow!("the event is not acceptable: {reason}"))?;
        writeln!(said, "flow {name}, source {source}:")?;
        if let SelectorSpec::Multiplexing(selector) = spec.selector() {
            let value = event.headers.get(&selector.header).unwrap_or("");
            writeln!(said, "  selector: header {} is `{value}`", selector.header)?;
        }
        for dropped in &put.dropped {
            writeln!(said, "  dropped by {}", dropped.rule)?;
        }
        for part in &put.parts {
            for (number, channel) in numbers.iter() {
                if !part.channels.contains(number) {
                    continue;
                }
                writeln!(said, "  channel {channel}")?;
                for (sink, spec) in flow.sinks.iter().filter(|(_, it)| it.channel() == &**channel) {
                    let SinkSpec::Files(files) = spec else {
                        writeln!(said, "    sink {sink}: {}", spec.type_name())?;
                        continue;
                    };
                    let layout =
                        Layout::new(files, name).with_context(|| format!("sink {sink}"))?;
                    for event in part.block.events() {
                        writeln!(
                            said,
                            "    sink {sink}: {}",
                            place(&layout.explain(&event, now_ms), layout.suffix())
                        )?;
                    }
                }
            }
        }
    }
    Ok(())
}

fn place(place: &Explained, suffix: &str) -> String {
    match place {
        Explained::At { directory, prefix } => format!("{directory}/{prefix}.…{suffix}"),
        Explained::Dead(reason) => format!("dead letter: {reason}"),
    }
}
