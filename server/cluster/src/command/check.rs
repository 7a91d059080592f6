//! Checks that several commands share.

use super::reply::Rejected;
use crate::id::{FlowId, NodeId};
use crate::limits::{
    ADDRESS_BYTES_MAX, ADDRESSES_MAX, CHANNELS_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX,
    REASON_BYTES_MAX, REPLICAS_MAX, SHARDS_MAX, SINKS_MAX, SPEC_BYTES_MAX,
};
use crate::state::{Flow, Opening, Plan, State};

pub(crate) fn invalid(reason: impl Into<String>) -> Rejected {
    Rejected::Invalid(reason.into())
}

/// At most [`REASON_BYTES_MAX`] bytes of a reason.
pub(crate) fn cut(mut reason: String) -> String {
    if reason.len() > REASON_BYTES_MAX {
        let mut end = REASON_BYTES_MAX;
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        reason.truncate(end);
    }
    reason
}

pub(crate) fn name(what: &str, name: &str) -> Result<(), Rejected> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(invalid(format!("the name of {what} has 1 to {NAME_BYTES_MAX} bytes")));
    }
    Ok(())
}

pub(crate) fn path(path: &str) -> Result<(), Rejected> {
    if path.is_empty() || path.len() > PATH_BYTES_MAX {
        return Err(invalid(format!("a path has 1 to {PATH_BYTES_MAX} bytes")));
    }
    Ok(())
}

pub(crate) fn addresses(addresses: &[(String, String)], zone: &str) -> Result<(), Rejected> {
    let long = |(port, address): &(String, String)| {
        port.len() > NAME_BYTES_MAX || address.len() > ADDRESS_BYTES_MAX
    };
    if addresses.len() > ADDRESSES_MAX || addresses.iter().any(long) || zone.len() > NAME_BYTES_MAX
    {
        return Err(invalid("too many or too long addresses, or too long a zone"));
    }
    Ok(())
}

/// The command comes from the newest process of the node.
pub(crate) fn incarnation(state: &State, node: NodeId, incarnation: u64) -> Result<(), Rejected> {
    let known = state.nodes.get(&node).ok_or(Rejected::UnknownNode(node))?;
    if known.incarnation != incarnation || incarnation == 0 {
        return Err(Rejected::OldIncarnation { node, current: known.incarnation });
    }
    Ok(())
}

pub(crate) fn flow(state: &State, flow: FlowId) -> Result<&Flow, Rejected> {
    state.flows.get(&flow).ok_or(Rejected::UnknownFlow(flow))
}

/// The opening names nodes there are; gives the owner's incarnation.
pub(crate) fn opening(state: &State, opening: &Opening) -> Result<u64, Rejected> {
    let Opening { owner, replicas } = opening;
    if !replicas.contains(owner) || replicas.len() > REPLICAS_MAX {
        return Err(invalid(format!("1 to {REPLICAS_MAX} replicas, the owner among them")));
    }
    if let Some(unknown) = replicas.iter().find(|node| !state.nodes.contains_key(node)) {
        return Err(Rejected::UnknownNode(*unknown));
    }
    Ok(state.nodes[owner].incarnation)
}

pub(crate) fn plan(spec: &str, plan: &Plan) -> Result<(), Rejected> {
    if spec.len() > SPEC_BYTES_MAX {
        return Err(invalid(format!("a spec has at most {SPEC_BYTES_MAX} bytes")));
    }
    if plan.shards == 0 || plan.shards > SHARDS_MAX {
        return Err(invalid(format!("a flow has 1 to {SHARDS_MAX} shards")));
    }
    if plan.channels.len() > CHANNELS_MAX {
        return Err(invalid(format!("a flow has at most {CHANNELS_MAX} channels")));
    }
    if plan.sinks.len() > SINKS_MAX || plan.groups.len() > SINKS_MAX {
        return Err(invalid(format!("a flow has at most {SINKS_MAX} sinks")));
    }
    plan.channels.keys().try_for_each(|it| name("a channel", it))?;
    plan.sinks.keys().try_for_each(|it| name("a sink", it))?;
    for (group, planned) in &plan.groups {
        name("a group", group)?;
        if !plan.channels.contains_key(&planned.channel) {
            return Err(invalid(format!("group {group} reads a channel that is not there")));
        }
        if planned.sinks.len() > SINKS_MAX
            || !planned.sinks.iter().all(|sink| plan.sinks.contains_key(sink))
        {
            return Err(invalid(format!("group {group} has a sink that is not there")));
        }
    }
    Ok(())
}
