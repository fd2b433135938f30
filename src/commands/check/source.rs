//! Checks that the source can be watched and read.

use std::collections::BTreeSet;
use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use inosync_actors::path::RelPath;
use inosync_actors::root::reach::Reach;
use inosync_actors::rsync::own_name;
use inosync_actors::site::Site;
use inosync_actors::watch_error::watch_limit;
use inosync_actors::watcher::count_directories;
use rustix::fs::{Access, AtFlags, CWD, accessat, statfs};

use super::mounts::FileSystems;
use super::report::Report;
use super::shown;
use crate::service::config_warnings::without_match;

/// Time limit for the walk over all entries.
const TIME: Duration = Duration::from_secs(120);
/// The time between two lines about the progress of the walk.
const EVERY: Duration = Duration::from_secs(5);
/// Names that are shown.
const NAMES: usize = 3;

/// Counts the directories to watch and the entries that cannot be read, and says what of it is seen. Returns what it is
/// mounted from; `None` if it does not answer and should not be touched.
pub async fn look(site: &Site, report: &mut Report) -> Option<FileSystems> {
    let again = site.clone();
    let reach = Reach::of(&site.wpath);
    let asked = reach.clone();
    // What does not answer is told with the root, which asks once more.
    if !matches!(tokio::task::spawn_blocking(move || asked.ask_all()).await, Ok(Ok(()))) {
        return None;
    }
    let mounts = FileSystems::of(site, &reach).await?;
    // On a thread of its own: a signal can end the check meanwhile.
    let looked = tokio::task::spawn_blocking(move || {
        let directories = count_directories(&reach, &again.excludes);
        (directories, walk(&again, &mounts), mounts, without_match(&again))
    });
    let (directories, seen, mounts, notes) = looked.await.ok()?;
    notes.into_iter().for_each(|note| report.well(format!("note: {note}")));
    watches(site, directories, report);
    readable(site, &seen, report);
    mounts.tell(&seen.subvolumes, report);
    Some(mounts)
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

fn readable(site: &Site, seen: &WalkFindings, report: &mut Report) {
    let wpath = shown(&site.wpath);
    if seen.unreadable > 0 {
        let names = seen.first.iter().map(|path| path.to_string()).collect::<Vec<_>>().join(", ");
        let more = if seen.unreadable > seen.first.len() { ", ..." } else { "" };
        report.fault(format!(
            "source: {wpath}: {} entries cannot be read by {}: {names}{more}\n  let that user read them (a group, an ACL, or \
             CAP_DAC_READ_SEARCH in the unit), or exclude them by `rexcludes`",
            seen.unreadable,
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

/// The findings of a walk through the tree.
#[derive(Debug, Default)]
struct WalkFindings {
    /// The number of entries that cannot be read, and the first of them.
    unreadable: usize,
    first: Vec<RelPath>,
    /// The topmost directories of subvolumes of btrfs.
    subvolumes: BTreeSet<RelPath>,
    looked_at: usize,
    is_whole: bool,
}

impl WalkFindings {
    fn cannot_read(&mut self, path: RelPath) {
        self.unreadable += 1;
        if self.first.len() < NAMES {
            self.first.push(path);
        }
    }
}

/// Tries each entry that is mirrored. Symlinks are not followed.
fn walk(site: &Site, mounts: &FileSystems) -> WalkFindings {
    let started = Instant::now();
    let mut last_line = started;
    let mut seen = WalkFindings { is_whole: true, ..WalkFindings::default() };
    let has_btrfs = mounts.has_btrfs();
    let mut directories = vec![RelPath::root()];
    if may(&site.wpath, Access::READ_OK | Access::EXEC_OK) == Err(io::ErrorKind::PermissionDenied) {
        seen.cannot_read(RelPath::root());
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
            if has_btrfs && kind.is_dir() && !mounts.has(&path) && is_subvolume(&entry) {
                seen.subvolumes.insert(path.clone());
            }
            if is_denied(&entry, kind) {
                seen.cannot_read(path);
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

/// Tells the topmost directory of a subvolume of btrfs, whose inode has the same number in each of them.
fn is_subvolume(directory: &DirEntry) -> bool {
    const SUBVOLUME: u64 = 256;
    const BTRFS: u64 = 0x9123_683E;
    directory.metadata().is_ok_and(|meta| meta.ino() == SUBVOLUME)
        && statfs(directory.path()).is_ok_and(|fs| u64::try_from(fs.f_type) == Ok(BTRFS))
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
