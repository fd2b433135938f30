//! The mounts in the tree: the mount on which a name lies, and the files that others were mounted on.

use super::{Dirs, FILE_MASK};
use crate::mounts::Mounts;
use crate::path::RelPath;
use crate::watch_error::WatchError;
use crate::watcher::tree::NodeId;

impl Dirs {
    /// The mounts in the tree, as far as the tree was looked through.
    pub(crate) fn mounts(&self) -> &Mounts {
        &self.mounts
    }

    /// Replaces the list of mounts. A place where another file system was mounted before has to be looked at again.
    pub(crate) fn set_mounts(&mut self, mounts: Mounts) {
        self.mounts = mounts;
    }

    /// Notes that a file system was unmounted from there.
    pub(crate) fn forget_mount(&mut self, point: &RelPath) {
        self.mounts.forget(point);
    }

    /// Follows the move of a directory, with all that is known below it.
    pub(crate) fn moved(&mut self, from: &RelPath, to: &RelPath) {
        self.mounts.moved(from, to);
        self.bound.moved(from, to);
        self.blind.moved(from, to);
    }

    /// Forgets a directory that left the tree, with the mounts below it.
    pub(crate) fn moved_out(&mut self, from: &RelPath) {
        self.mounts.moved_out(from);
        for path in self.bound.paths().iter().filter(|path| path.is_below(from)) {
            self.release_file(path);
        }
    }

    /// Tells if the directory at `path` has another name in the tree that does not lie on one of these mount points:
    /// its content is not gone with the mounts.
    pub(crate) fn stands_elsewhere(&self, path: &RelPath, gone: &[RelPath]) -> bool {
        let stays = |place: &NodeId| {
            let other = self.path(*place);
            !gone.iter().any(|point| other == *point || other.is_below(point))
        };
        let watch = self.find(path).and_then(|dir| self.tree.watch(dir));
        watch.is_some_and(|watch| self.places(watch.get_watch_descriptor_id()).any(|place| stays(&place)))
    }

    /// Tells if something other than a directory is at this path.
    pub(crate) fn is_file(&self, path: &RelPath) -> bool {
        self.reach.look(path).is_ok_and(|meta| !meta.is_dir())
    }

    /// Watches the file that is mounted on this path.
    pub(crate) fn watch_file(&mut self, path: &RelPath) {
        // What has no content of its own, as a socket, cannot change.
        if self.excludes.excludes(path, false) || !self.reach.look(path).is_ok_and(|meta| meta.is_file()) {
            return self.release_file(path);
        }
        let on_disk = self.on_disk(path);
        match self.watch_as(path, on_disk.clone(), FILE_MASK) {
            Ok(watch) => {
                let stale = self.bound.put(watch, path.clone());
                self.retire(stale.into_iter().collect());
            }
            Err(error) => {
                if let Some(error) = WatchError::of_directory(&on_disk, error) {
                    self.blind.add(path.clone(), error);
                }
            }
        }
    }

    /// Gives up the file that was mounted on this path.
    pub(crate) fn release_file(&mut self, path: &RelPath) {
        let stale = self.bound.take(path);
        self.retire(stale.into_iter().collect());
    }

    /// Watches the mounted files that are not excluded, and no others.
    pub(crate) fn watch_files(&mut self) {
        self.mounts.points().iter().for_each(|path| self.watch_file(path));
    }

    /// Does the same below a directory that was mounted on or unmounted from.
    pub(crate) fn watch_files_below(&mut self, top: &RelPath) {
        self.mounts.points().iter().filter(|path| path.is_below(top)).for_each(|path| self.watch_file(path));
    }

    /// The names of the mounted file that a watch belongs to.
    pub(crate) fn files(&self, watch: i32) -> Vec<RelPath> {
        self.bound.names(watch).cloned().collect()
    }

    /// The numbers of all watches.
    pub(crate) fn watches(&self) -> impl Iterator<Item = i32> + '_ {
        self.tree.watches().chain(self.bound.watches())
    }

    /// Notes that the kernel ended the watch of a mounted file.
    pub(crate) fn file_ended(&mut self, watch: i32) {
        self.bound.ended(watch);
    }
}
