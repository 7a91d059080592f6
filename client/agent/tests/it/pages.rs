//! `/health/*`, `/metrics`, `/api/v1/status`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::agent::{World, eventually};
use crate::twin::Twin;

#[test]
fn a_node_that_is_away_does_not_make_the_agent_unready() {
    let mut world =
        World::new("http://127.0.0.1:1", "connect_timeout = \"1s\"\nrequest_timeout = \"1s\"");
    world.write(1_000);
    let agent = world.start();
    let status = eventually("the outage shows", || {
        let status = agent.status();
        let sink = &status["flows"][0]["sinks"][0];
        let failed = sink["failed_deliveries"].as_u64() > Some(3);
        if failed && sink["state"] == "unavailable" { Ok(status) } else { Err(status) }
    });
    assert_eq!(status["flows"][0]["channels"][0]["pending_events"], 1_000);
    assert_eq!((status["ready"].as_bool(), status["healthy"].as_bool()), (Some(true), Some(false)));
    assert_eq!(agent.get("/health/ready"), (200, "ok\n".to_owned()));
    assert_eq!(agent.get("/health/live"), (200, "ok\n".to_owned()));
    assert_eq!(agent.get("/").0, 404);
    // Ending does not wait for it either.
    assert!(agent.stop().success());
    let said = world.said();
    assert_eq!(said.matches("sink is unavailable").count(), 1, "one line for an outage:\n{said}");
}

#[test]
fn the_lag_is_shown_for_each_file() {
    let twin = Twin::start();
    let mut world = World::new(&twin.endpoint(), "");
    world.write(500);
    let agent = world.start();
    eventually("all arrive", || if twin.len() == 500 { Ok(()) } else { Err(twin.len()) });
    let path = world.log().display().to_string();
    let expected = [
        "collector_edge_ready 1".to_owned(),
        format!("collector_source_file_lag_bytes{{flow=\"web\",source=\"log\",file=\"{path}\"}} 0"),
        "collector_sink_events_total{flow=\"web\",sink=\"tier\"} 500".to_owned(),
        "collector_channel_pending_events{flow=\"web\",channel=\"spool\"} 0".to_owned(),
    ];
    eventually("the metrics show it", || {
        let (code, text) = agent.get("/metrics");
        assert_eq!(code, 200);
        assert!(text.ends_with("# EOF\n"));
        let missing = expected.iter().find(|line| !text.lines().any(|known| known == *line));
        missing.map_or(Ok(()), |line| Err(format!("{line} is not in\n{text}")))
    });
    let file = &agent.status()["flows"][0]["sources"][0]["files"][0];
    assert_eq!((file["path"].as_str(), file["lag_bytes"].as_u64()), (Some(path.as_str()), Some(0)));
    assert!(agent.stop().success());
}

#[test]
fn a_caller_that_says_nothing_keeps_no_other_out() {
    let world = World::new("http://127.0.0.1:1", "");
    let agent = world.start();
    let silent: Vec<TcpStream> =
        (0..40).map(|_| TcpStream::connect(agent.admin()).unwrap()).collect();
    assert_eq!(agent.get("/health/live").0, 200);
    let mut noise = TcpStream::connect(agent.admin()).unwrap();
    let mut answer = Vec::new();
    // It may be cut off in the middle of either.
    drop(noise.write_all(&[0xff; 1 << 20]));
    drop(noise.read_to_end(&mut answer));
    assert_eq!(agent.get("/health/live").0, 200);
    drop(silent);
    assert!(agent.stop().success());
}
