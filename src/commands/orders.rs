//! `pause`, `resume` and `reload`: orders to the running daemon.

use inosync_actors::path::Escaped;

use crate::commands::target::{Target, unexpected};
use crate::exit::Exit;
use crate::logging;
use crate::service::control::{Answer, Request};

/// Pauses a node, or resumes it.
pub async fn pause(target: &Target, node: String, paused: bool) -> Exit {
    order(target, Request::Pause { node, paused }).await
}

/// Makes the daemon read its configuration again, and waits until the new one is in force.
pub async fn reload(target: &Target) -> Exit {
    order(target, Request::Reload).await
}

/// Gives an order to the daemon. Prints the reason if it is not carried out.
async fn order(target: &Target, request: Request) -> Exit {
    let complaint = match target.ask(&request).await {
        Ok(Answer::Done) => return Exit::Done,
        Err(exit) => return exit,
        Ok(Answer::NoSuchNode { nodes }) => {
            let nodes: Vec<String> = nodes.iter().map(|node| Escaped(node.as_bytes()).to_string()).collect();
            let node = match &request {
                Request::Pause { node, .. } => node.as_str(),
                _ => "",
            };
            let node = Escaped(node.as_bytes());
            (format!("there is no node `{node}`: name one of: {}", nodes.join(", ")), Exit::Usage)
        }
        Ok(Answer::ReloadRefused { why, is_config }) => {
            let exit = if is_config { Exit::Config } else { Exit::Environment };
            (format!("reload refused: {why}; what was read before stays in force"), exit)
        }
        Ok(_) => return unexpected(),
    };
    logging::print_error(&format!("inosync: {}", complaint.0));
    complaint.1
}
