//! `status`: the status of one daemon.

use std::fmt::Write as _;

use inosync_actors::bytes::Bytes;
use inosync_actors::path::Escaped;
use inosync_actors::status::{HookStatus, NodeState, NodeStatus, Status, Totals, UnixTime, UpstreamStatus, Verdict};

use crate::commands::target::{DaemonTarget, unexpected};
use crate::exit::Exit;
use crate::logging;
use crate::service::control::{Answer, Request};
use crate::service::status_log::{duration, lag};

/// Prints the daemon's status, for people or as JSON. The exit code is that of a monitoring check.
pub async fn status(target: &DaemonTarget, json: bool) -> Exit {
    let status = match target.ask(&Request::Status).await {
        Ok(Answer::Status(status)) => status,
        Ok(_) => return unexpected(),
        Err(exit) => return exit,
    };
    let text = if json { serde_json::to_string_pretty(&status).unwrap_or_default() } else { shown(&status) };
    logging::print(text.trim_end());
    exit_of(status.verdict())
}

/// The exit code of a monitoring check.
pub fn exit_of(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Well => Exit::Done,
        Verdict::Attention => Exit::Attention,
        Verdict::Failing => Exit::Failing,
    }
}

/// The status as lines for people.
fn shown(status: &Status) -> String {
    let Status { version, rsync, wpath, process, source, .. } = status;
    let mut text = String::new();
    // A String takes every text.
    let _ = writeln!(text, "inosync {version}, {wpath}, pid {}, up {}", process.pid, duration(status.up()));
    let limit = source.watch_limit.map_or(String::new(), |limit| format!(" (limit {limit})"));
    let _ = writeln!(text, "source: watched directories: {}{limit}", source.watched_directories);
    if let Some(upstream) = &source.upstream {
        show_upstream(upstream, &mut text);
    }
    if let Some(trouble) = &source.trouble {
        let _ = writeln!(text, "  NOTHING IS SENT: {trouble}");
    }
    for silent in &source.silent {
        let since = duration(status.at.saturating_sub(silent.since));
        let _ = writeln!(text, "  NOT reachable: {} ({}) has not answered for {since}", silent.path, silent.kind);
    }
    if source.unwatched_directories > 0 {
        let names = source.unwatched.join(", ");
        let _ = writeln!(text, "  NOT watched: {}: {names}", source.unwatched_directories);
    }
    if source.rescans > 0 {
        let _ = writeln!(text, "  compared again: {} times, {} overflows", source.rescans, source.overflows);
    }
    if let Some(why) = &status.state_trouble {
        let _ = writeln!(text, "state: NOT kept: {why}");
    }
    status.nodes.iter().for_each(|node| show_node(node, status.at, rsync, &mut text));
    if let Some(hook) = &status.hook {
        show_hook(hook, "on_all_synced", status.at, &mut text);
    }
    text
}

/// The way from the first source to this one.
fn show_upstream(upstream: &UpstreamStatus, text: &mut String) {
    let UpstreamStatus { source, hops, lag, reconciles, holds_removals } = upstream;
    let behind = lag.map_or("nothing known of it yet".to_owned(), |lag| format!("{} behind", duration(lag as u64)));
    let _ = writeln!(text, "  mirror of: {}, hops: {hops}, {behind}", Escaped(source.as_bytes()));
    if *holds_removals {
        let why = if *reconciles { "it is being compared with its own source" } else { "its heartbeat is old" };
        let _ = writeln!(text, "  removals WAIT: {why}");
    }
}

fn show_node(node: &NodeStatus, now: UnixTime, rsync: &str, text: &mut String) {
    let name = Escaped(node.name.as_bytes());
    let until = match &node.state {
        NodeState::Backoff { until, .. } if *until <= now => "; trying now".to_owned(),
        NodeState::Backoff { until, .. } => format!("; next try in {}", duration(until - now)),
        _ => String::new(),
    };
    let _ = writeln!(text, "node {name}: {}{until}", node.state);
    show_behind(node, text);
    show_past(node, now, text);
    for limit in &node.limits {
        let _ = writeln!(text, "  limit there: {limit}");
    }
    let there = node.rsync.version.as_deref().unwrap_or("version not told");
    let protocol = node.rsync.protocol.map_or(String::new(), |number| format!(", protocol {number}"));
    let _ = writeln!(text, "  rsync: {rsync} here, {there} there{protocol}");
    if let Some(hook) = &node.hook {
        show_hook(hook, "  on_synced", now, text);
    }
}

/// The differences between the node and the source, and the progress of a comparison.
fn show_behind(node: &NodeStatus, text: &mut String) {
    if node.pending > 0 && node.state != NodeState::Incomplete {
        let _ = writeln!(text, "  pending: {} paths, oldest unsent change: {}", node.pending, lag(node));
    }
    if node.failing_paths > 0 {
        let oldest = duration(node.failing_oldest.unwrap_or_default() as u64);
        let first = named(&node.failing_first, node.failing_paths);
        let count = node.failing_paths;
        let _ = writeln!(text, "  failing paths: {count}, oldest: {oldest}; tried again at intervals{first}");
    }
    if node.keeps_removed {
        let _ = writeln!(text, "  keeps what the source lost (delete)");
    }
    if node.unmirrored_moves > 0 {
        let first = named(&node.unmirrored_first, node.unmirrored_moves);
        let _ = writeln!(text, "  NOT mirrored: directory moves: {} (dir_moves: Log){first}", node.unmirrored_moves);
    }
    if node.attributes_unset > 0 {
        let first = named(&node.attributes_unset_first, node.attributes_unset);
        let why = node.attributes_unset_why.as_deref().map_or(String::new(), |why| format!("; {why}"));
        let _ = writeln!(text, "  NOT set: attributes of {} paths{first}{why}", node.attributes_unset);
    }
    if let Some(progress) = &node.progress {
        let total = progress.total.map_or("so far".to_owned(), |total| format!("of {total} entries"));
        let _ = writeln!(text, "  comparing: {} {total}, {} sent", progress.checked, Bytes(progress.bytes));
    }
    if let Some(why) = &node.reconcile_held {
        let _ = writeln!(text, "  reconcile held: {why}");
    }
}

/// The counts, the last verification and the last error.
fn show_past(node: &NodeStatus, now: UnixTime, text: &mut String) {
    let ago = |at: UnixTime| duration(now.saturating_sub(at));
    let success = node.last_success_at.map_or("none yet".to_owned(), |at| format!("{} ago", ago(at)));
    let Totals { sent, deleted, bytes, batches, reconciles, failures, restarts } = node.totals;
    let bytes = Bytes(bytes);
    let _ = writeln!(
        text,
        "  last success: {success}; sent: {sent}, deleted: {deleted}, bytes: {bytes}, batches: {batches}, \
         reconciles: {reconciles}, failures: {failures}, restarts: {restarts}"
    );
    if let Some(verified) = &node.verified {
        let before = if verified.reconciled_since { ", before the last reconcile" } else { "" };
        let rest = if verified.complete { "" } else { ", not all could be compared" };
        let at = ago(verified.at);
        let took = duration(verified.took_seconds.round() as u64);
        let _ =
            writeln!(text, "  verified: {at} ago{before}: entries that differ: {}{rest}, took {took}", verified.drift);
    }
    if let Some(error) = &node.last_error {
        let _ = writeln!(text, "  last error: {} ago: {}", ago(error.at), error.text);
    }
}

/// The first of some names, to be added to a line.
fn named(first: &[String], count: usize) -> String {
    match first {
        [] => String::new(),
        first if first.len() < count => format!("; first: {}", first.join(", ")),
        all => format!(": {}", all.join(", ")),
    }
}

fn show_hook(hook: &HookStatus, key: &str, now: UnixTime, text: &mut String) {
    let HookStatus { running, fails, runs, failures, untold, waiting, last_error, .. } = hook;
    let state = match (running, fails) {
        (true, false) => "running",
        (false, false) => "idle",
        (_, true) => "FAILS",
    };
    let count = |what, count: &usize| if *count > 0 { format!("; {what}: {count}") } else { String::new() };
    let untold = count("paths not told yet", untold);
    let waiting = count("paths that a node lacks", waiting);
    let _ = writeln!(text, "{key}: {state}; runs: {runs}, failures: {failures}{untold}{waiting}");
    if let Some(error) = last_error {
        let indent = key.len() - key.trim_start().len() + 2;
        let ago = duration(now.saturating_sub(error.at));
        let _ = writeln!(text, "{:indent$}last error: {ago} ago: {}", "", error.text);
    }
}

#[cfg(test)]
mod tests;
