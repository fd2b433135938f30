//! The watched directories on disk: puts a watch on each, one per directory, and keeps the tree of names in step.
//! A watch always stands before its directory is listed, so nothing that happens meanwhile is missed.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use inotify::{WatchDescriptor, WatchMask, Watches};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, RawDirEntry};

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

/// Room for one reading of a listing, in bytes: some 1,000 entries.
const LISTING: usize = 32 * 1024;

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

/// The watched directories. Made for an [`Observer`](super::Observer), which owns them.
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
    pub(super) fn start_again(&mut self) -> Result<(), WatchError> {
        let stale = self.tree.remove(self.tree.root());
        self.retire(stale);
        self.tree = Tree::new(watch_root(&mut self.watches, &self.root)?);
        Ok(())
    }

    /// Where the root is.
    pub(super) fn root_path(&self) -> &Path {
        &self.root
    }

    /// Makes one more event, for a reader that waits for one to see that nobody listens any more.
    pub(super) fn make_event(&mut self) {
        // The end of a watch is an event, wherever it stood.
        if let Ok(watch) = self.watches.add("/", WatchMask::DELETE_SELF) {
            let _ = self.watches.remove(watch);
        }
    }

    /// The directory at the top of the tree.
    pub(super) fn root(&self) -> NodeId {
        self.tree.root()
    }

    /// The number of watched directories.
    pub(super) fn count(&self) -> usize {
        self.tree.count()
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

    /// The directory that a watch belongs to.
    pub(super) fn by_watch(&self, watch: i32) -> Option<NodeId> {
        self.tree.by_watch(watch)
    }

    /// Whether this watch was given up by us; its last events are still to be expected.
    pub(super) fn is_retired(&self, watch: i32) -> bool {
        self.retired.contains(&watch)
    }

    /// The last event of a watch that was given up has come.
    pub(super) fn forget_retired(&mut self, watch: i32) {
        self.retired.remove(&watch);
    }

    /// Whether a directory of this name is neither watched nor mirrored.
    pub(super) fn excludes(&self, path: &RelPath) -> bool {
        self.excludes.excludes(path, true)
    }

    /// Whether a verdict depends on where a directory lies, so that a move may change what is watched below it.
    pub(super) fn verdicts_depend_on_place(&self) -> bool {
        self.excludes.has_anchored()
    }

    /// The directories that could not be watched, each once until it can.
    pub(super) fn take_blind(&mut self) -> Vec<(RelPath, WatchError)> {
        std::mem::take(&mut self.reports)
    }

    /// Whether this directory or one below it could not be watched. Then it is forgotten: look again.
    pub(super) fn was_blind(&mut self, dir: &RelPath) -> bool {
        let before = self.blind.len();
        self.blind.retain(|path| path != dir && !path.is_below(dir));
        self.blind.len() < before
    }

    /// The directories of which, and of what is below, not everything is seen.
    pub(super) fn blind(&self) -> impl Iterator<Item = &RelPath> {
        self.blind.iter()
    }

    fn report_blind(&mut self, path: RelPath, error: WatchError) {
        if self.blind.insert(path.clone()) {
            self.reports.push((path, error));
        }
    }

    /// Watches the directory `name` of `parent`, and all below it if it is new.
    pub(super) fn attach(&mut self, parent: NodeId, name: &OsStr) -> Attached {
        let path = self.tree.entry(parent, name);
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
    pub(super) fn scan(&mut self, top: NodeId, progress: &mut dyn FnMut(usize)) {
        let root = self.root.clone();
        let mut seen = HashSet::from([top]);
        let mut left = vec![top];
        while let Some(dir) = left.pop() {
            let path = self.tree.path(dir);
            let listed = list(&root, &path, &mut |name| {
                if let Some(id) = self.watch_entry(dir, &path, name)
                    && seen.insert(id)
                {
                    left.push(id);
                }
            });
            if let Some(error) = listed.err().and_then(|error| WatchError::of_directory(&path.under(&root), error)) {
                self.report_blind(path, error);
                // What cannot be listed can be watched all the same: keep what is.
                seen.extend(self.tree.subtree(dir));
            }
            progress(self.tree.count());
        }
        let stale = self.tree.prune(top, &seen);
        self.retire(stale);
    }

    /// Watches the directory `name` of `parent`, which is at `path`; `None` if it cannot be or is not to be.
    fn watch_entry(&mut self, parent: NodeId, path: &RelPath, name: &OsStr) -> Option<NodeId> {
        let path = path.join(name);
        if self.excludes.matching(&path, true).is_some() {
            return None;
        }
        match self.watch(&self.on_disk(&path)) {
            Ok(watch) => match self.tree.place(watch?, parent, name) {
                Placed::New(id) | Placed::Known(id) | Placed::Moved(id) => Some(id),
                // The directory above has just been moved: its event will tell.
                Placed::Tangled => None,
            },
            Err(error) => {
                self.report_blind(path, error);
                None
            }
        }
    }

    /// A directory is not there any more: gives it up with all below it.
    pub(super) fn detach(&mut self, dir: NodeId) {
        let stale = self.tree.remove(dir);
        self.retire(stale);
    }

    /// The kernel ended the watch of a directory that was deleted: its last event has come.
    pub(super) fn ended(&mut self, dir: NodeId) {
        let own = self.tree.watch(dir).map(WatchDescriptor::get_watch_descriptor_id);
        self.detach(dir);
        own.map(|watch| self.retired.remove(&watch));
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

    /// Gives up the directories that claim a name and are not what is on disk there.
    pub(super) fn check_name(&mut self, parent: NodeId, name: &OsStr) {
        let claims = self.tree.children_named(parent, name);
        if claims.is_empty() {
            return;
        }
        let on_disk = self.on_disk(&self.tree.entry(parent, name));
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
}

/// The number of directories that a watcher of this tree would watch, the root included. Those that cannot be listed
/// count without what is below them.
pub fn count(root: &Path, excludes: &Excludes) -> usize {
    let mut left = vec![RelPath::root()];
    let mut counted = 0;
    while let Some(dir) = left.pop() {
        counted += 1;
        // What cannot be listed counts for itself alone.
        let _ = list(root, &dir, &mut |name| {
            left.extend(Some(dir.join(name)).filter(|dir| excludes.matching(dir, true).is_none()));
        });
    }
    counted
}

fn watch_root(watches: &mut Watches, root: &Path) -> Result<WatchDescriptor, WatchError> {
    watches.add(root, ROOT_MASK).map_err(|source| {
        let fallback = || WatchError::System { path: root.to_owned(), source: io::ErrorKind::NotFound.into() };
        WatchError::of_directory(root, source).unwrap_or_else(fallback)
    })
}

/// Tells `found` the names of the subdirectories. Not by `std::fs::read_dir`, which takes 32 KiB from the heap and asks
/// the kernel once more for every directory.
fn list(root: &Path, dir: &RelPath, found: &mut dyn FnMut(&OsStr)) -> io::Result<()> {
    // The root may be named by a symlink; below it, one that took the place of a directory leads out of the tree.
    let follow = if dir.is_root() { OFlags::empty() } else { OFlags::NOFOLLOW };
    let opened = rustix::fs::open(dir.under(root), OFlags::DIRECTORY | OFlags::CLOEXEC | follow, Mode::empty())?;
    let mut buffer = [MaybeUninit::uninit(); LISTING];
    let mut entries = RawDir::new(&opened, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") && is_directory(&opened, &entry) {
            found(OsStr::from_bytes(name.to_bytes()));
        }
    }
    Ok(())
}

fn is_directory(parent: &OwnedFd, entry: &RawDirEntry<'_>) -> bool {
    match entry.file_type() {
        // Not every file system tells it in its listings.
        FileType::Unknown => rustix::fs::statat(parent, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|meta| FileType::from_raw_mode(meta.st_mode) == FileType::Directory),
        kind => kind == FileType::Directory,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symlink_is_listed_at_the_root_and_nowhere_below() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("tree/sub")).unwrap();
        std::os::unix::fs::symlink("tree", dir.path().join("link")).unwrap();
        let names = |root: &Path, path: &[u8]| {
            let mut names = Vec::new();
            list(root, &RelPath::new(path).unwrap(), &mut |name| names.push(name.to_owned())).map(|()| names)
        };
        assert_eq!(names(&dir.path().join("link"), b"").unwrap(), ["sub"]);
        assert_eq!(names(dir.path(), b"tree").unwrap(), ["sub"]);
        let refused = names(dir.path(), b"link").unwrap_err();
        assert!(WatchError::of_directory(dir.path(), refused).is_none(), "no directory is there any more");
    }
}
