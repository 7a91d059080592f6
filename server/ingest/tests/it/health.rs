//! The standard services beside ours.

use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::{v1, v1alpha};

use crate::harness::Node;

#[tokio::test]
async fn health_says_what_the_node_says() {
    let node = Node::start(sdk_event::Level::Local).await;
    let mut client = HealthClient::new(node.channel().await);
    for (serving, status) in [
        (false, ServingStatus::NotServing),
        (true, ServingStatus::Serving),
        (false, ServingStatus::NotServing),
    ] {
        node.health.set_serving(serving).await;
        for service in ["", "collector.v1.Ingest"] {
            let request = HealthCheckRequest { service: service.to_owned() };
            let answer = client.check(request).await.expect("answered").into_inner();
            assert_eq!(answer.status(), status, "{service:?}");
        }
    }
    let unknown = HealthCheckRequest { service: "nobody".to_owned() };
    let status = client.check(unknown).await.expect_err("not known");
    assert_eq!(status.code(), tonic::Code::NotFound);
    node.stop().await;
}

#[tokio::test]
async fn reflection_lists_what_this_port_serves() {
    let node = Node::start(sdk_event::Level::Local).await;
    let channel = node.channel().await;

    let mut client = ServerReflectionClient::new(channel.clone());
    let ask = |request| {
        tokio_stream::once(v1::ServerReflectionRequest {
            host: String::new(),
            message_request: Some(request),
        })
    };
    let list = ask(MessageRequest::ListServices(String::new()));
    let mut answers = client.server_reflection_info(list).await.expect("answered").into_inner();
    let answer = answers.message().await.expect("an answer").expect("an answer");
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}");
    };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    for name in
        ["collector.v1.Ingest", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"]
    {
        assert!(names.iter().any(|each| each == name), "{name} in {names:?}");
    }
    assert!(!names.iter().any(|name| name == "collector.v1.Admin"), "{names:?}");

    let symbol = ask(MessageRequest::FileContainingSymbol("collector.v1.SendRequest".to_owned()));
    let mut answers = client.server_reflection_info(symbol).await.expect("answered").into_inner();
    let answer = answers.message().await.expect("an answer").expect("an answer");
    assert!(matches!(answer.message_response, Some(MessageResponse::FileDescriptorResponse(_))));

    let mut old = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let list = tokio_stream::once(v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    });
    let mut answers = old.server_reflection_info(list).await.expect("answered").into_inner();
    assert!(answers.message().await.expect("an answer").is_some());
    node.stop().await;
}
