//! The watched directories on disk: puts a watch on each, one per directory, and keeps the tree of names in step.
//! A watch always stands before its directory is listed, so nothing that happens meanwhile is missed.

mod ended;
mod first_scan;
mod listing;
mod mounted;
mod nameless;
mod place;
mod scan;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::watcher::watches::{WatchDescriptor, Watches};
use inotify::WatchMask;
use rustix::io::Errno;

use self::ended::EndedWatches;
pub(super) use self::first_scan::{ScanProgress, first_scan};
pub use self::listing::count;
use self::nameless::Nameless;
pub(super) use self::place::Attached;
use super::blind::Blind;
use super::bound::MountedFiles;
use super::coverage::WatchCoverage;
use super::tree::{NodeId, Tree};
use crate::mounts::Mounts;
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::patterns::rules::groups::NameGroup;
use crate::root::arriving::Arriving;
use crate::root::reach::Reach;
use crate::root::reach::look::Place;
use crate::watch_error::WatchError;

/// The events that are watched in each directory. `EXCL_UNLINK` silences files that are written after their deletion.
/// `MASK_ADD` keeps the larger mask of the root, which may have a second name.
const MASK: WatchMask = WatchMask::CREATE
    .union(WatchMask::DELETE)
    .union(WatchMask::MODIFY)
    .union(WatchMask::CLOSE_WRITE)
    .union(WatchMask::MOVED_FROM)
    .union(WatchMask::MOVED_TO)
    .union(WatchMask::ATTRIB)
    .union(WatchMask::EXCL_UNLINK)
    .union(WatchMask::MASK_ADD)
    .union(WatchMask::DONT_FOLLOW)
    .union(WatchMask::ONLYDIR);
/// The root also tells when it is moved or deleted itself, and may be named by a symlink.
const ROOT_MASK: WatchMask =
    MASK.difference(WatchMask::DONT_FOLLOW).union(WatchMask::MOVE_SELF).union(WatchMask::DELETE_SELF);

/// The events of a file that has a watch of its own. `MASK_ADD` keeps the mask if a watched directory is there by
/// now.
const FILE_MASK: WatchMask = WatchMask::MODIFY
    .union(WatchMask::CLOSE_WRITE)
    .union(WatchMask::ATTRIB)
    .union(WatchMask::MASK_ADD)
    .union(WatchMask::DONT_FOLLOW);

/// Directories that a scan found on disk and that were not watched, or not under their names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct FoundDirectories {
    /// Their number, with those below others.
    pub count: usize,
    /// Those that are not below others.
    pub tops: Vec<RelPath>,
    /// `true` if a directory was found below itself: the names in the tree are out of date.
    pub tangled: bool,
}

impl FoundDirectories {
    /// Adds the directories that a second scan found, which was made after this one.
    pub(crate) fn add(&mut self, FoundDirectories { count, tops, tangled }: FoundDirectories) {
        self.count += count;
        self.tops.extend(tops);
        self.tangled = tangled;
    }
}

/// The watched directories. Made for an [`Observer`](super::Observer), which owns them.
pub struct Dirs {
    root: PathBuf,
    excludes: Excludes,
    watches: Watches,
    tree: Tree,
    /// The mounts in the tree, as far as the tree was looked through.
    mounts: Mounts,
    /// Files that have a watch of their own, since others were mounted on them.
    bound: MountedFiles,
    given_up: EndedWatches,
    /// Directories that could not be watched or listed when they were last looked at.
    blind: Blind,
    coverage: WatchCoverage,
    /// The first scan tells which files changed since this time.
    since: Option<SystemTime>,
    /// The file systems that answer; no other one is looked at.
    reach: Reach,
    /// The entries of temporary names.
    pub(super) nameless: Nameless,
}

impl Dirs {
    /// Watches the root, and nothing else yet.
    ///
    /// # Errors
    /// When the root is not there, may not be read, or no watch is left.
    pub fn new(root: PathBuf, excludes: Excludes, mut watches: Watches) -> Result<Self, WatchError> {
        let tree = Tree::new(watch_root(&mut watches, &root)?);
        let reach = Reach::of(&root);
        Ok(Dirs {
            root,
            excludes,
            watches,
            tree,
            mounts: Mounts::default(),
            bound: MountedFiles::default(),
            given_up: EndedWatches::default(),
            blind: Blind::default(),
            coverage: WatchCoverage::default(),
            since: None,
            reach,
            nameless: Nameless::default(),
        })
    }

    /// Returns the same directories, with a coverage by which others can follow the scans.
    pub(crate) fn covering(mut self, coverage: WatchCoverage) -> Self {
        self.coverage = coverage;
        self
    }

    /// Returns the same directories, whose first scan tells which files changed since this time.
    pub(crate) fn telling_since(mut self, since: SystemTime) -> Self {
        self.since = Some(since);
        self
    }

    /// Returns the same directories, which leave entries of temporary names alone and enter them in this record.
    pub(crate) fn awaiting_names(mut self, arriving: Arriving) -> Self {
        self.nameless.await_names(arriving);
        self
    }

    /// Looks at no file system from now on that `reach` knows not to answer.
    pub(super) fn within(&mut self, reach: Reach) {
        self.reach = reach;
    }

    /// The record of which file systems in the tree answer.
    pub(super) fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Watches the root anew after it had disappeared; all watches below it are gone with it.
    ///
    /// # Errors
    /// As [`Dirs::new`].
    pub(super) fn start_again(&mut self) -> Result<(), WatchError> {
        let mut stale = self.tree.remove(self.tree.root());
        stale.extend(self.bound.clear());
        self.retire(stale);
        self.tree = Tree::new(watch_root(&mut self.watches, &self.root)?);
        Ok(())
    }

    /// Tells if the root is watched. Its watch may have ended without an event so far.
    pub(super) fn watches_root(&mut self) -> bool {
        self.open(self.root()).is_ok_and(|opened| opened.is_some())
    }

    /// Goes by other patterns; a scan must follow.
    pub(super) fn exclude(&mut self, excludes: Excludes) {
        self.excludes = excludes;
    }

    /// Wakes the reader of the queue a last time: the end of a watch is an event. The watches end with the queue.
    pub(super) fn end(self) {
        // If no watch is left for this one, the root has one.
        let watch = self.watches.add("/", MASK).ok().or_else(|| self.tree.watch(self.tree.root()).cloned());
        let _ = watch.map(|watch| self.watches.remove(watch));
    }

    /// The directory at the top of the tree.
    pub(super) fn root(&self) -> NodeId {
        self.tree.root()
    }

    /// Tells if the directory of this name is watched.
    pub(super) fn has(&self, path: &RelPath) -> bool {
        self.tree.has(path)
    }

    /// The number of watched directories.
    pub(super) fn count(&self) -> usize {
        self.tree.count()
    }

    /// The groups of the watched directories, with the number in each.
    pub(super) fn groups(&self) -> Vec<(NameGroup, u64)> {
        self.tree.groups()
    }

    /// The absolute path of an entry.
    pub(super) fn on_disk(&self, path: &RelPath) -> PathBuf {
        path.under(&self.root)
    }

    /// The name of a directory.
    pub(super) fn path(&self, dir: NodeId) -> RelPath {
        self.tree.path(dir)
    }

    /// The name of the entry `name` of a directory.
    pub(super) fn entry(&self, dir: NodeId, name: &OsStr) -> RelPath {
        self.tree.entry(dir, name)
    }

    /// The places of the directory that a watch belongs to; none if it belongs to none.
    pub(super) fn places(&self, watch: i32) -> impl Iterator<Item = NodeId> + '_ {
        self.tree.places(watch)
    }

    /// Tells if any directory has several names.
    pub(super) fn has_second_names(&self) -> bool {
        self.tree.has_others()
    }

    /// Tells if a watch was given up, or ended not long ago: its last events are still to come, and mean nothing.
    pub(super) fn was_given_up(&self, watch: i32) -> bool {
        self.given_up.has(watch)
    }

    /// Notes that the last event of a watch has come. Its number is not given to another one.
    pub(super) fn last_event_came(&mut self, watch: i32) {
        self.given_up.last_event_came(watch);
    }

    /// Notes that these unknown watches are about to be given up.
    pub(super) fn retire_unknown(&mut self, watches: &BTreeSet<i32>) {
        watches.iter().for_each(|watch| self.given_up.give_up(*watch));
    }

    /// Tells if a directory of this name is neither watched nor mirrored.
    pub(super) fn excludes(&self, path: &RelPath) -> bool {
        self.excludes.excludes(path, true)
    }

    /// Tells if a pattern depends on the place of a directory, so that a move may change which directories are
    /// watched.
    pub(super) fn verdicts_depend_on_place(&self) -> bool {
        self.excludes.has_anchored()
    }

    /// The names of all watched directories, the root included.
    #[cfg(test)]
    pub(super) fn names(&self) -> Vec<RelPath> {
        self.tree.subtree(self.root()).into_iter().map(|dir| self.path(dir)).collect()
    }

    /// The directories that are not watched.
    pub(super) fn blind(&mut self) -> &mut Blind {
        &mut self.blind
    }

    /// A directory cannot be watched. If it does not answer, nothing does that is on its mount.
    fn add_blind(&mut self, path: RelPath, error: WatchError) {
        let point = || self.reach.point(&path).filter(|_| matches!(error, WatchError::Silent { .. }));
        self.blind.add(point().unwrap_or(path), error);
    }

    /// Opens a directory, if it is still at its name. Another one may have come there, of which events are still to tell:
    /// what that holds must not be taken for what this one does.
    fn open(&mut self, dir: NodeId) -> Result<Option<Arc<OwnedFd>>, WatchError> {
        let path = self.tree.path(dir);
        match self.reach.open(&path, true) {
            Ok(opened) => Ok(Some(opened).filter(|opened| self.is_at(dir, &path, opened))),
            Err(error) => WatchError::of_directory(&self.on_disk(&path), error).map_or(Ok(None), Err),
        }
    }

    /// Tells if this open directory, which is at `path`, is the one that the tree means.
    fn is_at(&mut self, dir: NodeId, path: &RelPath, opened: &Arc<OwnedFd>) -> bool {
        let mask = WatchMask::CREATE | WatchMask::MASK_ADD;
        let watch = match self.watches.add_within(&self.reach, path, Place::opened(opened), mask) {
            Ok(watch) => watch,
            // What is watched needs no further watch.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOSPC) => return false,
            // It became unreadable: nothing says that it is another one.
            Err(_) => return true,
        };
        let is_it = self.tree.places(watch.get_watch_descriptor_id()).any(|place| place == dir);
        self.retire_stranger(watch);
        is_it
    }

    /// Gives up a watch that was made for a look, unless it belongs to the tree.
    fn retire_stranger(&mut self, watch: WatchDescriptor) {
        if !self.tree.knows(watch.get_watch_descriptor_id()) {
            self.retire(vec![watch]);
        }
    }

    /// Watches a file itself, by whatever descriptor it is written; `None` if it cannot be watched.
    pub(super) fn watch_unnamed(&mut self, path: &RelPath) -> Option<WatchDescriptor> {
        let watch = self.watch_as(path, self.on_disk(path), FILE_MASK).ok()?;
        let number = watch.get_watch_descriptor_id();
        let is_known = self.places(number).next().is_some() || self.bound.names(number).next().is_some();
        (!is_known).then_some(watch)
    }

    /// Gives up watches of files, but for those that are of something else by now.
    pub(super) fn give_up(&mut self, mut watches: Vec<WatchDescriptor>) {
        watches.retain(|watch| {
            let number = watch.get_watch_descriptor_id();
            !self.tree.knows(number) && self.bound.names(number).next().is_none()
        });
        self.retire(watches);
    }

    /// A directory is not there any more: gives it up with all below it.
    pub(super) fn detach(&mut self, dir: NodeId) {
        let stale = self.tree.remove(dir);
        self.retire(stale);
    }

    /// The directories that claim this name: mostly none or one.
    pub(super) fn named(&self, parent: NodeId, name: &OsStr) -> Vec<NodeId> {
        self.tree.children_named(parent, name)
    }

    /// The directory of this name, if it is watched.
    pub(super) fn find(&self, path: &RelPath) -> Option<NodeId> {
        let mut names = path.as_bytes().split(|&b| b == b'/').filter(|name| !name.is_empty());
        names.try_fold(self.tree.root(), |dir, name| self.named(dir, OsStr::from_bytes(name)).first().copied())
    }

    fn retire(&mut self, watches: Vec<WatchDescriptor>) {
        for watch in watches {
            self.given_up.give_up(watch.get_watch_descriptor_id());
            // EINVAL: the kernel gave it up first; its IGNORED event comes all the same.
            let _ = self.watches.remove(watch);
        }
    }

    /// Watches the entry `name`, which is at `path`, of an open directory.
    fn watch_named(
        &self,
        path: &RelPath,
        opened: &Arc<OwnedFd>,
        name: &OsStr,
    ) -> Result<Option<WatchDescriptor>, WatchError> {
        match self.watches.add_within(&self.reach, path, Place::entry(opened, name), MASK) {
            Ok(watch) => Ok(Some(watch)),
            Err(error) => WatchError::of_directory(&self.on_disk(path), error).map_or(Ok(None), Err),
        }
    }

    /// Watches what is on disk at `path`.
    fn watch_as(&self, path: &RelPath, on_disk: PathBuf, mask: WatchMask) -> io::Result<WatchDescriptor> {
        self.watches.add_within(&self.reach, path, Place::at(on_disk), mask)
    }
}

fn watch_root(watches: &mut Watches, root: &Path) -> Result<WatchDescriptor, WatchError> {
    watches.add(root, ROOT_MASK).map_err(|source| {
        let fallback = || WatchError::System { path: root.to_owned(), source: io::ErrorKind::NotFound.into() };
        WatchError::of_directory(root, source).unwrap_or_else(fallback)
    })
}
