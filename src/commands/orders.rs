//! `pause`, `resume`, `retry`, `allow-deletes` and `reload`: orders to the running daemon.

use inosync_actors::path::Escaped;

use crate::commands::target::{DaemonTarget, unexpected};
use crate::exit::Exit;
use crate::logging;
use crate::service::control::{Answer, Request};

/// Pauses a node, or resumes it.
pub async fn pause(target: &DaemonTarget, node: String, paused: bool) -> Exit {
    order(target, Request::Pause { node, paused }).await
}

/// Makes the daemon try at once what failed at a node, or at all.
pub async fn retry(target: &DaemonTarget, node: Option<String>) -> Exit {
    order(target, Request::Retry { node }).await
}

/// Lets the reconcile of a node that is held by `max_delete` delete what it takes, once.
pub async fn allow_deletions(target: &DaemonTarget, node: String) -> Exit {
    order(target, Request::AllowDeletions { node }).await
}

/// Makes the daemon read its configuration again, and waits until the new one is in force.
pub async fn reload(target: &DaemonTarget) -> Exit {
    order(target, Request::Reload).await
}

/// Gives an order to the daemon. Prints the reason if the order is not carried out.
async fn order(target: &DaemonTarget, request: Request) -> Exit {
    let (complaint, exit) = match target.ask(&request).await {
        Ok(Answer::Done) => return Exit::Done,
        Err(exit) => return exit,
        Ok(Answer::NoSuchNode { nodes }) => (no_such_node(request.node(), &nodes), Exit::Usage),
        Ok(Answer::NothingToDo) => (nothing_to_do(&request), Exit::Usage),
        Ok(Answer::ReloadRefused { why, is_config }) => {
            let exit = if is_config { Exit::Config } else { Exit::Environment };
            (format!("reload refused: {why}; what was read before stays in force"), exit)
        }
        Ok(_) => return unexpected(),
    };
    logging::print_error(&format!("inosync: {complaint}"));
    exit
}

/// The complaint about a node that is none of these.
pub fn no_such_node(node: Option<&str>, nodes: &[String]) -> String {
    let node = Escaped(node.unwrap_or_default().as_bytes());
    let nodes: Vec<String> = nodes.iter().map(|node| Escaped(node.as_bytes()).to_string()).collect();
    format!("there is no node `{node}`: name one of: {}", nodes.join(", "))
}

fn nothing_to_do(request: &Request) -> String {
    let node = Escaped(request.node().unwrap_or_default().as_bytes());
    match request {
        Request::AllowDeletions { .. } => {
            format!("node {node}: no reconcile is held by max_delete: see inosync status")
        }
        Request::Retry { node: None } => "all nodes are paused: use inosync resume".to_owned(),
        _ => format!("node {node} is paused: use inosync resume"),
    }
}
