//! What is asked, what is given, what is refused.

use proto::v1::{Code, Level};

use crate::harness::{Node, Stream, block, eventually, open};

#[tokio::test]
async fn a_lower_ask_is_answered_at_the_flows_level_and_a_higher_one_refused() {
    use sdk_event::Level::{Local, Received, Replicated};
    let table = [
        (Local, Level::Received, Ok(Level::Local)),
        (Local, Level::Local, Ok(Level::Local)),
        (Replicated, Level::Local, Ok(Level::Replicated)),
        (Local, Level::Replicated, Err("one replica")),
        (Received, Level::Local, Err("memory channel")),
        (Received, Level::Unspecified, Ok(Level::Received)),
    ];
    for (own, asked, answer) in table {
        let node = Node::start(own).await;
        let mut client = node.client().await;
        let opened = open(&mut client, asked).await;
        let mut stream = Stream::open(&mut client).await;
        stream.bind(asked).await;
        let bound = stream.answer().await;
        match answer {
            Ok(level) => {
                assert_eq!((opened.code(), opened.level()), (Code::Ok, level));
                assert_eq!((bound.code(), bound.level()), (Code::Ok, level));
                stream.block(&block(0, ["x"])).await;
                assert_eq!(stream.answer().await.level(), level);
            }
            Err(reason) => {
                assert_eq!((opened.code(), bound.code()), (Code::Level, Code::Level));
                assert!(opened.reason.contains(reason), "{}", opened.reason);
            }
        }
        node.stop().await;
    }
}

#[tokio::test]
async fn a_set_that_shrinks_to_one_refuses_replicated_from_then_on() {
    let node = Node::start(sdk_event::Level::Replicated).await;
    let mut stream = node.stream(Level::Replicated).await;
    stream.block(&block(0, ["a"])).await;
    assert_eq!(stream.line().await, "1 ok");
    node.twin.set_level(sdk_event::Level::Local);
    stream.block(&block(1, ["b"])).await;
    assert_eq!(stream.line().await, "2 level");
    assert_eq!(node.twin.bodies(), ["a"]);
    node.stop().await;
}

#[tokio::test]
async fn committed_waits_for_the_files_duplicates_too() {
    let node = Node::start(sdk_event::Level::Local).await;
    let mut stream = node.stream(Level::Committed).await;
    stream.block(&block(0, ["a", "b"])).await;
    stream.block(&block(2, ["c"])).await;
    stream.block(&block(0, ["a", "b"])).await;
    eventually("all are stored", || node.twin.blocks() == 2).await;
    node.twin.commit(2);
    let answer = stream.answer().await;
    assert_eq!((answer.number, answer.code(), answer.level()), (1, Code::Ok, Level::Committed));
    node.twin.commit(3);
    assert_eq!(stream.line().await, "2 ok");
    let answer = stream.answer().await;
    assert_eq!((answer.number, answer.duplicate, answer.level()), (3, true, Level::Committed));
    node.stop().await;
}

#[tokio::test]
async fn what_was_given_up_is_answered_lost() {
    let node = Node::start(sdk_event::Level::Local).await;
    let mut stream = node.stream(Level::Committed).await;
    stream.block(&block(0, ["a"])).await;
    eventually("it is stored", || node.twin.blocks() == 1).await;
    node.twin.lose();
    assert_eq!(stream.line().await, "1 lost");
    node.stop().await;
}
