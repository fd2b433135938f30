//! Shows values of a configuration that most likely do something else than their author means: `check` prints them, every
//! other command logs them.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use inosync_actors::path::RelPath;
use inosync_actors::patterns::excludes::{Excludes, Pattern, unmatched};
use inosync_actors::root::reach::Reach;
use inosync_actors::site::Site;
use inosync_actors::supervisor::watchdog::DaemonMonitor;
use rustix::fs::FileType;
use slog::{Logger, info, warn};

use crate::config::ConfigComplaint;

/// Warnings that a start or a reload logs.
const MOST: usize = 20;

/// The patterns that match nothing now, in words.
pub fn without_match(site: &Site) -> Vec<String> {
    let reach = Reach::of(&site.wpath);
    let patterns = unmatched(&site.excludes, |dir| entries(&reach, dir)).into_iter();
    patterns.map(|pattern| format!("rexcludes: `{pattern}` matches nothing in {} now", site.wpath.display())).collect()
}

fn entries(reach: &Reach, dir: &RelPath) -> io::Result<Vec<(OsString, bool)>> {
    let entries = reach.entries(dir)?.into_iter();
    Ok(entries.map(|(name, kind)| (name, kind == FileType::Directory)).collect())
}

/// Writes the warnings to the log.
pub fn log(warnings: &[ConfigComplaint], log: &Logger) {
    for warning in warnings.iter().take(MOST) {
        warn!(log, "the configuration does not do what it seems to"; "what" => warning.what(), "instead" => warning.cure());
    }
}

/// Logs the patterns that match nothing as soon as the daemon of this monitor watches everything.
pub fn log_unmatched_when_ready(mut monitor: DaemonMonitor, site: &Site, log: &Logger) {
    let excludes = site.excludes.clone();
    let wpath = site.wpath.clone();
    let log = log.clone();
    actix::spawn(async move {
        while let Some(progress) = monitor.progress().await {
            if progress.watching.is_some() {
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
        let reach = Reach::of(&wpath);
        let found = unmatched(&excludes, |dir| entries(&reach, dir));
        if !found.is_empty() {
            let patterns: Vec<String> = found.iter().take(MOST).map(|pattern| Pattern::to_string(pattern)).collect();
            info!(log, "patterns of rexcludes match nothing now"; "patterns" => patterns.join(", "), "number" => found.len());
        }
    };
    // Without the thread only this line is missing.
    let _ = std::thread::Builder::new().name("excludes".into()).spawn(looking);
}
