//! The status in the log, which SIGUSR1 asks for.

use std::time::Duration;

use inosync_actors::bytes::Bytes;
use inosync_actors::status::{HookStatus, NodeStatus, Status, Verdict};
use slog::{Logger, error, info, o, warn};

/// Writes the status to the log.
pub fn log(log: &Logger, status: &Status) {
    let source = &status.source;
    info!(log, "status"; "watched" => source.watched_directories, "unwatched" => source.unwatched_directories,
        "overflows" => source.overflows, "up" => duration(status.up()));
    for silent in &source.silent {
        warn!(log, "status: a file system does not answer"; "path" => &silent.path, "kind" => &silent.kind,
            "for" => duration(status.at.saturating_sub(silent.since)));
    }
    for node in &status.nodes {
        let name = &node.name;
        let state = node.state.to_string();
        let lag = lag(node);
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

/// The age of the oldest change that the node does not have.
pub fn lag(node: &NodeStatus) -> String {
    node.lag.map_or("none".to_owned(), |seconds| match seconds {
        0.0..10.0 => format!("{seconds:.1}s"),
        _ => duration(seconds as u64),
    })
}

/// Seconds as `16m 40s`.
pub fn duration(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}
