//! `--status`, `--pause` and `--resume`: asks the running daemon, and says what it says.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use inosync_actors::bytes::Bytes;
use inosync_actors::path::Escaped;
use inosync_actors::status::{HookStatus, NodeState, NodeStatus, Status, UnixTime, Verdict};
use slog::{Logger, error, info, o, warn};

use crate::config::Outline;
use crate::control::{Answer, AskError, Request, ask};
use crate::exit::Exit;
use crate::logging;

/// Prints how the daemon is doing, for people or as JSON. The exit code is that of a monitoring check.
pub async fn status(config: &Path, outline: &Outline, json: bool) -> Exit {
    let status = match ask(config, &outline.sockets, &Request::Status).await {
        Ok(Answer::Status(status)) => status,
        other => return complain(other),
    };
    let text = if json { serde_json::to_string_pretty(&status).unwrap_or_default() } else { shown(&status) };
    logging::print(text.trim_end());
    match status.verdict() {
        Verdict::Well => Exit::Done,
        Verdict::Attention => Exit::Attention,
        Verdict::Failing => Exit::Failing,
    }
}

/// Pauses a node, or lets it go on.
pub async fn pause(config: &Path, outline: &Outline, node: &str, paused: bool) -> Exit {
    let request = Request::Pause { node: node.to_owned(), paused };
    match ask(config, &outline.sockets, &request).await {
        Ok(Answer::Done) => Exit::Done,
        Ok(Answer::NoSuchNode { nodes }) => {
            let nodes: Vec<String> = nodes.iter().map(|node| Escaped(node.as_bytes()).to_string()).collect();
            let node = Escaped(node.as_bytes());
            logging::say(&format!("inosync: there is no node `{node}`: name one of: {}", nodes.join(", ")));
            Exit::Usage
        }
        other => complain(other),
    }
}

/// Says why there is no answer, or none that was asked for.
pub fn complain(answer: Result<Answer, AskError>) -> Exit {
    let why = match answer {
        Err(why) => why.to_string(),
        Ok(Answer::Refused { why }) => why,
        Ok(_) => "the daemon answers something else: if inosync was upgraded, restart it".to_owned(),
    };
    logging::say(&format!("inosync: {why}"));
    Exit::NoAnswer
}

/// Writes the status to the log.
pub fn log(log: &Logger, status: &Status) {
    let source = &status.source;
    info!(log, "status"; "watched" => source.watched_directories, "unwatched" => source.unwatched_directories,
        "overflows" => source.overflows, "up" => duration(status.up()));
    for node in &status.nodes {
        let (name, state, lag) = (&node.name, node.state.to_string(), lag(node));
        let totals = &node.totals;
        match node.verdict() {
            Verdict::Well => {
                info!(log, "status"; "node" => name, "state" => state, "pending" => node.pending, "lag" => lag,
                    "sent" => totals.sent, "deleted" => totals.deleted, "bytes" => %Bytes(totals.bytes));
            }
            Verdict::Attention => {
                warn!(log, "status"; "node" => name, "state" => state, "pending" => node.pending, "lag" => lag,
                    "failing" => node.failing_paths, "unmirrored_moves" => node.unmirrored_moves,
                    "attributes_unset" => node.attributes_unset);
            }
            Verdict::Failing => {
                error!(log, "status"; "node" => name, "state" => state, "pending" => node.pending, "lag" => lag,
                    "failing" => node.failing_paths, "unmirrored_moves" => node.unmirrored_moves);
            }
        }
        log_hook(&log.new(o!("node" => name.clone())), "on_synced", node.hook.as_ref());
    }
    log_hook(log, "on_all_synced", status.hook.as_ref());
}

fn log_hook(log: &Logger, key: &'static str, hook: Option<&HookStatus>) {
    if let Some(HookStatus { last_error: Some(error), fails: true, untold, .. }) = hook {
        warn!(log, "status: hook fails"; "hook" => key, "untold" => untold, "why" => &error.text);
    }
}

/// The status for people.
fn shown(status: &Status) -> String {
    let Status { version, rsync, wpath, pid, source, .. } = status;
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = writeln!(text, "inosync {version}, {wpath}, pid {pid}, up {}", duration(status.up()));
    let limit = source.watch_limit.map_or(String::new(), |limit| format!(" (limit {limit})"));
    let _ = writeln!(text, "source: watched directories: {}{limit}", source.watched_directories);
    if let Some(trouble) = &source.trouble {
        let _ = writeln!(text, "  NOTHING IS SENT: {trouble}");
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

fn show_node(node: &NodeStatus, now: UnixTime, rsync: &str, text: &mut String) {
    let name = Escaped(node.name.as_bytes());
    let until = match &node.state {
        NodeState::Backoff { until, .. } if *until <= now => "; trying now".to_owned(),
        NodeState::Backoff { until, .. } => format!("; next try in {}", duration(until - now)),
        _ => String::new(),
    };
    let _ = writeln!(text, "node {name}: {}{until}", node.state);
    if node.pending > 0 && node.state != NodeState::Incomplete {
        let _ = writeln!(text, "  pending: {} paths, oldest unsent change: {}", node.pending, lag(node));
    }
    if node.failing_paths > 0 {
        let oldest = duration(node.failing_oldest.unwrap_or_default() as u64);
        let first = named(&node.failing_first, node.failing_paths);
        let _ = writeln!(
            text,
            "  failing paths: {}, oldest: {oldest}; tried again at intervals{first}",
            node.failing_paths
        );
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
    let ago = |at: UnixTime| duration(now.saturating_sub(at));
    let success = node.last_success_at.map_or("none yet".to_owned(), |at| format!("{} ago", ago(at)));
    let totals = &node.totals;
    let _ = writeln!(
        text,
        "  last success: {success}; sent: {}, deleted: {}, bytes: {}, batches: {}, reconciles: {}, failures: {}, restarts: {}",
        totals.sent,
        totals.deleted,
        Bytes(totals.bytes),
        totals.batches,
        totals.reconciles,
        totals.failures,
        totals.restarts
    );
    if let Some(verified) = &node.verified {
        let before = if verified.reconciled_since { ", before the last reconcile" } else { "" };
        let rest = if verified.complete { "" } else { ", not all could be compared" };
        let (at, took) = (ago(verified.at), duration(verified.took_seconds.round() as u64));
        let _ =
            writeln!(text, "  verified: {at} ago{before}: entries that differ: {}{rest}, took {took}", verified.drift);
    }
    if let Some(error) = &node.last_error {
        let _ = writeln!(text, "  last error: {} ago: {}", ago(error.at), error.text);
    }
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
    let (untold, waiting) = (count("paths not told yet", untold), count("paths that a node lacks", waiting));
    let _ = writeln!(text, "{key}: {state}; runs: {runs}, failures: {failures}{untold}{waiting}");
    if let Some(error) = last_error {
        let indent = key.len() - key.trim_start().len() + 2;
        let ago = duration(now.saturating_sub(error.at));
        let _ = writeln!(text, "{:indent$}last error: {ago} ago: {}", "", error.text);
    }
}

fn lag(node: &NodeStatus) -> String {
    node.lag.map_or("none".to_owned(), |seconds| match seconds {
        0.0..10.0 => format!("{seconds:.1}s"),
        _ => duration(seconds as u64),
    })
}

fn duration(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

#[cfg(test)]
mod tests;
