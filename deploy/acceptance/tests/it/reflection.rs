//! A stock gRPC client: reflection, health, and `Send` with a JSON event.

use crate::send::quick_roll;
use deploy_acceptance::{Node, Tree, need};
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn grpcurl_lists_checks_and_sends() {
    let Some(grpcurl) =
        need("grpcurl", "go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3")
    else {
        return;
    };
    let mut node = Node::new(quick_roll());
    node.start();
    let address = node.ingest().trim_start_matches("http://").to_owned();
    let ask = |arguments: &[&str], last: &[&str]| {
        let output = Command::new(&grpcurl)
            .arg("-plaintext")
            .args(arguments)
            .arg(&address)
            .args(last)
            .stdin(Stdio::null())
            .output()
            .expect("run grpcurl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let services = ask(&[], &["list"]);
    assert!(
        services.contains("collector.v1.Ingest") && services.contains("grpc.health.v1.Health"),
        "{services}"
    );
    assert!(ask(&[], &["grpc.health.v1.Health/Check"]).contains("\"SERVING\""));
    // `bytes` are base64 in the JSON of protobuf: "hello from grpcurl".
    let event = r#"{"flow": "default", "events": [{"headers": {"app": "shop"}, "body": "aGVsbG8gZnJvbSBncnBjdXJs"}]}"#;
    ask(&["-d", event], &["collector.v1.Ingest/Send"]);
    node.drained(Duration::from_secs(60));
    assert_eq!(Tree::read(&node.files()).concatenated(), b"hello from grpcurl\n");
}
