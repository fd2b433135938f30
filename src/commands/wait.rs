//! `wait`: returns when the nodes have all that changed before the call.

use inosync_actors::path::Escaped;

use crate::commands::orders::no_such_node;
use crate::commands::target::{DaemonTarget, unexpected};
use crate::exit::Exit;
use crate::logging;
use crate::service::control::{Answer, NodeStanding, Request, WaitedNode};

/// Waits until every node, or this one, has all that has changed in the source until now. Prints which nodes do not have it,
/// and why; with `json` all nodes.
pub async fn wait(target: &DaemonTarget, node: Option<String>, timeout: Option<u32>, json: bool) -> Exit {
    let request = Request::Wait { node, timeout };
    let nodes = match target.ask(&request).await {
        Ok(Answer::Waited { nodes }) => nodes,
        Ok(Answer::NoSuchNode { nodes }) => {
            logging::print_error(&format!("inosync: {}", no_such_node(request.node(), &nodes)));
            return Exit::Usage;
        }
        Ok(_) => return unexpected(),
        Err(exit) => return exit,
    };
    if json {
        logging::print(&serde_json::to_string_pretty(&nodes).unwrap_or_default());
    }
    for WaitedNode { name, standing } in &nodes {
        let name = Escaped(name.as_bytes());
        match standing {
            NodeStanding::Has => (),
            NodeStanding::OnItsWay { state } => {
                logging::print_error(&format!("inosync: node {name} does not have it yet: {state}"))
            }
            NodeStanding::Stuck { why } => {
                logging::print_error(&format!("inosync: node {name} does not get it by itself: {why}"))
            }
        }
    }
    exit_of(&nodes)
}

/// A wait ends with a node on its way only if the time is over.
fn exit_of(nodes: &[WaitedNode]) -> Exit {
    let any = |is_so: fn(&NodeStanding) -> bool| nodes.iter().any(|node| is_so(&node.standing));
    if any(|standing| matches!(standing, NodeStanding::OnItsWay { .. })) {
        Exit::Pending
    } else if any(|standing| matches!(standing, NodeStanding::Stuck { .. })) {
        Exit::Failing
    } else {
        Exit::Done
    }
}
