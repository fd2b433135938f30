//! What follows from file systems that are mounted and unmounted below the root, or over it: what goes is hidden and not
//! deleted, what comes is watched and compared.

use std::time::Instant;

use super::{Observer, Presence, last_name};
use crate::messages::{Change, Reason, Rescan};
use crate::path::RelPath;
use crate::watcher::mounts::Mounts;

impl Observer {
    /// The kernel's list of mounts is different.
    pub fn mounts_changed(&mut self, now: Instant) {
        // The root may be covered, or uncovered again.
        match self.presence {
            Presence::Here { .. } => self.check_root(now),
            Presence::Away { watched, .. } => return self.look_for_root(watched, now),
        }
        self.compare_mounts(now);
    }

    pub(super) fn compare_mounts(&mut self, now: Instant) {
        let Some(present) = Mounts::below(self.dirs.root_path()) else { return };
        for path in self.mounts.gone(&present) {
            self.mounts.forget(&path);
            self.hide(path, now);
        }
        // What is mounted below another directory of the same name is no business of ours.
        if matches!(self.presence, Presence::Here { .. }) {
            for path in self.mounts.new_in(&present) {
                self.show(path, now);
            }
            self.mounts = present;
        }
    }

    /// A watched directory was on a file system that is mounted no longer. Each directory of it says so: with the first one
    /// the watches of all are given up.
    pub(super) fn unmounted(&mut self, watch: i32, now: Instant) {
        if matches!(self.presence, Presence::Here { .. }) {
            self.check_root(now);
        }
        self.compare_mounts(now);
        // What went with the file system of the root comes back with it, and is not hidden then.
        let is_here = matches!(self.presence, Presence::Here { .. });
        // The kernel's list did not tell, or cannot be read.
        if let Some(dir) = self.dirs.by_watch(watch).filter(|_| is_here) {
            self.hide(self.dirs.path(dir), now);
        }
    }

    /// What was mounted there is gone. That deletes nothing: the directory under the mount is watched, and not compared.
    fn hide(&mut self, path: RelPath, now: Instant) {
        if self.dirs.excludes(&path) {
            return;
        }
        self.found.changes.push(Change::Unmounted { path: path.clone() });
        self.found.unmounted.push(path.clone());
        self.watch_anew(&path, now);
    }

    /// Something is mounted there: that is what is mirrored now.
    fn show(&mut self, path: RelPath, now: Instant) {
        if self.dirs.excludes(&path) {
            return;
        }
        self.found.changes.push(Change::Mounted { path: path.clone() });
        self.watch_anew(&path, now);
        self.found.rescans.push(Rescan { subtree: path, reason: Reason::Mounted });
    }

    fn watch_anew(&mut self, path: &RelPath, now: Instant) {
        self.quiet.forget_below(path);
        let above = path.parent().and_then(|parent| self.dirs.find(&parent));
        if let Some((parent, name)) = above.zip(last_name(path)) {
            for dir in self.dirs.named(parent, &name) {
                self.dirs.detach(dir);
            }
            // In the place of a root that is gone there is nothing to watch.
            if matches!(self.presence, Presence::Here { .. }) {
                self.attach(parent, &name, now);
            }
        }
    }
}
