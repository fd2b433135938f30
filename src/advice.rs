//! What a configuration has in it that is taken, and does most likely other things than it seems to: told by `--check` on
//! standard output, by everything else in the log.

use std::io::Write;
use std::path::Path;

use inosync_actors::patterns::excludes::{Excludes, Pattern, unmatched};
use inosync_actors::site::Site;
use inosync_actors::supervisor::pulse::Pulse;
use slog::{Logger, info, warn};

use crate::config::Complaint;

/// More are not told at a start or a reload.
const MOST: usize = 20;

/// Prints the warnings.
pub fn print(warnings: &[Complaint]) {
    let mut out = std::io::stdout().lock();
    for warning in warnings {
        // A reader that went away is no reason to fail.
        let _ = writeln!(out, "warning: {warning}");
    }
}

/// The patterns that match nothing now, in words.
pub fn without_match(site: &Site) -> Vec<String> {
    let patterns = unmatched(&site.excludes, &site.wpath).into_iter();
    patterns.map(|pattern| format!("rexcludes: `{pattern}` matches nothing in {} now", site.wpath.display())).collect()
}

/// Writes the warnings to the log.
pub fn log(warnings: &[Complaint], log: &Logger) {
    for warning in warnings.iter().take(MOST) {
        warn!(log, "the configuration does not do what it seems to"; "what" => warning.what(), "instead" => warning.cure());
    }
}

/// Looks for patterns that match nothing, where nobody waits for it: as soon as the daemon of this pulse watches everything.
pub fn look_when_ready(mut pulse: Pulse, site: &Site, log: &Logger) {
    let (excludes, wpath, log) = (site.excludes.clone(), site.wpath.clone(), log.clone());
    actix::spawn(async move {
        while let Some(standing) = pulse.standing().await {
            if standing.watching.is_some() {
                return look(excludes, &wpath, &log);
            }
        }
    });
}

/// The same at once.
pub fn look(excludes: Excludes, wpath: &Path, log: &Logger) {
    let (wpath, log) = (wpath.to_owned(), log.clone());
    let looking = move || {
        let found = unmatched(&excludes, &wpath);
        if !found.is_empty() {
            let patterns: Vec<String> = found.iter().take(MOST).map(|pattern| Pattern::to_string(pattern)).collect();
            info!(log, "patterns of rexcludes match nothing now"; "patterns" => patterns.join(", "), "number" => found.len());
        }
    };
    // Without a thread nothing is told, and nothing else is missing.
    let _ = std::thread::Builder::new().name("excludes".into()).spawn(looking);
}
