//! Shows values of a configuration that most likely do something else than their author means: `--check` prints them, every
//! other command logs them.

use std::io::Write;
use std::path::Path;

use inosync_actors::patterns::excludes::{Excludes, Pattern, unmatched};
use inosync_actors::site::Site;
use inosync_actors::supervisor::pulse::Pulse;
use slog::{Logger, info, warn};

use crate::config::Complaint;

/// Warnings that a start or a reload logs.
const MOST: usize = 20;

/// Prints the warnings, and the patterns that match nothing now.
pub fn print(warnings: &[Complaint], site: &Site) {
    let mut out = std::io::stdout().lock();
    let warning = warnings.iter().map(|warning| format!("warning: {warning}"));
    let nothing = unmatched(&site.excludes, &site.wpath)
        .into_iter()
        .map(|pattern| format!("note: rexcludes: `{pattern}` matches nothing in {} now", site.wpath.display()));
    for line in warning.chain(nothing) {
        // A reader that went away is no reason to fail.
        let _ = writeln!(out, "{line}");
    }
}

/// Writes the warnings to the log.
pub fn log(warnings: &[Complaint], log: &Logger) {
    for warning in warnings.iter().take(MOST) {
        warn!(log, "the configuration does not do what it seems to"; "what" => warning.what(), "instead" => warning.cure());
    }
}

/// Logs the patterns that match nothing as soon as the daemon of this pulse watches everything.
pub fn log_unmatched_when_ready(mut pulse: Pulse, site: &Site, log: &Logger) {
    let excludes = site.excludes.clone();
    let wpath = site.wpath.clone();
    let log = log.clone();
    actix::spawn(async move {
        while let Some(standing) = pulse.standing().await {
            if standing.watching.is_some() {
                return log_unmatched(excludes, &wpath, &log);
            }
        }
    });
}

/// Logs the patterns that match nothing now, on a thread of its own.
pub fn log_unmatched(excludes: Excludes, wpath: &Path, log: &Logger) {
    let wpath = wpath.to_owned();
    let log = log.clone();
    let looking = move || {
        let found = unmatched(&excludes, &wpath);
        if !found.is_empty() {
            let patterns: Vec<String> = found.iter().take(MOST).map(|pattern| Pattern::to_string(pattern)).collect();
            info!(log, "patterns of rexcludes match nothing now"; "patterns" => patterns.join(", "), "number" => found.len());
        }
    };
    // Without the thread only this line is missing.
    let _ = std::thread::Builder::new().name("excludes".into()).spawn(looking);
}
