//! What an rsync of somebody else brings into the source: a file that has a temporary name of rsync counts when it gets its
//! own, or when nobody has written it for a time. Directories of such files are not even watched until then.

use std::time::Instant;

use super::Observer;
use super::files::Files;
use crate::change::Change;
use crate::path::RelPath;
use crate::root::arriving::AtNodes;
use crate::watcher::dirs::Dirs;
use crate::watcher::quiet::NAMELESS;

impl Files {
    /// A file was made, which is about to be written.
    pub(super) fn made(&mut self, path: RelPath, dirs: &Dirs, now: Instant) {
        if self.quiet.is_nameless(&path) {
            dirs.awaits_name(path.clone(), true);
        }
        self.quiet.created(path, now);
    }

    /// A file is being written. Returns true if that says nothing of it yet, although it was `closed`.
    pub(super) fn is_arriving(&mut self, path: &RelPath, closed: bool, dirs: &Dirs, now: Instant) -> bool {
        // A file that has been there for long is written in its place.
        if !self.quiet.is_nameless(path) || !self.quiet.waits_for(path) {
            return false;
        }
        dirs.awaits_name(path.clone(), false);
        match closed {
            true => self.quiet.awaits_name(path.clone(), now),
            false => self.quiet.written(path.clone(), now),
        }
        true
    }

    /// Waits for the names of the files that a scan found. A file that nobody touched for long has its own.
    pub(super) fn note_nameless(&mut self, dirs: &mut Dirs, now: Instant) {
        for path in dirs.take_nameless() {
            let meta = dirs.reach().look(&path).ok();
            let meta = meta.filter(|meta| meta.is_file() && meta.nlink() == 1 && self.quiet.is_nameless(&path));
            if meta.is_some_and(|meta| meta.changed_at().elapsed().is_ok_and(|age| age < NAMELESS)) {
                dirs.awaits_name(path.clone(), false);
                self.quiet.awaits_name(path, now);
            }
        }
    }
}

impl Observer {
    /// Leaves files and directories of temporary names alone until they have their own.
    pub(crate) fn await_names(&mut self) {
        self.files.quiet.await_names();
    }

    /// Handles an event about a directory that is left alone, and returns `true` if it was one. `went`: it has another
    /// name, or is deleted.
    pub(super) fn is_left_alone(&mut self, path: &RelPath, went: bool) -> bool {
        if !self.dirs.is_left_alone(path) {
            return false;
        }
        match went.then(|| self.dirs.end_waiting(path)).flatten() {
            Some(AtNodes::Perhaps) => self.found.changes.push(Change::Removed { path: path.clone(), is_dir: true }),
            Some(AtNodes::Nowhere) => self.found.touched_above(path),
            None => (),
        }
        true
    }

    /// Mirrors the directories like any other that nothing has changed in for long.
    pub(super) fn count_directories(&mut self, now: Instant) {
        for (dir, name) in self.dirs.take_due(now) {
            let path = self.dirs.entry(dir, &name);
            self.attach(dir, &name, now);
            self.found.changes.push(Change::Created { path });
        }
    }
}
