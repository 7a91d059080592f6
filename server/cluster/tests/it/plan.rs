//! From a flow's spec to what the state knows of it.

use server_cluster::command::CreateFlow;
use server_cluster::state::{Opening, Plan};
use server_cluster::{Reply, State};

use crate::script::parse;

#[test]
fn a_spec_comes_back_from_the_state() {
    let spec = sdk_config::default_flow("/data/files");
    let (plan, json) = Plan::of(&spec);
    let mut state = State::new();
    state.apply(1, parse("init").unwrap());
    state.apply(2, parse("up 1").unwrap());
    let opening = Opening { owner: 1, replicas: vec![1] };
    let shards = vec![opening; spec.shards as usize];
    let create = CreateFlow { name: "default".to_owned(), spec: json, plan, shards };
    assert_eq!(state.apply(3, create.into()), Reply::Flow { flow: 3, version: 1 });
    let (_, flow) = state.flow_named("default").unwrap();
    assert_eq!(flow.newest().flow_spec().unwrap(), spec);
    let groups: Vec<&String> = flow.newest().groups.keys().collect();
    assert_eq!(groups.len(), 1);
    assert_eq!(state.drains(1).len(), spec.shards as usize);
}
