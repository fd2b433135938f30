//! Reports the troubles of the daemon that runs with the file: some, such as a file that is too large for a node, are not
//! found by a probe.

use inosync_actors::path::Escaped;
use inosync_actors::status::{HookStatus, NodeState, NodeStatus, Status, Verdict};

use super::report::Report;

/// Reports each trouble of the daemon, or of one node, as a warning: the cause may be gone, and the daemon has not tried
/// again yet.
pub fn report(status: &Status, node: Option<&str>, report: &mut Report) {
    let troubles = match node {
        Some(name) => {
            let name = if name.is_empty() { "local" } else { name };
            status.nodes.iter().filter(|node| node.name == name).filter_map(of_node).collect()
        }
        None => troubles(status),
    };
    for trouble in troubles {
        report.warning(format!("the daemon says: {trouble}"));
    }
}

fn troubles(status: &Status) -> Vec<String> {
    let source = &status.source;
    let nothing = source.trouble.as_ref().map(|why| format!("nothing is sent: {why}"));
    let state = status.state_trouble.as_ref().map(|why| format!("the state is not kept: {why}"));
    let unwatched = (source.unwatched_directories > 0).then(|| {
        format!("{} directories are not watched: {}", source.unwatched_directories, source.unwatched.join(", "))
    });
    let hook = of_hook("on_all_synced", status.hook.as_ref());
    // What is wrong with the source is told once.
    let nodes = status.nodes.iter().filter(|_| nothing.is_none()).filter_map(of_node).collect::<Vec<_>>();
    [nothing, state, unwatched, hook].into_iter().flatten().chain(nodes).collect()
}

fn of_node(node: &NodeStatus) -> Option<String> {
    if node.verdict() == Verdict::Well {
        return None;
    }
    let name = Escaped(node.name.as_bytes());
    let last = node.last_error.as_ref().map(|error| error.text.as_str());
    let why = match (&node.state, last) {
        (NodeState::Backoff { .. } | NodeState::Incomplete, Some(last)) => format!("{}: {last}", node.state.word()),
        (NodeState::Idle | NodeState::Syncing | NodeState::Reconciling, _) => {
            of_hook("on_synced", node.hook.as_ref()).unwrap_or_else(|| "not all is well: see inosync status".to_owned())
        }
        (state, _) => state.to_string(),
    };
    Some(format!("node {name}: {why}"))
}

fn of_hook(key: &str, hook: Option<&HookStatus>) -> Option<String> {
    let hook = hook.filter(|hook| hook.fails)?;
    let why = hook.last_error.as_ref().map_or(String::new(), |error| format!(": {}", error.text));
    Some(format!("{key} fails{why}"))
}
