//! What an rsync of somebody else brings into the source: a file that has a temporary name of rsync counts when it gets its
//! own, or when nobody has written it for a time.

use std::time::Instant;

use super::files::Files;
use crate::path::RelPath;
use crate::watcher::dirs::Dirs;
use crate::watcher::quiet::NAMELESS;

impl Files {
    /// A file was made, which is about to be written.
    pub(super) fn made(&mut self, path: RelPath, dirs: &Dirs, now: Instant) {
        if self.quiet.is_nameless(&path) {
            dirs.nameless.awaits_name(path.clone(), true);
        }
        self.quiet.created(path, now);
    }

    /// A file is being written. Returns true if that says nothing of it yet, although it was `closed`.
    pub(super) fn is_arriving(&mut self, path: &RelPath, closed: bool, dirs: &Dirs, now: Instant) -> bool {
        // A file that has been there for long is written in its place.
        if !self.quiet.is_nameless(path) || !self.quiet.waits_for(path) {
            return false;
        }
        dirs.nameless.awaits_name(path.clone(), false);
        match closed {
            true => self.quiet.awaits_name(path.clone(), now),
            false => self.quiet.written(path.clone(), now),
        }
        true
    }

    /// Waits for the names of the files that a scan found. A file that nobody touched for long has its own.
    pub(super) fn note_nameless(&mut self, dirs: &mut Dirs, now: Instant) {
        for path in dirs.nameless.take_files() {
            let meta = dirs.reach().look(&path).ok();
            let meta = meta.filter(|meta| meta.is_file() && meta.nlink() == 1 && self.quiet.is_nameless(&path));
            if meta.is_some_and(|meta| meta.changed_at().elapsed().is_ok_and(|age| age < NAMELESS)) {
                dirs.nameless.awaits_name(path.clone(), false);
                self.quiet.awaits_name(path, now);
            }
        }
    }
}
