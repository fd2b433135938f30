//! What the log says of directories that are not watched.

use slog::{Logger, info, warn};

use crate::messages::Unseen;
use crate::path::RelPath;

/// Says it, once for each change of state.
pub fn log_unseen(log: &Logger, unseen: &Unseen) {
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
