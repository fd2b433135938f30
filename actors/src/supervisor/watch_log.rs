//! The log of what the watcher reports.

use slog::{Logger, debug, error, info, warn};

use crate::change::Reason;
use crate::messages::{Unseen, WatchReport};
use crate::path::RelPath;

/// Logs a report of the watcher.
pub(super) fn log_report(log: &Logger, report: &WatchReport) {
    match report {
        WatchReport::Scanning { directories } => info!(log, "scanning the source"; "directories" => directories),
        WatchReport::Watching { directories } => info!(log, "watching"; "directories" => directories),
        WatchReport::Failed(error) => error!(log, "the source cannot be watched"; "why" => %error),
        WatchReport::Blind { path, why } => {
            warn!(log, "a directory is not watched: changes in it are not seen"; "path" => %path, "why" => %why);
        }
        WatchReport::Unmounted { path } => {
            warn!(log, "a file system was unmounted: the nodes keep its content until it is mounted again or the directory is removed"; "from" => %path);
        }
        WatchReport::RootLost(why) => {
            error!(log, "the source was moved, deleted or unmounted: nothing is sent until it is back"; "why" => %why);
        }
        WatchReport::Unseen(unseen) => log_unseen(log, unseen),
        WatchReport::RootSuperseded => (),
    }
}

/// Logs that track of a subtree was lost.
pub(super) fn log_rescan(log: &Logger, subtree: &RelPath, reason: Reason) {
    match reason {
        // Said once for all of them, and not at each poll.
        Reason::WatchLimit | Reason::Answers => debug!(log, "comparing again"; "subtree" => %subtree, "why" => %reason),
        _ => warn!(log, "comparing again"; "subtree" => %subtree, "why" => %reason),
    }
}

/// Logs news of directories that are not watched, once for each change of state.
fn log_unseen(log: &Logger, unseen: &Unseen) {
    match unseen {
        Unseen::NoWatchLeft { count, first, why, every } => {
            warn!(log, "{} directories are not watched: they are compared every {} s instead", count, every.as_secs();
                "first" => names(first), "why" => %why);
        }
        Unseen::AllWatched { directories } => {
            info!(log, "all directories are watched again"; "directories" => directories);
        }
        Unseen::Found { count, first, expected: true } => {
            info!(log, "directories that were made meanwhile are watched from now on"; "count" => count,
                "first" => names(first));
        }
        Unseen::Found { count, first, expected: false } => {
            warn!(log, "directories were not watched, nobody knows why: please report it; they are compared now";
                "count" => count, "first" => names(first));
        }
        Unseen::Miscounted { surplus, missing } => {
            warn!(log, "the kernel counts other watches than inosync, nobody knows why: please report it";
                "given up" => surplus, "missing" => missing);
        }
    }
}

fn names(paths: &[RelPath]) -> String {
    paths.iter().map(RelPath::to_string).collect::<Vec<_>>().join(", ")
}
