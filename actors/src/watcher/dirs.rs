//! The watched directories on disk: puts a watch on each, one per directory, and keeps the tree of names in step.
//! A watch always stands before its directory is listed, so nothing that happens meanwhile is missed.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use inotify::{WatchDescriptor, WatchMask, Watches};

use super::error::WatchError;
use super::tree::{NodeId, Placed, Tree};
use crate::filter::excludes::Excludes;
use crate::path::RelPath;

/// What is asked of the kernel for every directory. `EXCL_UNLINK` silences files that are written after their deletion.
const MASK: WatchMask = WatchMask::CREATE
    .union(WatchMask::DELETE)
    .union(WatchMask::MODIFY)
    .union(WatchMask::CLOSE_WRITE)
    .union(WatchMask::MOVED_FROM)
    .union(WatchMask::MOVED_TO)
    .union(WatchMask::ATTRIB)
    .union(WatchMask::EXCL_UNLINK)
    .union(WatchMask::DONT_FOLLOW)
    .union(WatchMask::ONLYDIR);
/// The root also tells when it is moved or deleted itself, and may be named by a symlink.
const ROOT_MASK: WatchMask =
    MASK.difference(WatchMask::DONT_FOLLOW).union(WatchMask::MOVE_SELF).union(WatchMask::DELETE_SELF);

/// What [`Dirs::attach`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Attached {
    /// It was not watched before; now it and all below it are.
    New,
    /// It was watched already, here or at the name from which it was moved.
    Known,
    /// It is excluded, or not there any more.
    Nothing,
    /// It cannot be watched; [`Dirs::take_blind`] says why.
    Blind,
    /// The names in the tree are out of date.
    Tangled,
}

/// The watched directories.
pub struct Dirs {
    root: PathBuf,
    excludes: Excludes,
    watches: Watches,
    tree: Tree,
    /// Watches that were given up and whose last event (IGNORED) was not read yet.
    retired: HashSet<i32>,
    /// Directories that could not be watched or listed when they were last looked at.
    blind: BTreeSet<RelPath>,
    /// Those of them that were not reported yet.
    reports: Vec<(RelPath, WatchError)>,
}

impl Dirs {
    /// Watches the root, and nothing else yet.
    ///
    /// # Errors
    /// When the root is not there, may not be read, or no watch is left.
    pub fn new(root: PathBuf, excludes: Excludes, mut watches: Watches) -> Result<Self, WatchError> {
        let tree = Tree::new(watch_root(&mut watches, &root)?);
        let (retired, blind, reports) = (HashSet::new(), BTreeSet::new(), Vec::new());
        Ok(Dirs { root, excludes, watches, tree, retired, blind, reports })
    }

    /// Watches the root anew after it had disappeared; all watches below it are gone with it.
    ///
    /// # Errors
    /// As [`Dirs::new`].
    pub fn start_again(&mut self) -> Result<(), WatchError> {
        let stale = self.tree.remove(self.tree.root());
        self.retire(stale);
        self.tree = Tree::new(watch_root(&mut self.watches, &self.root)?);
        Ok(())
    }

    /// The directory at the top of the tree.
    pub fn root(&self) -> NodeId {
        self.tree.root()
    }

    /// The number of watched directories.
    pub fn count(&self) -> usize {
        self.tree.count()
    }

    /// The absolute path of an entry.
    pub fn on_disk(&self, path: &RelPath) -> PathBuf {
        path.under(&self.root)
    }

    /// The name of a directory.
    pub fn path(&self, dir: NodeId) -> RelPath {
        self.tree.path(dir)
    }

    /// The directory that a watch belongs to.
    pub fn by_watch(&self, watch: i32) -> Option<NodeId> {
        self.tree.by_watch(watch)
    }

    /// Whether this watch was given up by us; its last events are still to be expected.
    pub fn is_retired(&self, watch: i32) -> bool {
        self.retired.contains(&watch)
    }

    /// The last event of a watch that was given up has come.
    pub fn forget_retired(&mut self, watch: i32) {
        self.retired.remove(&watch);
    }

    /// Whether a directory of this name is neither watched nor mirrored.
    pub fn excludes(&self, path: &RelPath) -> bool {
        self.excludes.excludes(path, true)
    }

    /// Whether a verdict depends on where a directory lies, so that a move may change what is watched below it.
    pub fn verdicts_depend_on_place(&self) -> bool {
        self.excludes.has_anchored()
    }

    /// The directories that could not be watched, each once until it can.
    pub fn take_blind(&mut self) -> Vec<(RelPath, WatchError)> {
        std::mem::take(&mut self.reports)
    }

    /// Whether this directory or one below it could not be watched. Then it is forgotten: look again.
    pub fn was_blind(&mut self, dir: &RelPath) -> bool {
        let before = self.blind.len();
        self.blind.retain(|path| path != dir && !path.is_below(dir));
        self.blind.len() < before
    }

    fn report_blind(&mut self, path: RelPath, error: WatchError) {
        if self.blind.insert(path.clone()) {
            self.reports.push((path, error));
        }
    }

    /// Watches the directory `name` of `parent`, and all below it if it is new.
    pub fn attach(&mut self, parent: NodeId, name: &OsStr) -> Attached {
        let path = self.tree.path(parent).join(name);
        if self.excludes.matching(&path, true).is_some() {
            return Attached::Nothing;
        }
        let on_disk = self.on_disk(&path);
        match self.watch(&on_disk) {
            Ok(Some(watch)) => match self.tree.place(watch, parent, name) {
                Placed::New(dir) => {
                    self.scan(dir, &mut |_| ());
                    Attached::New
                }
                Placed::Known(_) | Placed::Moved(_) => Attached::Known,
                Placed::Tangled => Attached::Tangled,
            },
            Ok(None) => Attached::Nothing,
            Err(error) => {
                self.report_blind(path, error);
                Attached::Blind
            }
        }
    }

    /// Watches everything below a directory, and gives up the watches below it that have no directory any more: repairs
    /// the tree from what is on disk. `progress` is told the number of watched directories now and then.
    pub fn scan(&mut self, top: NodeId, progress: &mut dyn FnMut(usize)) {
        let mut seen = HashSet::from([top]);
        let mut left = vec![top];
        while let Some(dir) = left.pop() {
            let path = self.tree.path(dir);
            let Some(names) = self.subdirectories(&path) else {
                // What cannot be listed can be watched all the same: keep what is.
                seen.extend(self.tree.subtree(dir));
                continue;
            };
            for name in names {
                let child = path.join(&name);
                if self.excludes.matching(&child, true).is_some() {
                    continue;
                }
                let on_disk = self.on_disk(&child);
                match self.watch(&on_disk) {
                    Ok(Some(watch)) => match self.tree.place(watch, dir, &name) {
                        Placed::New(id) | Placed::Known(id) | Placed::Moved(id) => {
                            if seen.insert(id) {
                                left.push(id);
                            }
                        }
                        // The directory above has just been moved: its event will tell.
                        Placed::Tangled => (),
                    },
                    Ok(None) => (),
                    Err(error) => self.report_blind(child, error),
                }
            }
            progress(self.tree.count());
        }
        let stale = self.tree.prune(top, &seen);
        self.retire(stale);
    }

    /// A directory is not there any more: gives it up with all below it.
    pub fn detach(&mut self, dir: NodeId) {
        let stale = self.tree.remove(dir);
        self.retire(stale);
    }

    /// The kernel ended the watch of a directory that was deleted: its last event has come.
    pub fn ended(&mut self, dir: NodeId) {
        let own = self.tree.watch(dir).map(WatchDescriptor::get_watch_descriptor_id);
        self.detach(dir);
        own.map(|watch| self.retired.remove(&watch));
    }

    /// The directories that claim this name: mostly none or one.
    pub fn named(&self, parent: NodeId, name: &OsStr) -> Vec<NodeId> {
        self.tree.children_named(parent, name)
    }

    /// The directory of this name, if it is watched.
    pub fn find(&self, path: &RelPath) -> Option<NodeId> {
        let mut names = path.as_bytes().split(|&b| b == b'/').filter(|name| !name.is_empty());
        names.try_fold(self.tree.root(), |dir, name| self.named(dir, OsStr::from_bytes(name)).first().copied())
    }

    /// Gives up the directories that claim a name and are not what is on disk there.
    pub fn check_name(&mut self, parent: NodeId, name: &OsStr) {
        let claims = self.tree.children_named(parent, name);
        if claims.is_empty() {
            return;
        }
        let on_disk = self.on_disk(&self.tree.path(parent).join(name));
        let there = self.watch(&on_disk).ok().flatten().map(|watch| watch.get_watch_descriptor_id());
        for dir in claims {
            let watch = self.tree.watch(dir).map(WatchDescriptor::get_watch_descriptor_id);
            if watch != there {
                self.detach(dir);
            }
        }
    }

    fn retire(&mut self, watches: Vec<WatchDescriptor>) {
        for watch in watches {
            self.retired.insert(watch.get_watch_descriptor_id());
            // EINVAL: the kernel gave it up first; its IGNORED event comes all the same.
            let _ = self.watches.remove(watch);
        }
    }

    fn watch(&mut self, path: &Path) -> Result<Option<WatchDescriptor>, WatchError> {
        match self.watches.add(path, MASK) {
            Ok(watch) => Ok(Some(watch)),
            Err(error) => WatchError::of_directory(path, error).map_or(Ok(None), Err),
        }
    }

    /// `None` if the directory is there and cannot be listed.
    fn subdirectories(&mut self, dir: &RelPath) -> Option<Vec<OsString>> {
        let on_disk = self.on_disk(dir);
        let error = match subdirectories(&on_disk) {
            Ok(names) => return Some(names),
            Err(error) => WatchError::of_directory(&on_disk, error),
        };
        match error {
            None => Some(Vec::new()),
            Some(error) => {
                self.report_blind(dir.clone(), error);
                None
            }
        }
    }
}

/// The number of directories that a watcher of this tree would watch, the root included. Those that cannot be listed
/// count without what is below them.
pub fn count(root: &Path, excludes: &Excludes) -> usize {
    let mut left = vec![RelPath::root()];
    let mut counted = 0;
    while let Some(dir) = left.pop() {
        counted += 1;
        let names = subdirectories(&dir.under(root)).unwrap_or_default();
        left.extend(names.iter().map(|name| dir.join(name)).filter(|dir| excludes.matching(dir, true).is_none()));
    }
    counted
}

fn watch_root(watches: &mut Watches, root: &Path) -> Result<WatchDescriptor, WatchError> {
    watches.add(root, ROOT_MASK).map_err(|source| {
        let fallback = || WatchError::System { path: root.to_owned(), source: io::ErrorKind::NotFound.into() };
        WatchError::of_directory(root, source).unwrap_or_else(fallback)
    })
}

fn subdirectories(dir: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => names.push(entry.file_name()),
            _ => (),
        }
    }
    Ok(names)
}
