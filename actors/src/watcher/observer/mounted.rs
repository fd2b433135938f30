//! Handles mounts and unmounts below the root, or over it: a mount that goes is hidden and not deleted, and one that
//! comes is watched and compared.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{Observer, last_name};
use crate::change::{Change, Reason};
use crate::mounts::Mounts;
use crate::path::RelPath;

impl Observer {
    /// Compares the kernel's list of mounts with the known one.
    pub(crate) fn mounts_changed(&mut self, now: Instant) {
        let was_here = self.root.is_here();
        if !was_here {
            self.dirs.reach().refresh();
        }
        // The root may be covered, or uncovered again.
        self.look_at_root(now);
        if was_here {
            self.compare_mounts(now);
        }
    }

    /// Compares a mount point again: the file system there did not answer, and answers again.
    pub(crate) fn answers(&mut self, path: &RelPath, now: Instant) {
        if !self.root.is_here() || self.dirs.excludes(path) {
            return;
        }
        if path.is_root() {
            self.compare_mounts(now);
            return self.repair(Reason::Answers);
        }
        if self.dirs.is_file(path) {
            self.dirs.watch_file(path);
            return self.found.written(path.clone());
        }
        self.dirs.blind().forget(path);
        let above = path.parent().and_then(|parent| self.dirs.find(&parent));
        if let Some((parent, name)) = above.zip(last_name(path)) {
            self.attach(parent, &name, now);
            self.rescan_watches(parent, &name, now);
        }
        self.found.rescan(path.clone(), Reason::Answers);
    }

    pub(super) fn compare_mounts(&mut self, now: Instant) {
        self.dirs.reach().refresh();
        let Some(present) = Mounts::below(&self.dirs.reach().resolved()) else { return };
        let is_here = self.root.is_here();
        let gone = self.dirs.mounts().gone(&present);
        // Before the first is given up, and what is below it.
        let elsewhere: Vec<bool> = gone.iter().map(|path| is_here && self.dirs.stands_elsewhere(path, &gone)).collect();
        // What is mounted below another directory of the same name is no business of ours.
        let new = if is_here { self.dirs.mounts().new_in(&present) } else { Vec::new() };
        gone.iter().for_each(|path| self.dirs.forget_mount(path));
        if is_here {
            self.dirs.set_mounts(present);
        }
        gone.into_iter().zip(elsewhere).for_each(|(path, elsewhere)| self.hide(path, elsewhere, now));
        new.into_iter().for_each(|path| self.show(path, now));
    }

    /// Handles the unmount of the file system of a watched directory. Each directory on it reports that; at the first
    /// report the watches of all are given up. If the root was unmounted, all directories report it before the root
    /// does, and come back with the root: nothing of it is hidden.
    pub(super) fn unmounted(&mut self, watch: i32, now: Instant) {
        let dirs = &self.dirs;
        let mounts = self.dirs.mounts();
        let points: BTreeSet<RelPath> =
            dirs.places(watch).filter_map(|place| mounts.holder(&dirs.path(place)).cloned()).collect();
        for point in points {
            // Another one may be mounted there by now, of the same number.
            self.dirs.forget_mount(&point);
            self.hide(point, false, now);
            self.compare_mounts(now);
        }
    }

    /// Handles an unmount. The content of the mount is not deleted at the nodes if it has another name `elsewhere` in
    /// the tree. The directory under the mount is sent. A file that was covered is compared again.
    fn hide(&mut self, path: RelPath, elsewhere: bool, now: Instant) {
        self.dirs.release_file(&path);
        if self.dirs.excludes(&path) {
            return;
        }
        if self.dirs.is_file(&path) {
            return self.found.written(path);
        }
        if !elsewhere {
            self.found.changes.push(Change::Unmounted { path: path.clone() });
            self.found.unmounted.push(path.clone());
        }
        self.watch_anew(&path, now);
        self.found.subtrees([path]);
    }

    /// Handles a mount: the mounted content is mirrored from now on.
    fn show(&mut self, path: RelPath, now: Instant) {
        if self.dirs.is_file(&path) {
            self.dirs.watch_file(&path);
            return self.found.written(path);
        }
        if self.dirs.excludes(&path) {
            return;
        }
        self.found.changes.push(Change::Mounted { path: path.clone() });
        self.watch_anew(&path, now);
        self.found.rescan(path, Reason::Mounted);
    }

    fn watch_anew(&mut self, path: &RelPath, now: Instant) {
        self.files.covered_below(path, &mut self.dirs);
        let above = path.parent().and_then(|parent| self.dirs.find(&parent));
        if let Some((parent, name)) = above.zip(last_name(path)) {
            for dir in self.dirs.named(parent, &name) {
                self.dirs.detach(dir);
            }
            // In the place of a root that is gone there is nothing to watch.
            if self.root.is_here() {
                self.attach(parent, &name, now);
                self.dirs.watch_files_below(path);
            }
        }
    }
}
