//! Checks that the source can be watched and read.

use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use inosync_actors::path::RelPath;
use inosync_actors::rsync::own_name;
use inosync_actors::site::Site;
use inosync_actors::watch_error::watch_limit;
use inosync_actors::watcher::count_directories;
use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::report::Report;
use super::shown;

/// Time limit for the walk over all entries.
const TIME: Duration = Duration::from_secs(120);
/// The time between two lines about the progress of the walk.
const EVERY: Duration = Duration::from_secs(5);
/// Names that are shown.
const NAMES: usize = 3;

/// Counts the directories to watch and the entries that cannot be read.
pub async fn look(site: &Site, report: &mut Report) {
    let again = site.clone();
    // On a thread of its own: a signal can end the check meanwhile.
    let looked = tokio::task::spawn_blocking(move || {
        let directories = count_directories(&again.wpath, &again.excludes);
        (directories, unreadable(&again))
    });
    let Ok((directories, unreadable)) = looked.await else { return };
    watches(site, directories, report);
    readable(site, &unreadable, report);
}

fn watches(site: &Site, directories: usize, report: &mut Report) {
    let wpath = shown(&site.wpath);
    match watch_limit() {
        Some(limit) if directories > limit.value => report.fault(format!(
            "source: {wpath}: {directories} directories to watch, but {} is {}\n  raise it: {}",
            limit.setting,
            limit.value,
            limit.raised_for(directories)
        )),
        Some(limit) => report
            .well(format!("source: {wpath}: {directories} directories to watch; {} is {}", limit.setting, limit.value)),
        None => report.well(format!("source: {wpath}: {directories} directories to watch; this kernel tells no limit")),
    }
}

fn readable(site: &Site, seen: &Unreadable, report: &mut Report) {
    let wpath = shown(&site.wpath);
    if seen.count > 0 {
        let names = seen.first.iter().map(|path| path.to_string()).collect::<Vec<_>>().join(", ");
        let more = if seen.count > seen.first.len() { ", ..." } else { "" };
        report.fault(format!(
            "source: {wpath}: {} entries cannot be read by {}: {names}{more}\n  let that user read them (a group, an ACL, or \
             CAP_DAC_READ_SEARCH in the unit), or exclude them by `rexcludes`",
            seen.count,
            own_name()
        ));
    }
    if !seen.is_whole {
        let seconds = TIME.as_secs();
        report.warning(format!(
            "source: {wpath}: {} entries were looked at in {seconds} s, and not the rest",
            seen.looked_at
        ));
    }
}

/// The entries that cannot be read.
#[derive(Debug, Default)]
struct Unreadable {
    count: usize,
    first: Vec<RelPath>,
    looked_at: usize,
    is_whole: bool,
}

impl Unreadable {
    fn add(&mut self, path: RelPath) {
        self.count += 1;
        if self.first.len() < NAMES {
            self.first.push(path);
        }
    }
}

/// Tries each entry that is mirrored. Symlinks are not followed.
fn unreadable(site: &Site) -> Unreadable {
    let started = Instant::now();
    let mut last_line = started;
    let mut seen = Unreadable { is_whole: true, ..Unreadable::default() };
    let mut directories = vec![RelPath::root()];
    if may(&site.wpath, Access::READ_OK | Access::EXEC_OK) == Err(io::ErrorKind::PermissionDenied) {
        seen.add(RelPath::root());
    }
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(directory.under(&site.wpath)) else { continue };
        for entry in entries.flatten() {
            let path = directory.join(&entry.file_name());
            let Ok(kind) = entry.file_type() else { continue };
            if site.excludes.matching(&path, kind.is_dir()).is_some() {
                continue;
            }
            seen.looked_at += 1;
            if is_denied(&entry, kind) {
                seen.add(path);
            } else if kind.is_dir() {
                directories.push(path);
            }
        }
        if started.elapsed() > TIME {
            seen.is_whole = false;
            break;
        }
        if last_line.elapsed() > EVERY {
            last_line = Instant::now();
            eprintln!("inosync: {} entries of the source looked at", seen.looked_at);
        }
    }
    seen.first.sort();
    seen
}

/// True if this user may not read a file, or not enter and list a directory. rsync opens nothing else.
fn is_denied(entry: &DirEntry, kind: fs::FileType) -> bool {
    let wanted = if kind.is_dir() { Access::READ_OK | Access::EXEC_OK } else { Access::READ_OK };
    (kind.is_dir() || kind.is_file()) && may(&entry.path(), wanted) == Err(io::ErrorKind::PermissionDenied)
}

/// Tests the access of this process, by its effective user and its capabilities.
pub(super) fn may(path: &Path, access: Access) -> Result<(), io::ErrorKind> {
    accessat(CWD, path, access, AtFlags::EACCESS).map_err(|errno| io::Error::from(errno).kind())
}
