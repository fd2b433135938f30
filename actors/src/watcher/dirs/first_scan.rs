//! The scan at the start, when nothing is watched yet, on several threads. Each directory is watched before it is listed.

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use inotify::WatchMask;
use rustix::fs::{AtFlags, FileType, statat};

use super::listing::included;
use super::place::Placed;
use super::{Dirs, MASK};
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::root::reach::Reach;
use crate::root::reach::look::{self, Meta, Place};
use crate::root::walk::{PackedNames, Start, Visitor, walk};
use crate::temp_name;
use crate::watch_error::WatchError;
use crate::watcher::tree::NodeId;
use crate::watcher::watches::Watches;

/// Is told the number of watched directories now and then.
pub(crate) type ScanProgress<'p> = dyn FnMut(usize) + Send + 'p;

/// Changes told at most. Where more changed, the reconcile that follows a start is as fast.
const RECENT: usize = 10_000;

struct FirstScan<'s, 'd> {
    placing: Mutex<Placing<'s, 'd>>,
    excludes: Excludes,
    watches: Watches,
    reach: Reach,
    since: Option<SystemTime>,
    /// `true` if files of temporary names are left alone.
    awaits_names: bool,
}

struct Placing<'s, 'd> {
    dirs: &'d mut Dirs,
    progress: &'s mut ScanProgress<'s>,
    recent: Vec<RelPath>,
}

/// Watches everything when nothing but the root is watched yet. Returns the files that changed
/// [since](Dirs::telling_since) the start, before their directories were watched.
pub(crate) fn first_scan<'s>(dirs: &mut Dirs, progress: &'s mut ScanProgress<'s>) -> Vec<RelPath> {
    let path = RelPath::root();
    let root = dirs.root();
    let reach = dirs.reach.clone();
    let scan = FirstScan {
        excludes: dirs.excludes.clone(),
        watches: dirs.watches.clone(),
        reach: reach.clone(),
        since: dirs.since,
        awaits_names: dirs.nameless.awaits_names(),
        placing: Mutex::new(Placing { dirs, progress, recent: Vec::new() }),
    };
    match reach.open(&path, false) {
        Ok(opened) => {
            let names = scan.list(&path, &opened);
            walk(&reach, Start { path, opened, known: root, names }, &scan);
        }
        Err(error) => scan.missed(path, error),
    }
    scan.placing.into_inner().unwrap_or_else(PoisonError::into_inner).recent
}

impl<'s, 'd> FirstScan<'s, 'd> {
    fn placing(&self) -> MutexGuard<'_, Placing<'s, 'd>> {
        self.placing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directories in an open one that are to be watched. Notes the files in it that changed.
    fn list(&self, dir: &RelPath, opened: &Arc<OwnedFd>) -> PackedNames {
        let looks_at_files = (self.since.is_some() || self.awaits_names) && self.reach.point(dir).is_none();
        let listed = match looks_at_files {
            true => self.list_recent(dir, opened),
            false => self.reach.directories_in(opened, dir),
        };
        match listed {
            Ok(names) => included(&self.excludes, dir, names),
            Err(error) => {
                self.missed(dir.clone(), error);
                PackedNames::default()
            }
        }
    }

    fn list_recent(&self, dir: &RelPath, opened: &Arc<OwnedFd>) -> io::Result<PackedNames> {
        let is_recent = |name: &CStr| {
            let meta =
                self.since.and_then(|since| Some((since, statat(opened, name, AtFlags::SYMLINK_NOFOLLOW).ok()?)));
            meta.is_some_and(|(since, meta)| Meta::from(&meta).changed_at() >= since)
        };
        let mut names = PackedNames::default();
        let mut recent = Vec::new();
        look::list(opened, &mut |name, kind| {
            if look::known(opened, name, kind) == FileType::Directory {
                names.push(name.to_bytes());
            } else if self.awaits_names && temp_name::stem(name.to_bytes()).is_some() {
                self.placing().dirs.nameless.found_file(dir, OsStr::from_bytes(name.to_bytes()));
            } else if is_recent(name) {
                recent.push(dir.join(OsStr::from_bytes(name.to_bytes())));
            }
            true
        })?;
        if !recent.is_empty() {
            let mut placing = self.placing();
            let room = RECENT.saturating_sub(placing.recent.len());
            placing.recent.extend(recent.into_iter().take(room));
        }
        Ok(names)
    }
}

impl Visitor for FirstScan<'_, '_> {
    type Known = NodeId;

    fn visit(&self, path: &RelPath, opened: &Arc<OwnedFd>, parent: NodeId) -> Option<(NodeId, PackedNames)> {
        if temp_name::is_of_directory(path) && self.placing().dirs.leaves_alone(path, false) {
            return None;
        }
        // The open directory is named by a link of /proc, which must be followed.
        let mask = MASK.difference(WatchMask::DONT_FOLLOW);
        let watch = match self.watches.add_within(&self.reach, path, Place::opened(opened), mask) {
            Ok(watch) => watch,
            Err(error) => {
                self.missed(path.clone(), error);
                return None;
            }
        };
        let mut placing = self.placing();
        let placed = placing.dirs.place(watch, parent, OsStr::from_bytes(path.name()));
        placing.dirs.coverage.step();
        let count = placing.dirs.tree.count();
        (placing.progress)(count);
        drop(placing);
        match placed {
            Placed::New(id) => Some((id, self.list(path, opened))),
            // A directory that was moved from where it was seen, with what was found below it.
            Placed::Known(_) | Placed::Moved(_) | Placed::Tangled => None,
        }
    }

    fn missed(&self, path: RelPath, error: io::Error) {
        let mut placing = self.placing();
        let on_disk = placing.dirs.on_disk(&path);
        if let Some(error) = WatchError::of_directory(&on_disk, error) {
            placing.dirs.add_blind(path, error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use inotify::Inotify;

    use super::*;
    use crate::root::walk::threads;

    fn scanned(root: &std::path::Path, excludes: &[&str], since: Option<SystemTime>) -> (Dirs, Vec<RelPath>) {
        let watches = Watches::of(&Inotify::init().unwrap()).unwrap();
        let excludes = Excludes::new(excludes.iter().map(ToString::to_string).collect()).unwrap();
        let mut dirs = Dirs::new(root.to_owned(), excludes, watches).unwrap();
        dirs.since = since;
        let mut counts = Vec::new();
        let recent = first_scan(&mut dirs, &mut |count| counts.push(count));
        assert!(counts.is_sorted(), "each count has one directory more");
        (dirs, recent)
    }

    #[test]
    fn every_directory_is_watched_under_its_name_but_those_that_are_excluded() {
        let tree = tempfile::tempdir().unwrap();
        let mut made = vec![String::from(".")];
        for top in 0..20 * threads() {
            for below in ["", "/one", "/one/more", "/two", "/skip", "/skip/inner"] {
                let path = format!("top{top}{below}");
                fs::create_dir(tree.path().join(&path)).unwrap();
                made.extend((!path.contains("skip")).then_some(path));
            }
        }
        let (dirs, _) = scanned(tree.path(), &["skip/"], None);
        let mut names: Vec<String> = dirs.names().iter().map(ToString::to_string).collect();
        names.sort();
        made.sort();
        assert_eq!(names, made);
    }

    #[test]
    fn files_that_changed_since_the_start_are_told_wherever_they_are() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("a/b")).unwrap();
        let old = ["top", "a/old", "a/b/old"];
        old.iter().for_each(|path| fs::write(tree.path().join(path), "old").unwrap());
        let start = loop {
            let now = SystemTime::now() - Duration::from_millis(20);
            if Meta::from(&rustix::fs::lstat(tree.path().join("a/b/old")).unwrap()).changed_at() < now {
                break now;
            }
            std::thread::yield_now();
        };
        fs::write(tree.path().join("a/b/new"), "new").unwrap();
        std::os::unix::fs::symlink("new", tree.path().join("a/link")).unwrap();
        fs::write(tree.path().join("top"), "other").unwrap();
        let told = |since| {
            let (_, recent) = scanned(tree.path(), &[], since);
            let mut recent: Vec<String> = recent.iter().map(ToString::to_string).collect();
            recent.sort();
            recent
        };
        assert_eq!(told(Some(start)), ["a/b/new", "a/link", "top"]);
        assert_eq!(told(None), Vec::<String>::new());
    }

    #[test]
    fn a_symlink_is_followed_at_the_root_and_nowhere_below() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("tree/sub/below")).unwrap();
        std::os::unix::fs::symlink("sub", dir.path().join("tree/link")).unwrap();
        std::os::unix::fs::symlink("tree", dir.path().join("top")).unwrap();
        let (dirs, _) = scanned(&dir.path().join("top"), &[], None);
        let mut names: Vec<String> = dirs.names().iter().map(ToString::to_string).collect();
        names.sort();
        assert_eq!(names, [".", "sub", "sub/below"]);
    }
}
