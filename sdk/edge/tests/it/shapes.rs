//! Flows of other shapes than one line.

use std::time::Duration;

use prometheus_client::registry::Registry;
use sdk_edge::{EdgeError, EdgeStatus, SourceState};

use crate::support::{PLAIN, World, flow, wait_for};

const SEQ: &str = r#"
[flow.count.sources.numbers]
type = "seq"
channels = ["main"]
batch_size = 7
total_events = 1000
[flow.count.channels.main]
type = "CHANNEL"
[flow.count.sinks.tier]
type = "null"
channel = "main"
"#;

#[test]
fn a_source_comes_to_its_end_through_either_channel() {
    for channel in ["memory", "durable"] {
        let world = World::new(&SEQ.replace("CHANNEL", channel));
        let machine = world.start();
        wait_for("all arrive", || world.tier.len() == 1_000);
        machine.wait_for("it has ended", |status| {
            status.flows[0].sources[0].state == SourceState::Ended
        });
        let expected: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
        assert_eq!(world.tier.bodies(), expected);
        assert_eq!(machine.edge.ready(), Ok(()));
        assert_eq!(machine.stop(Duration::from_secs(10)), 0);
        // The next start counts on, which is to say not at all.
        let machine = world.start();
        machine.wait_for("it has ended", |status| {
            status.flows[0].sources[0].state == SourceState::Ended
        });
        assert_eq!(world.tier.len(), 1_000);
        machine.kill();
    }
}

#[test]
fn interceptors_and_selector_stand_before_the_spool() {
    let shaped = PLAIN
        .replace(
            "poll_interval",
            "interceptors = [\"where\", \"even\"]\n\
             selector = { type = \"replicating\", optional = [] }\npoll_interval",
        )
        .replace(
            "[flow.web.channels.spool]",
            "[flow.web.interceptors.where]\ntype = \"static\"\nkey = \"site\"\nvalue = \"north\"\n\
             [flow.web.interceptors.even]\ntype = \"regex_filter\"\nregex = '[13579] HTTP'\n\
             exclude_events = true\n[flow.web.channels.spool]",
        );
    let mut world = World::new(&shaped);
    let machine = world.start();
    world.write(1_000);
    wait_for("the even ones arrive", || world.tier.len() == 500);
    let even: Vec<String> = world.lines.iter().step_by(2).cloned().collect();
    assert_eq!(world.tier.bodies(), even);
    assert!(world.tier.headers().iter().all(|headers| headers["site"] == "north"));
    let source = &machine.status().flows[0].sources[0];
    assert_eq!((source.events, source.dropped), (500, 500));
    machine.kill();
}

#[test]
fn the_status_is_json_and_the_metrics_are_text() {
    let mut world = World::new(PLAIN);
    let machine = world.start();
    world.write(100);
    world.all_arrive(&machine);
    let status = machine.status();
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["flows"][0]["sources"][0]["type"], "taildir");
    assert_eq!(json["flows"][0]["sources"][0]["state"], "running");
    assert_eq!(json["flows"][0]["sources"][0]["files"][0]["lag_bytes"], 0);
    assert_eq!(json["flows"][0]["sinks"][0]["delivered_events"], 100);
    assert_eq!(serde_json::from_value::<EdgeStatus>(json).unwrap().flows.len(), 1);
    let mut registry = Registry::default();
    machine.edge.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let path = world.log().display().to_string();
    for line in [
        "collector_edge_ready 1".to_owned(),
        "collector_source_events_total{flow=\"web\",source=\"log\"} 100".to_owned(),
        format!("collector_source_file_lag_bytes{{flow=\"web\",source=\"log\",file=\"{path}\"}} 0"),
        "collector_sink_events_total{flow=\"web\",sink=\"tier\"} 100".to_owned(),
        "collector_channel_capacity_bytes{flow=\"web\",channel=\"spool\"} 67108864".to_owned(),
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
    }
    machine.kill();
}

#[test]
fn a_sink_that_cannot_be_ends_the_start_and_leaves_the_directory_free() {
    let mut world = World::new(
        &PLAIN.replace("sinks.tier", "sinks.impossible").replace("\"tier\"", "\"impossible\""),
    );
    let error = world.try_start().err().unwrap();
    assert!(matches!(&error, EdgeError::Sink { sink, .. } if sink == "impossible"), "{error}");
    world.configure(PLAIN);
    assert!(flow(&world.config.flows).sinks.contains_key("tier"));
    world.start().kill();
}
